"""Accepting jobs: limits, then the table, then the answer, then the queue; in this order.

Promises that a job is on disk before anybody reads that it was accepted, that a repeated event
makes no second job, and that an accepted job is painted even when its answer was lost.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import aiohttp
import discord

from bot import limits, texts, texts_discord
from bot.answers import say
from bot.cards import under_progress
from bot.config import Config
from bot.health import Metrics
from bot.poster import CrashPoint, no_crash
from bot.queue import FairQueue
from bot.services import Interaction
from bot.talk import Letter, Passing, Refused, Talk
from bot.worker import Worker
from diffusion import Params
from storage import Enqueued, Job, JobKind, NewJob, StorageError, Store

if TYPE_CHECKING:
    from discord.ui import View

# Discord takes the first answer within three seconds; what comes later is lost anyway.
ANSWER_SECONDS: Final = 4.0

log = logging.getLogger(__name__)


class Intake:
    """The door through which jobs come in."""

    def __init__(
        self,
        *,
        store: Store,
        queue: FairQueue,
        worker: Worker,
        talk: Talk,
        settings: Callable[[], Config],
        metrics: Metrics,
        crash: CrashPoint = no_crash,
    ) -> None:
        self._store = store
        self._queue = queue
        self._worker = worker
        self._talk = talk
        self._settings = settings
        self._metrics = metrics
        self._crash = crash

    async def accept(self, interaction: Interaction, news: Sequence[NewJob]) -> None:
        """Take in all jobs of one interaction, or say in a sentence why none."""
        arrived = time.monotonic()
        refusal = await self._refusal(news)
        if refusal is not None:
            await say(interaction, refusal)
            return
        try:
            accepted = await self._enqueue(news)
        except StorageError as error:
            log.warning("a job of %d was not accepted: %s", interaction.user.id, error)
            await say(interaction, texts_discord.not_accepted(error))
            return
        self._crash("accepted")
        fresh = [each.job for each in accepted if each.created]
        if not fresh:
            log.info("interaction %d came twice", interaction.id)
            return
        await self._answer(interaction, fresh[0])
        self._metrics.acknowledged.observe(time.monotonic() - arrived)
        self._crash("acknowledged")
        for job in fresh:
            self.put(job)
        for job in fresh[1:]:
            await self._announce(job)

    def put(self, job: Job) -> None:
        """Let a queued job wait for its turn; one that needs no device has it at once."""
        if job.kind is JobKind.UPSCALE:
            self._worker.express(job)
        else:
            self._queue.put(job.id, job.requester_id)

    async def _refusal(self, news: Sequence[NewJob]) -> str | None:
        settings = self._settings()
        params = [Params.from_json(new.params) for new in news]
        refused = limits.check_params(params, settings.limits)
        for one in params:
            refused = refused or limits.check_words(one.prompt, settings.moderation)
        if refused is not None:
            return refused.text
        free = await self._store.free_bytes()
        return texts.disk_full() if free < settings.storage.min_free_gib * 2**30 else None

    async def _enqueue(self, news: Sequence[NewJob]) -> tuple[Enqueued, ...]:
        limit = self._settings().queue
        if all(new.kind is JobKind.UPSCALE for new in news):
            # What needs no device does not wait, so it is not held against anybody.
            return await self._store.enqueue_all(news)
        return await self._store.enqueue_all(
            news, max_waiting=limit.max_waiting, max_waiting_user=limit.max_waiting_user
        )

    async def _answer(self, interaction: Interaction, job: Job) -> None:
        content = self._waiting_text(job)
        message_id = await _acknowledge(interaction, content, under_progress(job))
        if message_id is not None:
            self._crash("answered")
            await self._note(job, job.channel_id, message_id)
            self._crash("noted")

    async def _announce(self, job: Job) -> None:
        """Give a further job of a group a message of its own, if that can be done now."""
        letter = Letter(content=self._waiting_text(job), view=under_progress(job))
        try:
            message_id = await self._talk.send(job.channel_id, letter, nonce=f"{job.id}p")
        except (Passing, Refused) as error:
            log.info("job %s has no progress message: %s", job.id, error)
        else:
            await self._note(job, job.channel_id, message_id)

    async def _note(self, job: Job, channel_id: int, message_id: int) -> None:
        try:
            await self._store.note_progress_message(
                job.id, channel_id=channel_id, message_id=message_id
            )
        except StorageError as error:
            log.warning("job %s: its message could not be noted: %s", job.id, error)

    def _waiting_text(self, job: Job) -> str:
        if job.kind is JobKind.UPSCALE:
            return texts_discord.posting(job)
        position = self._queue.next_position(job.requester_id)
        steps = Params.from_json(job.params).steps_run
        eta = self._worker.eta(position=position, steps=steps)
        return texts_discord.waiting(job, position=position, eta=eta)


async def _acknowledge(interaction: Interaction, content: str, view: "View") -> int | None:
    """Answer an interaction with a message; return the message's id if that is known."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await interaction.response.send_message(
                content,
                view=view,
                allowed_mentions=discord.AllowedMentions.none(),
                suppress_embeds=True,
            )
        return answer.message_id
    except discord.InteractionResponded:
        return None
    except discord.HTTPException as error:
        log.info("interaction %d could not be answered: %s", interaction.id, error)
        if error.status < 500:
            return None
    # A session that was closed under a request raises a bare RuntimeError.
    except (aiohttp.ClientError, OSError, RuntimeError) as error:
        log.info("interaction %d: the answer may be lost: %s", interaction.id, error)
    return await _answer_of(interaction)


async def _answer_of(interaction: Interaction) -> int | None:
    """Ask which message an interaction was answered with, when the reply to that got lost."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return (await interaction.original_response()).id
    except (discord.DiscordException, aiohttp.ClientError, OSError, RuntimeError):
        return None
