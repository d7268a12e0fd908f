"""/forget-me: after one question, nothing is kept about a person any more.

Promises that the store forgets first and at once, whatever becomes of the messages, which go as far
as Discord lets them; that whoever presses loses their own data and nobody else's, wherever the
button came from; and that what was just being sent is forgotten as soon as it has arrived.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import discord
from discord import app_commands

from bot import texts_papers, texts_people
from bot.answers import say
from bot.cards import forgotten
from bot.services import Interaction, Services, services_of
from bot.talk import Passing, Refused
from storage import Forgotten, Job

ACTION: Final = "forget"
# How long what is just being sent may take to arrive.
PATIENCE: Final = 60.0
_LOOK_AGAIN: Final = 2.0

log = logging.getLogger(__name__)


def forget_me() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="forget-me", description=texts_people.COMMANDS["forget-me"])
    async def run(interaction: Interaction) -> None:
        view = discord.ui.View(timeout=None)
        view.add_item(
            discord.ui.Button(
                label=texts_papers.forget_yes(),
                style=discord.ButtonStyle.danger,
                custom_id=f"v1:{ACTION}:yes",
            )
        )
        await say(interaction, texts_papers.forget_asked(), view=forgotten(view))

    return run


async def forget_for_good(interaction: Interaction, state: str) -> None:
    """Yes: everything about the presser goes."""
    services, user_id = services_of(interaction), interaction.user.id
    await interaction.response.defer()
    jobs = (await services.store.export(user_id)).jobs
    gone = await _forget(services, user_id)
    log.info("somebody was forgotten: %d jobs, %d files", gone.jobs, gone.files)
    messages = _messages_of(jobs)
    await _tell(interaction, texts_papers.forgetting(gone, len(messages)))
    removed = await _remove(services, messages)
    still = await _until_arrived(services, user_id, gone)
    text = texts_papers.forgotten_all(removed=removed, messages=len(messages), still=still)
    await _tell(interaction, text)


async def _forget(services: Services, user_id: int) -> Forgotten:
    gone = await services.store.forget(user_id)
    for job_id in gone.cancelled:
        services.queue.discard(job_id)
        await services.worker.cancel(job_id)
    return gone


async def _until_arrived(services: Services, user_id: int, gone: Forgotten) -> int:
    """Forget also what was just being sent; return how many jobs are still under way."""
    unfinished = gone.unfinished
    try:
        async with asyncio.timeout(PATIENCE):
            while unfinished:
                await _wait(services)
                before = (await services.store.export(user_id)).jobs
                unfinished = (await _forget(services, user_id)).unfinished
                ended = [job for job in before if job.id in gone.unfinished]
                await _remove(services, _messages_of(ended))
    except TimeoutError:
        log.warning("%d jobs of a forgotten person are still being sent", len(unfinished))
    return len(unfinished)


async def _wait(services: Services) -> None:
    """Wait until the poster has done something, or a moment."""
    services.poster.changed.clear()
    try:
        await asyncio.wait_for(services.poster.changed.wait(), _LOOK_AGAIN)
    except TimeoutError:
        return


def _messages_of(jobs: Sequence[Job]) -> list[tuple[int, int]]:
    """Return channel and id of every message that shows these jobs, each once."""
    found: dict[tuple[int, int], None] = {}
    for job in jobs:
        channel_id = job.progress_channel_id or job.channel_id
        for message_id in (job.progress_message_id, job.post_message_id):
            if message_id is not None:
                found[channel_id, message_id] = None
    return list(found)


async def _remove(services: Services, messages: Sequence[tuple[int, int]]) -> int:
    """Delete messages of ours; return how many are gone now."""
    removed = 0
    for channel_id, message_id in messages:
        try:
            await services.talk.delete(channel_id, message_id)
        except (Passing, Refused) as error:
            log.info("a message of a forgotten person stays: %s", error)
        else:
            removed += 1
    return removed


async def _tell(interaction: Interaction, text: str) -> None:
    try:
        await interaction.edit_original_response(
            content=text, view=None, allowed_mentions=discord.AllowedMentions.none()
        )
    except discord.HTTPException as error:
        log.info("an answer to interaction %d was lost: %s", interaction.id, error)
