"""/verify: whether a picture was made here, how sure that is, and whether it comes back the same.

Promises that of a job the asker may not see nothing is told but that the picture was made here, and
that a claim in a file which nothing bears out is called a claim.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

import discord
from discord import app_commands

from bot import roles, texts, texts_community, texts_discord, texts_people, texts_verify
from bot.answers import say
from bot.cards import forgotten
from bot.enclosed import EnclosedError, read_enclosed
from bot.origins import Match, Origins, Sureness, origins_of
from bot.repaint import NotPaintableError, repaint
from bot.seeing import may_see
from bot.services import Interaction, services_of
from diffusion import DiffusionError, EngineClosedError, EngineDeadError, PictureError
from storage import Job

ACTION: Final = "proof"
_MOST_SHOWN: Final = 3

log = logging.getLogger(__name__)


def verify() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="verify", description=texts_people.COMMANDS["verify"])
    @app_commands.describe(
        image=texts_people.OPTIONS["image"], render=texts_people.OPTIONS["render"]
    )
    async def run(
        interaction: Interaction, image: discord.Attachment, render: bool = False
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        try:
            data = await read_enclosed(image)
            found = await origins_of(services_of(interaction).store, data)
        except (EnclosedError, PictureError) as error:
            await say(interaction, texts_people.refused_file(str(error)))
            return
        shown = visible(interaction, found)
        text = _verdict(found, shown)
        if not shown:
            await say(interaction, text)
            return
        await say(interaction, text, view=_compare_button(shown[0]))
        if render:
            await _compare(interaction, shown[0].job, shown[0].index)

    return run


async def prove(interaction: Interaction, state: str) -> None:
    """Paint again and compare: the job and picture that a button names."""
    job_id, _, index = state.partition(":")
    job = await services_of(interaction).store.job(job_id)
    whole = index.isascii() and index.isdigit() and len(index) < 3
    if job is None or not whole or not may_see(interaction, job):
        await say(interaction, texts.unknown_job(job_id))
        return
    await interaction.response.defer(ephemeral=True, thinking=True)
    await _compare(interaction, job, int(index))


def visible(interaction: Interaction, found: Origins) -> list[Match]:
    """Return the surest matches, those of them that the reader may see."""
    if not found.matches:
        return []
    surest = found.matches[0].sureness
    alike = [each for each in found.matches if each.sureness is surest]
    return [each for each in alike if may_see(interaction, each.job)][:_MOST_SHOWN]


def _verdict(found: Origins, shown: Sequence[Match]) -> str:
    lines = [
        texts_verify.match(
            each.sureness,
            job_id=each.job.id,
            index=each.index,
            apart=each.apart,
            link=texts_discord.link(each.job),
        )
        for each in shown
    ]
    if lines:
        return texts_verify.found(lines)
    if found.matches and found.matches[0].sureness is not Sureness.SAYS:
        return texts_verify.made_here(found.matches[0].sureness)
    return texts_verify.unknown(says_job=found.says_job, program=found.says_program)


async def _compare(interaction: Interaction, job: Job, index: int) -> None:
    """Paint a picture again and say what came of it; one at a time, for it costs the device."""
    services = services_of(interaction)
    refusal = await _refusal(interaction)
    if refusal is not None:
        await say(interaction, refusal)
        return
    async with services.repainting:
        try:
            compared = await repaint(services, job, index)
        except NotPaintableError:
            await say(interaction, texts_verify.not_paintable())
        except (EngineClosedError, EngineDeadError):
            await say(interaction, texts.restarting())
        except DiffusionError as error:
            log.warning("job %s cannot be painted again: %s", job.id, error)
            await say(interaction, texts_verify.not_paintable())
        else:
            text = texts_verify.compared(pixels=compared.pixels, differ=compared.differ)
            await say(interaction, text)


async def _refusal(interaction: Interaction) -> str | None:
    """Say why nothing is painted again now: what keeps jobs out keeps this out too."""
    services, user_id = services_of(interaction), interaction.user.id
    guild_id = interaction.guild_id
    ban = await services.store.community.ban_of(guild_id, user_id)
    if ban is not None:
        return texts_community.banned(ban.reason, ban.until)
    if services.halts.of(guild_id) is not None:
        return texts_community.draining()
    settings = roles.settings_of(interaction, services.settings())
    quota = await roles.quota_of(
        services.store, services.intake.cost, settings, user_id=user_id, guild_id=guild_id
    )
    if quota.limit is not None and quota.is_used_up:
        return texts_community.quota_used_up(limit=quota.limit, resets=quota.resets)
    return texts_verify.busy() if services.repainting.locked() else None


def _compare_button(match: Match) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    view.add_item(
        discord.ui.Button(
            label=texts_verify.paint_again(),
            custom_id=f"v1:{ACTION}:{match.job.id}:{match.index}",
        )
    )
    return forgotten(view)
