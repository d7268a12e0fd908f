"""/show: post an earlier job again, with live buttons; by its id, a link, or the picture itself."""

import asyncio
import io
import logging
import re
from typing import Any, Final

import discord
from discord import app_commands

from bot import jobs, sent, texts, texts_community, texts_discord, texts_people
from bot.answers import say
from bot.cards import under_result
from bot.enclosed import EnclosedError, read_enclosed
from bot.intake import is_restricted
from bot.judged import is_barred, is_hidden, posted_name
from bot.letters import tiles_of
from bot.origins import origins_of
from bot.seeing import may_see
from bot.services import Interaction, Services, services_of
from diffusion import PictureError
from storage import Job, JobState, SentKind, StorageError

_LINK: Final = re.compile(r"https?://\S*/channels/(?:\d+|@me)/\d+/(\d+)/?")

log = logging.getLogger(__name__)


def show() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="show", description=texts.COMMANDS["show"])
    @app_commands.describe(job=texts.OPTIONS["job"], image=texts_people.OPTIONS["image"])
    async def run(
        interaction: Interaction,
        job: app_commands.Range[str, 1, 200] | None = None,
        image: discord.Attachment | None = None,
    ) -> None:
        if image is not None:
            await show_picture(interaction, image)
        elif job is not None:
            found = await find(services_of(interaction), job.strip())
            await show_job(interaction, found, asked_for=job)
        else:
            await say(interaction, texts_people.show_what())

    run.autocomplete("job")(complete_job)
    return run


async def complete_job(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
    """Offer the caller's own jobs, by words in their prompts."""
    found = await services_of(interaction).store.history(
        requester_id=interaction.user.id,
        guild_id=interaction.guild_id,
        search=current[:100] or None,
        limit=25,
    )
    return [
        app_commands.Choice(name=texts.show_choice(texts_discord.history_line(one)), value=one.id)
        for one in found
    ]


async def find(services: Services, text: str) -> Job | None:
    """Find a job by its id or by the address of its message."""
    link = _LINK.fullmatch(text)
    if link is not None:
        return await services.store.job_by_message(int(link[1]))
    return await services.store.job(text.removeprefix("#").lower())


async def show_picture(interaction: Interaction, image: discord.Attachment) -> None:
    """Find the job of a picture that somebody attached, and post it again."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    try:
        data = await read_enclosed(image)
        found = await origins_of(services_of(interaction).store, data)
    except (EnclosedError, PictureError) as error:
        await say(interaction, texts_people.refused_file(str(error)))
        return
    visible = [each.job for each in found.matches if may_see(interaction, each.job)]
    if not visible:
        await say(interaction, texts_people.picture_unknown())
        return
    await show_job(interaction, visible[0], asked_for=visible[0].id)


async def show_job(interaction: Interaction, job: Job | None, *, asked_for: str) -> None:
    """Post a job again, or say why not."""
    if job is None or not may_see(interaction, job):
        await say(interaction, texts.unknown_job(asked_for))
    elif job.deleted_at is not None:
        await say(interaction, texts.deleted_job())
    elif job.state is not JobState.POSTED and job.error_code != "undeliverable":
        line = texts.history_line(texts_discord.history_line(job))
        await say(interaction, line)
    else:
        await repost(interaction, job)


async def repost(interaction: Interaction, job: Job) -> None:
    """Answer with the job's picture and its buttons, for all to see."""
    services = services_of(interaction)
    if interaction.response.is_done():
        # The first answer after a silent one is silent too, whatever it carries.
        await say(interaction, texts_people.found(job.id))
    else:
        await interaction.response.defer(thinking=True)
    pictures = await services.store.pictures(job.id)
    grid = next((picture for picture in pictures if picture.index == 0), None)
    if grid is None:
        await say(interaction, texts.picture_gone(0))
        return
    if is_barred(grid.media_type, restricted=is_restricted(interaction)):
        await say(interaction, texts_community.restricted_only())
        return
    try:
        data = await services.store.read_picture(grid)
    except StorageError as error:
        log.error("job %s: its picture cannot be read: %s", job.id, error)
        await say(interaction, texts.picture_gone(0))
        return
    model = services.models.get(job.model)
    limit = interaction.filesize_limit
    name, data = await asyncio.to_thread(jobs.fitting, job, data, model, limit=limit)
    name = posted_name(name, hidden=is_hidden(grid, job))
    tiles = tiles_of(job, pictures)
    alt = texts_discord.alt_text(job, tiles)
    can_continue = await services.store.state(job.id) is not None
    message = await interaction.followup.send(
        texts_discord.final(job),
        file=discord.File(io.BytesIO(data), name, description=alt),
        view=under_result(job, tiles, can_continue=can_continue),
        allowed_mentions=discord.AllowedMentions.none(),
        wait=True,
    )
    about = sent.About(kind=SentKind.SHOWN, job_id=job.id, user_id=interaction.user.id)
    await sent.note(services.store, services.talk, about, message.channel.id, message.id)
