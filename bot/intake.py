"""Accepting jobs: limits, then the table, then the answer, then the queue; in this order.

Promises that a job is on disk before anybody reads that it was accepted, that a repeated event
makes no second job, and that an accepted job is painted even when its answer was lost.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from bot import judged, limits, roles, texts, texts_community, texts_discord
from bot.acknowledging import acknowledge, stop_thinking, thinking
from bot.answers import say
from bot.arrivals import arrived
from bot.cards import under_progress
from bot.config import Config
from bot.estimates import work_of
from bot.halts import Halt, Halts
from bot.health import Metrics
from bot.jobs import MAX_UPLOAD, TELLS_WORDS, details_of
from bot.patience import until_stored
from bot.poster import CrashPoint, no_crash
from bot.preferences import tells_words
from bot.queue import EVERYWHERE, FairQueue, Ticket, share_of
from bot.recipes import is_express
from bot.services import Interaction
from bot.talk import Letter, Passing, Refused, Talk
from bot.worker import Worker
from diffusion import Params
from storage import MOST_IMAGES, Enqueued, Job, JobKind, NewJob, StorageError, Store

# Kinds whose pictures are no grid of four.
_MANY: Final = frozenset({JobKind.MORPH, JobKind.GRID, JobKind.REROLL})

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
        halts: Halts,
        crash: CrashPoint = no_crash,
    ) -> None:
        self._store = store
        self._queue = queue
        self._worker = worker
        self._talk = talk
        self._settings = settings
        self._metrics = metrics
        self._halts = halts
        self._crash = crash
        self._notes: set[asyncio.Task[None]] = set()

    async def accept(self, interaction: Interaction, news: Sequence[NewJob]) -> bool:
        """Take in all jobs of one interaction, or say in a sentence why none.

        False where they were taken in before: then nothing was said.
        """
        try:
            accepted = await thinking(interaction, self._take_in(interaction, news))
        except StorageError as error:
            log.warning("a job of %d was not accepted: %s", interaction.user.id, error)
            await say(interaction, texts_discord.not_accepted(error))
            return True
        if isinstance(accepted, str):
            await say(interaction, accepted)
            return True
        self._crash("accepted")
        fresh = [each.job for each in accepted if each.created]
        if not fresh:
            log.info("interaction %d came to an earlier run, too", interaction.id)
            await stop_thinking(interaction)
            return False
        for job in fresh:
            self._reserve(job)
        try:
            await self._answer(interaction, fresh[0])
            self._metrics.acknowledged.observe(time.monotonic() - arrived(interaction))
            self._crash("acknowledged")
        finally:
            for job in fresh:
                self.put(job)
        for job in fresh[1:]:
            await self._announce(job)
        return True

    def put(self, job: Job) -> None:
        """Let a queued job wait for its turn; one that needs no device has it at once."""
        if is_express(job):
            self._worker.express(job)
        else:
            self._queue.add(self.ticket(job))
            self._queue.release(job.id)

    def _reserve(self, job: Job) -> None:
        """Give a job its place, so that who asks meanwhile is told of it; the answer goes first."""
        if not is_express(job):
            self._queue.add(self.ticket(job), held=True)

    def cost(self, job: Job) -> float:
        """Return the device seconds that a job is estimated to take."""
        if is_express(job):
            return 0.0
        work = work_of(Params.from_json(job.params), share_of(job.details))
        return self._worker.estimates.cost(work)

    def ticket(self, job: Job) -> Ticket:
        """Return a job's place-to-be in the queue: its cost, its class, its requester's caps."""
        work = work_of(Params.from_json(job.params), share_of(job.details))
        settings = roles.settings_for(self._settings(), roles.roles_in(job))
        return Ticket(
            job_id=job.id,
            requester_id=job.requester_id,
            seconds=self._worker.estimates.cost(work),
            share=work.share,
            guild_id=job.guild_id or EVERYWHERE,
            most_running=settings.queue.max_running_user,
            work=work,
        )

    async def _take_in(
        self, interaction: Interaction, news: Sequence[NewJob]
    ) -> tuple[Enqueued, ...] | str:
        """Put all jobs into the table, or return the sentence that refuses them."""
        settings = roles.settings_of(interaction, self._settings())
        tells = await tells_words(self._store, interaction.user.id)
        news = [dressed(new, interaction, settings, tells_words=tells) for new in news]
        refusal = await self._refusal(interaction, news, settings)
        return refusal or await self._enqueue(news, settings)

    async def _refusal(
        self, interaction: Interaction, news: Sequence[NewJob], settings: Config
    ) -> str | None:
        user_id, guild_id = interaction.user.id, interaction.guild_id
        ban = await self._store.community.ban_of(guild_id, user_id)
        if ban is not None:
            return texts_community.banned(ban.reason, ban.until)
        refused = check_jobs(interaction, news, settings)
        if refused is not None:
            return refused.text
        for new in filter(is_express, news):
            # The same pixels again: what may not be seen here may not come by a button either.
            mark = await judged.mark_of_parent(new, self._store)
            if judged.is_barred(mark, restricted=is_restricted(interaction)):
                return texts_community.restricted_only()
        if not all(map(is_express, news)):
            if self._halts.of(guild_id) is Halt.DRAINING:
                return texts_community.draining()
            quota = await roles.quota_of(
                self._store, self.cost, settings, user_id=user_id, guild_id=guild_id
            )
            if quota.limit is not None and quota.is_used_up:
                return texts_community.quota_used_up(limit=quota.limit, resets=quota.resets)
        free = await self._store.free_bytes()
        return texts.disk_full() if free < settings.storage.min_free_gib * 2**30 else None

    async def _enqueue(self, news: Sequence[NewJob], settings: Config) -> tuple[Enqueued, ...]:
        limit = settings.queue
        if all(map(is_express, news)):
            # What needs no device does not wait, so it is not held against anybody.
            return await self._store.enqueue_all(news)
        return await self._store.enqueue_all(
            news, max_waiting=limit.max_waiting, max_waiting_user=limit.max_waiting_user
        )

    async def _answer(self, interaction: Interaction, job: Job) -> None:
        content = self._waiting_text(job)
        message_id = await acknowledge(interaction, content, under_progress(job))
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
        note = partial(
            self._store.note_progress_message,
            job.id,
            channel_id=channel_id,
            message_id=message_id,
        )
        try:
            await note()
        except StorageError as error:
            log.warning("job %s: its message could not be noted: %s", job.id, error)
            # The pictures need the same room on the disk, so this is mostly there before them.
            task = asyncio.create_task(self._note_later(job, note), name=f"note {job.id}")
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)

    async def _note_later(self, job: Job, note: Callable[[], Awaitable[object]]) -> None:
        try:
            await until_stored(note)
        except StorageError as error:
            log.warning("job %s: its message is not noted: %s", job.id, error)

    def _waiting_text(self, job: Job) -> str:
        if is_express(job):
            return texts_discord.posting(job)
        ticket = self._queue.ticket(job.id) or self.ticket(job)
        position = self._queue.position_of(ticket)
        if self._halts.of(job.guild_id) is Halt.PAUSED:
            waiting = texts_discord.waiting(job, position=position, eta=None)
            return f"{waiting}\n{texts_community.paused()}"
        eta = self._worker.eta(ticket)
        others = len(self._queue) - (job.id in self._queue)
        self._worker.estimates.promised(job.id, eta, waiting=others)
        return texts_discord.waiting(job, position=position, eta=eta)


def dressed(
    new: NewJob, interaction: Interaction, settings: Config, *, tells_words: bool = False
) -> NewJob:
    """Note in a job what only its interaction knows and what its delivery needs later.

    That is the largest file Discord takes there, the roles that change limits, whether the channel
    is age-restricted, and whether the files may hold the prompt. What is as usual is left out; what
    an older job said is forgotten.
    """
    details = details_of(new)
    limit = interaction.filesize_limit
    here: dict[str, object] = {
        "limit": None if limit in (None, MAX_UPLOAD) else limit,
        "roles": list(roles.roles_of(interaction, settings)) or None,
        "restricted": is_restricted(interaction) or None,
        TELLS_WORDS: tells_words or None,
    }
    kept = {key: value for key, value in details.items() if key not in here}
    kept |= {key: value for key, value in here.items() if value is not None}
    return replace(new, details=json.dumps(kept, sort_keys=True))


def is_restricted(interaction: Interaction) -> bool:
    """Say whether an interaction comes from an age-restricted channel."""
    channel = interaction.channel
    channel = getattr(channel, "parent", None) or channel
    return bool(getattr(channel, "nsfw", False))


def check_jobs(
    interaction: Interaction, news: Sequence[NewJob], settings: Config
) -> limits.Refusal | None:
    """Check all jobs of one interaction against the limits of who asks, where they ask."""
    params = [Params.from_json(new.params) for new in news]
    most = settings.limits.max_repeat * settings.limits.max_permutations
    images = MOST_IMAGES if any(new.kind in _MANY for new in news) else limits.MAX_IMAGES
    refused = limits.check_params(params, settings.limits, images=images, runs=most)
    # A comparison is one job, but every cell of it is a prompt of its own.
    cells = [Params.from_json(cell) for new in news for cell in details_of(new).get("cells", ())]
    refused = refused or limits.check_params(cells, settings.limits, runs=len(cells))
    allowed = roles.models_for(settings, roles.roles_of(interaction, settings))
    parent_id = getattr(interaction.channel, "parent_id", None)
    channels = [each for each in (interaction.channel_id, parent_id) if each is not None]
    for one in (*params, *cells):
        refused = refused or limits.check_model(one.model, allowed)
        for prompt in (one.prompt, *one.morph):
            refused = refused or limits.check_words(
                prompt, settings.moderation, guild_id=interaction.guild_id, channels=channels
            )
    return refused
