"""/admin: pause, resume, drain, clear, reload, ban, quota and forget.

Promises that only who may manage the server, by the interaction's own permissions, or an admin
named in the settings gets anything done. In a server every word holds for that server; in direct
messages, where only the bot's admins are heard, it holds everywhere.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Final

import discord
from discord import app_commands

from bot import texts_community, texts_discord
from bot.acknowledging import Answer, thinking
from bot.answers import say
from bot.commands.admin_forget import admin_forget
from bot.commands.choices import matching
from bot.config_errors import ConfigError
from bot.halts import Halt
from bot.language import mark, speaking, tr
from bot.moderation import is_admin
from bot.services import Interaction, Services, services_of
from storage import Job

LONGEST_REASON: Final = 300
MOST_SECONDS: Final = 86_400
LIFT: Final = mark("lift")
FOR_GOOD: Final = mark("for good")
NONE: Final = mark("none")
TIMES: Final = (
    mark("10 minutes"),
    mark("1 hour"),
    mark("1 day"),
    mark("7 days"),
    mark("30 days"),
    FOR_GOOD,
    LIFT,
)
QUOTAS: Final = ("60", "300", "600", "1800", "3600", NONE)
_TIME: Final = re.compile(r"([0-9]{1,6})\s*(m|min|minutes?|h|hours?|d|days?|w|weeks?)?")
_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where somebody's word holds: in one guild, or everywhere for None."""

    guild_id: int | None


def reach_of(interaction: Interaction) -> Reach | None:
    """Return where somebody may keep order from here; None where they may not."""
    if interaction.guild_id is None:
        return Reach(guild_id=None) if is_admin(interaction) else None
    if interaction.permissions.manage_guild or is_admin(interaction):
        return Reach(guild_id=interaction.guild_id)
    return None


async def allowed(interaction: Interaction) -> Reach | None:
    """Return where somebody's word holds, or say that it does not."""
    reach = reach_of(interaction)
    if reach is None:
        await say(interaction, texts_community.moderators_only())
    return reach


def admin() -> app_commands.Group:
    """Make the group of commands."""
    group = app_commands.Group(
        name="admin",
        description=texts_community.COMMANDS["admin"],
        default_permissions=discord.Permissions(manage_guild=True),
    )
    group.add_command(_halting("pause", Halt.PAUSED))
    group.add_command(_halting("resume", None))
    group.add_command(_halting("drain", Halt.DRAINING))
    for make in (_clear, _reload, _ban, _quota, admin_forget):
        group.add_command(make())
    return group


def _halting(name: str, halt: Halt | None) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name=name, description=texts_community.COMMANDS[name])
    async def run(interaction: Interaction) -> None:
        reach = await allowed(interaction)
        if reach is None:
            return
        halts = services_of(interaction).halts
        await thinking(interaction, halts.set(reach.guild_id, halt), Answer.EPHEMERAL)
        told = texts_community.halted(halt, everywhere=reach.guild_id is None)
        left = halts.of(reach.guild_id)
        if halt is None and left is not None:
            told = f"{told} {texts_community.still_halted(left)}"
        await say(interaction, told)

    return run


def _clear() -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="clear", description=texts_community.COMMANDS["clear"])
    @app_commands.describe(user=texts_community.OPTIONS["whose"])
    async def run(interaction: Interaction, user: discord.User | None = None) -> None:
        reach = await allowed(interaction)
        if reach is None:
            return
        await interaction.response.defer(ephemeral=True, thinking=True)
        services = services_of(interaction)
        gone = await clear_queue(services, reach.guild_id, None if user is None else user.id)
        await say(interaction, texts_community.cleared(len(gone)))
        await _tell_cleared(services, gone, interaction.user.id)

    return run


def _reload() -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="reload", description=texts_community.COMMANDS["reload"])
    async def run(interaction: Interaction) -> None:
        if await allowed(interaction) is None:
            return
        reload = services_of(interaction).reload
        if reload is None:
            await say(interaction, texts_community.no_reload())
            return
        await interaction.response.defer(ephemeral=True, thinking=True)
        try:
            changes = await reload()
        except ConfigError as error:
            await say(interaction, texts_community.reload_refused(str(error)))
        else:
            await say(interaction, texts_community.reloaded(changes))

    return run


def _ban() -> app_commands.Command[Any, ..., None]:
    options = texts_community.OPTIONS

    @app_commands.command(name="ban", description=texts_community.COMMANDS["ban"])
    @app_commands.describe(user=options["user"], time=options["time"], reason=options["reason"])
    async def run(
        interaction: Interaction,
        user: discord.User,
        time: app_commands.Range[str, 1, 40] = FOR_GOOD,
        reason: app_commands.Range[str, 1, LONGEST_REASON] | None = None,
    ) -> None:
        reach = await allowed(interaction)
        if reach is not None:
            banning = set_ban(interaction, reach, user.id, time=time, reason=reason or "")
            await say(interaction, await thinking(interaction, banning, Answer.EPHEMERAL))

    @run.autocomplete("time")
    async def complete(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return _choices(current, TIMES)

    return run


def _quota() -> app_commands.Command[Any, ..., None]:
    options = texts_community.OPTIONS

    @app_commands.command(name="quota", description=texts_community.COMMANDS["quota"])
    @app_commands.describe(user=options["user"], seconds=options["seconds"])
    async def run(
        interaction: Interaction, user: discord.User, seconds: app_commands.Range[str, 1, 20]
    ) -> None:
        reach = await allowed(interaction)
        if reach is None:
            return
        wanted = read_seconds(seconds)
        if wanted is not None and not 0 <= wanted <= MOST_SECONDS:
            await say(interaction, texts_community.not_seconds(seconds))
            return
        community = services_of(interaction).store.community
        setting = community.set_quota(reach.guild_id, user.id, wanted)
        await thinking(interaction, setting, Answer.EPHEMERAL)
        await say(interaction, texts_community.quota_set(user.id, wanted))

    @run.autocomplete("seconds")
    async def complete(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return _choices(current, QUOTAS)

    return run


async def set_ban(
    interaction: Interaction, reach: Reach, user_id: int, *, time: str, reason: str
) -> str:
    """Ban somebody or let them in again; return what to say of it."""
    services = services_of(interaction)
    # What is offered may be typed in the admin's language, too.
    time = {tr(each): each for each in TIMES}.get(time.strip(), time)
    if time.strip().casefold() == LIFT:
        was = await services.store.community.unban(reach.guild_id, user_id)
        return texts_community.ban_lifted(user_id, was=was)
    until = None
    if time.strip().casefold() != FOR_GOOD:
        span = read_time(time)
        if span is None:
            return texts_community.not_a_time(time)
        until = datetime.now(UTC) + span
    by = interaction.user.id
    await services.store.community.ban(reach.guild_id, user_id, until=until, reason=reason, by=by)
    await clear_queue(services, reach.guild_id, user_id)
    return texts_community.ban_set(user_id, until)


async def clear_queue(services: Services, guild_id: int | None, user_id: int | None) -> list[Job]:
    """Cancel the waiting jobs of a guild (or all), of one person (or everybody's)."""
    gone: list[Job] = []
    for job in await services.store.waiting():
        if guild_id not in (None, job.guild_id) or user_id not in (None, job.requester_id):
            continue
        services.queue.discard(job.id)
        cancelled = await services.store.cancel(job.id)
        if cancelled is not None:
            # It may have been taken up in between.
            await services.worker.cancel(job.id)
            services.metrics.ended.labels("cancelled").inc()
            gone.append(cancelled)
    return gone


async def _tell_cleared(services: Services, gone: list[Job], admin_id: int) -> None:
    for job in gone:
        with speaking(job.locale):
            told = texts_discord.ended(job, texts_community.cleared_by(admin_id))
            await services.poster.tell(job, told, only_edit=True)
            await services.poster.sequels.ended(job)


def read_time(text: str) -> timedelta | None:
    """Read a span such as `1 hour` or `7d`; a bare number is days. None where it is none."""
    found = _TIME.fullmatch(text.strip().casefold())
    if found is None or int(found[1]) == 0:
        return None
    seconds = int(found[1]) * _UNITS[(found[2] or "d")[0]]
    longest = 10 * 366 * _UNITS["d"]
    return timedelta(seconds=min(seconds, longest))


def read_seconds(text: str) -> float | None:
    """Read a number of seconds; None for `none`, and -1 for what is no number."""
    if text.strip().casefold() in (NONE, tr(NONE)):
        return None
    try:
        found = float(text)
    except ValueError:
        return -1.0
    return found if isfinite(found) else -1.0


def _choices(typed: str, values: tuple[str, ...]) -> list[app_commands.Choice[str]]:
    # What is typed in another language is found by its translation as well.
    names = {tr(value): value for value in values}
    return [app_commands.Choice(name=name, value=names[name]) for name in matching(typed, names)]
