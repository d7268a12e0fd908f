"""Keeping order: who is a moderator, reports and what becomes of them, and telling the admins.

Promises that only the permissions of the interaction itself, or an id in the settings, make a
moderator, and that of another server's pictures nobody else decides; that a report is settled once;
and that what goes wrong with the settings reaches the people who can mend it. Pings nobody.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import discord

from bot import sent, texts_community
from bot.answers import say
from bot.cards import forgotten
from bot.language import speaking, tr
from bot.poster import is_result
from bot.services import Interaction, Services, services_of
from bot.talk import Letter, Passing, Refused
from storage import Job, JobKind, Report, SentKind, new_job_id

if TYPE_CHECKING:
    from discord.ui import View

REMOVE: Final = "rrm"
KEEP: Final = "rkeep"
BAN: Final = "rban"
_STYLES: Final = MappingProxyType(
    {
        REMOVE: discord.ButtonStyle.danger,
        KEEP: discord.ButtonStyle.success,
        BAN: discord.ButtonStyle.danger,
    }
)

log = logging.getLogger(__name__)


def is_admin(interaction: Interaction) -> bool:
    """Say whether somebody is named as an admin of the bot in its settings."""
    return interaction.user.id in services_of(interaction).settings().moderation.admins


def is_moderator(interaction: Interaction, guild_id: int | None) -> bool:
    """Say whether somebody may decide about pictures of this guild, from here."""
    if is_admin(interaction):
        return True
    here = guild_id is not None and interaction.guild_id == guild_id
    return here and interaction.permissions.manage_messages


async def report(interaction: Interaction, job: Job, index: int) -> None:
    """Report: keep it, and show it to the moderators once."""
    services = services_of(interaction)
    await interaction.response.defer(ephemeral=True, thinking=True)
    reporter_id = interaction.user.id
    known = {each.id for each in await services.store.community.reports(job.guild_id)}
    made = await services.store.community.add_report(
        job_id=job.id, index=index, guild_id=job.guild_id, reporter_id=reporter_id, reason=""
    )
    if made.id not in known:
        log.info("job %s was reported by %d as %s", job.id, reporter_id, made.id)
        locale = interaction.guild_locale
        with speaking(None if locale is None else str(locale)):
            letter = Letter(content=_notice(made, job), view=_under_report(made))
        about = sent.About(kind=SentKind.NOTICE, job_id=job.id, user_id=reporter_id)
        await tell_admins(services, letter, about)
    await say(interaction, texts_community.reported())


async def tell_admins(services: Services, letter: Letter, about: sent.About | None = None) -> None:
    """Say something where the moderators read it: their channel, else to each admin.

    `about` says which person's job it is about, where it is about one.
    """
    moderation = services.settings().moderation
    channel_id = moderation.report_channel
    if channel_id and await _told(services, channel_id, letter, about):
        return
    for admin_id in moderation.admins:
        try:
            channel_id = await services.talk.direct(admin_id)
        except (Passing, Refused) as trouble:
            log.warning("admin %d cannot be told: %s", admin_id, trouble)
        else:
            await _told(services, channel_id, letter, about)


async def _told(
    services: Services, channel_id: int, letter: Letter, about: sent.About | None
) -> bool:
    store, talk = services.store, services.talk
    try:
        if about is None:
            await talk.send(channel_id, letter, nonce=new_job_id())
        else:
            await sent.send(store, talk, channel_id, letter, about=about, nonce=new_job_id())
    except (Passing, Refused) as trouble:
        log.warning("channel %d cannot be told: %s", channel_id, trouble)
        return False
    return True


def _notice(made: Report, job: Job) -> str:
    place = job.progress_channel_id or job.channel_id
    guild = "@me" if job.guild_id is None else job.guild_id
    link = f"https://discord.com/channels/{guild}/{place}/{job.post_message_id or 0}"
    return texts_community.report_notice(
        report_id=made.id,
        job_id=job.id,
        requester_id=job.requester_id,
        reporter_id=made.reporter_id,
        link=link,
    )


def _under_report(made: Report) -> "View":
    view = discord.ui.View(timeout=None)
    for action, style in _STYLES.items():
        view.add_item(
            discord.ui.Button(
                label=tr(texts_community.LABELS[action]),
                style=style,
                custom_id=f"v1:{action}:{made.id}:0",
            )
        )
    return forgotten(view)


async def _settle(verdict: str, interaction: Interaction, rest: str) -> None:
    """Remove, Keep or Ban requester: a moderator's word on a report."""
    services = services_of(interaction)
    made = await services.store.community.report(rest.partition(":")[0])
    if made is None:
        await say(interaction, texts_community.unknown_report())
        return
    if not is_moderator(interaction, made.guild_id):
        await say(interaction, texts_community.moderators_only())
        return
    if made.settled_at is not None:
        await say(interaction, texts_community.already_settled(made.settled_by))
        return
    await interaction.response.defer()
    by = interaction.user.id
    settled = await services.store.community.settle_report(made.id, by=by, verdict=verdict)
    if settled is None or (settled.settled_by, settled.verdict) != (by, verdict):
        # Somebody else was quicker by a moment.
        quicker = None if settled is None else settled.settled_by
        await say(interaction, texts_community.already_settled(quicker))
        return
    log.info("report %s was settled by %d: %s", made.id, by, verdict)
    job = await services.store.job(made.job_id)
    if job is not None and verdict in (REMOVE, BAN):
        await _take_down(services, job)
        if verdict == BAN:
            reason = texts_community.banned_for_report(made.id)
            await services.store.community.ban(
                made.guild_id, job.requester_id, until=None, reason=reason, by=by
            )
    shown = "" if interaction.message is None else interaction.message.content
    await interaction.edit_original_response(
        content=f"{shown}\n{texts_community.report_settled(verdict, by)}"[:2000],
        view=None,
        allowed_mentions=discord.AllowedMentions.none(),
    )


async def _take_down(services: Services, job: Job) -> None:
    """Remove a job's pictures and messages, those of the same pictures posted alone, and what
    shows either elsewhere: copies in direct messages, and what /show posted.
    """
    copies = [each for each in await services.store.children(job.id) if _is_copy(each)]
    for one in (job, *copies):
        await services.store.delete_pictures(one.id)
        if await services.store.sent.take_down(one.id):
            services.remover.wake()
        if one.post_message_id is None:
            continue
        channel_id = one.progress_channel_id or one.channel_id
        try:
            message = await services.talk.fetch(channel_id, one.post_message_id)
            if is_result(message, one, services.talk.own_id):
                await sent.delete(services.store, services.talk, channel_id, one.post_message_id)
        except (Passing, Refused) as trouble:
            log.info("job %s: its message stays: %s", one.id, trouble)


def _is_copy(job: Job) -> bool:
    return job.kind is JobKind.UPSCALE


async def _remove(interaction: Interaction, rest: str) -> None:
    await _settle(REMOVE, interaction, rest)


async def _keep(interaction: Interaction, rest: str) -> None:
    await _settle(KEEP, interaction, rest)


async def _ban(interaction: Interaction, rest: str) -> None:
    await _settle(BAN, interaction, rest)


# Presses about reports; what follows the action in the custom_id is theirs to read.
HANDLERS: Final[Mapping[str, Callable[[Interaction, str], Awaitable[None]]]] = MappingProxyType(
    {REMOVE: _remove, KEEP: _keep, BAN: _ban}
)
