"""/show: post an earlier job again, with live buttons."""

import asyncio
import io
import logging
import re
from typing import Any, Final

import discord
from discord import app_commands

from bot import jobs, texts, texts_discord
from bot.answers import say, verdict
from bot.cards import under_result
from bot.permissions import Action, Verdict
from bot.services import Interaction, Services, services_of
from storage import Job, JobState, StorageError

_LINK: Final = re.compile(r"https?://\S*/channels/(?:\d+|@me)/\d+/(\d+)/?")

log = logging.getLogger(__name__)


def show() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="show", description=texts.COMMANDS["show"])
    @app_commands.describe(job=texts.OPTIONS["job"])
    async def run(interaction: Interaction, job: app_commands.Range[str, 1, 200]) -> None:
        found = await find(services_of(interaction), job.strip())
        if found is None or verdict(interaction, Action.SHOW, found) is not Verdict.YES:
            await say(interaction, texts.unknown_job(job))
        elif found.deleted_at is not None:
            await say(interaction, texts.deleted_job())
        elif found.state is not JobState.POSTED and found.error_code != "undeliverable":
            line = texts.history_line(texts_discord.history_line(found))
            await say(interaction, line)
        else:
            await repost(interaction, found)

    @run.autocomplete("job")
    async def complete(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        found = await services_of(interaction).store.history(
            requester_id=interaction.user.id,
            guild_id=interaction.guild_id,
            search=current[:100] or None,
            limit=25,
        )
        return [
            app_commands.Choice(
                name=texts.show_choice(texts_discord.history_line(one)), value=one.id
            )
            for one in found
        ]

    return run


async def find(services: Services, text: str) -> Job | None:
    """Find a job by its id or by the address of its message."""
    link = _LINK.fullmatch(text)
    if link is not None:
        return await services.store.job_by_message(int(link[1]))
    return await services.store.job(text.removeprefix("#").lower())


async def repost(interaction: Interaction, job: Job) -> None:
    """Answer with the job's picture and its buttons."""
    services = services_of(interaction)
    await interaction.response.defer(thinking=True)
    pictures = await services.store.pictures(job.id)
    grid = next((picture for picture in pictures if picture.index == 0), None)
    if grid is None:
        await say(interaction, texts.picture_gone(0))
        return
    try:
        data = await services.store.read_picture(grid)
    except StorageError as error:
        log.error("job %s: its picture cannot be read: %s", job.id, error)
        await say(interaction, texts.picture_gone(0))
        return
    model = services.models.get(job.model)
    name, data = await asyncio.to_thread(jobs.fitting, job, data, model)
    file = discord.File(io.BytesIO(data), name, description=texts_discord.alt_text(job))
    await interaction.followup.send(
        texts_discord.final(job),
        file=file,
        view=under_result(job),
        allowed_mentions=discord.AllowedMentions.none(),
    )
