"""From stored pictures to one message, exactly once, whatever breaks in between.

Promises: a job's end is an edit of its own progress message, which is the same however often it is
done; only where that message is gone, too old or was never noted does a new one go out, with a
nonce made from the job's id, and never without looking for an earlier one after a crash or a gap.
Where the channel takes nothing the requester gets a direct message; else the job ends as failed
and its pictures stay. Never posts through an interaction.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import discord

from bot import jobs, judged, sent, texts, texts_discord
from bot.config import Config
from bot.health import Metrics
from bot.language import speaking
from bot.letters import letter_of
from bot.patience import until_stored
from bot.sequels import Sequels
from bot.talk import Letter, Passing, Reason, Refused, Talk
from diffusion import ModelInfo
from storage import Job, JobState, SentKind, StaleJob, Store

NONCE_SECONDS: Final = 120.0
EDITABLE: Final = timedelta(minutes=55)
CLOCKS_APART: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = 30.0
SMALLEST_FILE: Final = 16 * 1024
AT_ONCE: Final = 8
TELL_TRIES: Final = 3

log = logging.getLogger(__name__)

CrashPoint = Callable[[str], None]


def no_crash(point: str) -> None:
    """Stand for the crash that only tests inject."""


class Poster:
    """Posts finished jobs, several at once, each until it is done."""

    def __init__(
        self,
        *,
        store: Store,
        talk: Talk,
        models: Mapping[str, ModelInfo],
        settings: Callable[[], Config],
        metrics: Metrics,
        crash: CrashPoint = no_crash,
        first_pause: float = 0.5,
    ) -> None:
        self._store = store
        self._talk = talk
        self._models = models
        self._settings = settings
        self._metrics = metrics
        self._crash = crash
        self._first_pause = first_pause
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._channels: dict[str, int] = {}
        self.changed = asyncio.Event()
        self.sequels = Sequels(store=store, talk=talk, settings=settings, first_pause=first_pause)

    @property
    def backlog(self) -> int:
        """How many finished jobs are not posted yet."""
        return len(self._tasks)

    def busy(self, channel_id: int) -> bool:
        """Whether a finished job waits to be posted in a channel: whatever else is said waits."""
        return channel_id in self._channels.values()

    def submit(self, job: Job, *, look_first: bool = False) -> None:
        """Post a job in the background; `look_first` when an earlier run may have posted it."""
        if job.id in self._tasks:
            return
        # A job of a restored backup knows since when it may have been posted, before it begins to.
        look_first = look_first or job.post_started_at is not None
        with speaking(job.locale):
            posting = self._post(job, look_first=look_first)
            task = asyncio.create_task(posting, name=f"post {job.id}")
        self._tasks[job.id] = task
        self._channels[job.id] = job.progress_channel_id or job.channel_id
        task.add_done_callback(lambda done: self._done(job.id, done))

    async def stop(self) -> None:
        """Let what is under way end; cancelled, it drops it, and the next start finds it again."""
        tasks = list(self._tasks.values())
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def tell(
        self,
        job: Job,
        content: str,
        *,
        view: "discord.ui.View | None" = None,
        only_edit: bool = False,
    ) -> None:
        """Say something in a job's own message, without its pictures; best effort.

        Where there is no such message a new one is sent, unless it should be an edit or nothing.
        """
        place = await self._progress_of(job)
        letter = Letter(content=content, view=view)
        for number in range(TELL_TRIES):
            if place is None and only_edit:
                return
            try:
                if place is None:
                    about = sent.to_requester(SentKind.WORD, job)
                    await sent.send(
                        self._store,
                        self._talk,
                        job.channel_id,
                        letter,
                        about=about,
                        nonce=f"{job.id}t",
                    )
                else:
                    await self._talk.edit(*place, letter)
            except Refused as refusal:
                if place is None:
                    log.info("job %s: its requester could not be told: %s", job.id, refusal)
                    return
                place = None
            except Passing:
                await asyncio.sleep(self._first_pause * 2**number)
            else:
                return

    def _done(self, job_id: str, task: "asyncio.Task[None]") -> None:
        del self._tasks[job_id], self._channels[job_id]
        self.changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("job %s could not be posted", job_id, exc_info=error)

    async def _post(self, job: Job, *, look_first: bool) -> None:
        async with self._room:
            try:
                if job.state is JobState.RENDERED:
                    job = await until_stored(lambda: self._store.begin_post(job))
                    self._crash("after_begin_post")
                attempt = _Attempt(job, look_first=look_first)
                await self._until_done(attempt)
            except StaleJob as error:
                log.info("job %s: %s", job.id, error)

    async def _until_done(self, attempt: "_Attempt") -> None:
        letter = await self._letter(attempt.job)
        if letter is None:
            await self._fail(attempt.job, "source")
            return
        pause = self._first_pause
        while True:
            try:
                message_id = await self._deliver(attempt, letter)
                break
            except Passing as trouble:
                log.info("job %s: posting failed for now (%s)", attempt.job.id, trouble)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            except Refused as refusal:
                smaller = await self._smaller(attempt.job, letter, refusal)
                if smaller is not None:
                    letter = smaller
                    continue
                log.warning("job %s cannot be posted: %s", attempt.job.id, refusal)
                code = "undeliverable" if refusal.reason is Reason.NO_PLACE else "refused"
                await self._fail(attempt.job, code)
                return
        self._crash("after_send")
        job = attempt.job
        await until_stored(lambda: self._store.posted(job, message_id=message_id))
        self._crash("after_posted")
        self._metrics.ended.labels("posted").inc()
        log.info("job %s posted as message %d", job.id, message_id)
        await self.sequels.ended(job, message_id=message_id if attempt.edited else None)
        await self.sequels.copy_home(job, letter)

    async def _deliver(self, attempt: "_Attempt", letter: Letter) -> int:
        """Take the first rung of the ladder that holds; return the message's id."""
        place = await self._progress_of(attempt.job)
        if place is not None and await self._edited(attempt, place, letter):
            return place[1]
        if attempt.job.channel_id not in attempt.closed:
            try:
                return await self._send(attempt, attempt.job.channel_id, letter)
            except Refused as refusal:
                if refusal.reason is not Reason.NO_PLACE:
                    raise
        channel_id = await self._talk.direct(attempt.job.requester_id)
        note = texts.undeliverable(attempt.job.channel_id)
        told = replace(letter, content=f"{letter.content}\n{note}")
        message_id = await self._send(attempt, channel_id, told)
        # The job's row knows only the place that took nothing.
        about = sent.to_requester(SentKind.RESULT, attempt.job)
        await sent.note(self._store, self._talk, about, channel_id, message_id)
        return message_id

    async def _edited(self, attempt: "_Attempt", place: tuple[int, int], letter: Letter) -> bool:
        """Turn the progress message into the result; False when a new message is needed."""
        channel_id, message_id = place
        try:
            if is_editable(message_id):
                await self._talk.edit(channel_id, message_id, letter)
                attempt.edited = True
                return True
            if attempt.look_first:
                message = await self._talk.fetch(channel_id, message_id)
                return is_result(message, attempt.job, self._talk.own_id)
        except Refused as refusal:
            if refusal.reason not in (Reason.NO_MESSAGE, Reason.NO_PLACE):
                raise
            if refusal.reason is Reason.NO_PLACE:
                # Who may not even edit there need not ask to write there.
                attempt.closed.add(channel_id)
        except Passing:
            # It may have been done all the same; who comes back too late to edit must look.
            attempt.look_everywhere()
            raise
        return False

    async def _send(self, attempt: "_Attempt", channel_id: int, letter: Letter) -> int:
        """Send a new message, unless an earlier try already did."""
        forgotten = attempt.gap
        if forgotten:
            attempt.look_everywhere()
        if attempt.look_first and channel_id not in attempt.looked:
            found = await self._find(attempt.job, channel_id)
            if found is not None:
                log.info("job %s: message %d was already sent", attempt.job.id, found)
                return found
            attempt.looked.add(channel_id)
        if forgotten:
            job = attempt.job
            attempt.renew(await until_stored(lambda: self._store.bump_nonce(job)))
        ping = attempt.job.requester_id if self._settings().delivery.mention_requester else None
        attempt.edited = False
        letter = replace(letter, ping=ping)
        return await self._talk.send(channel_id, letter, nonce=nonce_of(attempt.job))

    async def _find(self, job: Job, channel_id: int) -> int | None:
        """Look for our own message with this job's picture.

        First since posting began; but that moment is of this machine's clock, which may have been
        wrong, so then back to the interaction, whose id is of Discord's.
        """
        began = (job.post_started_at or datetime.now(UTC)) - CLOCKS_APART
        asked = discord.utils.snowflake_time(job.interaction_id)
        own = self._talk.own_id
        try:
            for moment, newest_first in ((max(began, asked), False), (asked, True)):
                messages = await self._talk.since(channel_id, moment, newest_first=newest_first)
                for message in messages:
                    if is_result(message, job, own):
                        return message.id
        except Refused:
            return None
        return None

    async def _smaller(self, job: Job, letter: Letter, refusal: Refused) -> Letter | None:
        """Return a letter with a smaller file, where the file was too large; None at the end."""
        if refusal.reason is not Reason.TOO_LARGE or letter.picture is None:
            return None
        size = len(letter.picture.data)
        limit = jobs.MAX_UPLOAD if size > jobs.MAX_UPLOAD else size // 2
        if limit < SMALLEST_FILE:
            return None
        smaller = await self._letter(job, limit=limit)
        if smaller is None or smaller.picture is None or len(smaller.picture.data) >= size:
            return None
        log.info("job %s: %d bytes were too many, now %d", job.id, size, len(smaller.picture.data))
        return smaller

    async def _letter(self, job: Job, *, limit: int | None = None) -> Letter | None:
        return await letter_of(self._store, job, self._models.get(job.model), limit=limit)

    async def _progress_of(self, job: Job) -> tuple[int, int] | None:
        """Return channel and id of a job's own message, as the table knows them now."""
        fresh = await until_stored(lambda: self._store.job(job.id))
        if fresh is None or fresh.progress_message_id is None:
            return None
        return fresh.progress_channel_id or fresh.channel_id, fresh.progress_message_id

    async def _fail(self, job: Job, code: str) -> None:
        sentence = texts_discord.failure(code, job)
        await until_stored(lambda: self._store.failed(job, code=code, text=sentence))
        self._metrics.ended.labels("failed").inc()
        if code != "undeliverable":
            await self.tell(job, texts_discord.ended(job, sentence))
        await self.sequels.ended(job)


class _Attempt:
    """One run's tries to post a job: the row as it stands, and what was tried since when."""

    def __init__(self, job: Job, *, look_first: bool) -> None:
        self.job = job
        self.look_first = look_first
        self.looked: set[int] = set()
        self.closed: set[int] = set()
        self.edited = False
        started = job.post_started_at or datetime.now(UTC)
        age = (datetime.now(UTC) - started).total_seconds() if look_first else 0.0
        self._first = time.monotonic() - max(0.0, age)

    @property
    def gap(self) -> bool:
        """Whether Discord may have forgotten the nonce of the first try."""
        return time.monotonic() - self._first > NONCE_SECONDS

    def look_everywhere(self) -> None:
        """Expect an earlier message in every place that is tried from now on."""
        self.look_first = True
        self.looked.clear()

    def renew(self, job: Job) -> None:
        """Go on with a new nonce."""
        self.job = job
        self._first = time.monotonic()


def nonce_of(job: Job) -> str:
    """Return the nonce of a job's message: at most 25 signs."""
    return str(job.post_nonce or job.id)


def is_editable(message_id: int) -> bool:
    """Tell whether Discord still takes any number of edits to a message."""
    return datetime.now(UTC) - discord.utils.snowflake_time(message_id) < EDITABLE


def is_result(message: discord.Message, job: Job, own_id: int) -> bool:
    """Tell whether a message is ours and carries this job's picture with this job's buttons."""
    if message.author.id != own_id:
        return False
    stem = jobs.file_stem(job)
    names = (judged.plain_name(each.filename) for each in message.attachments)
    if all(Path(name).stem != stem for name in names):
        return False
    return any(f":{job.id}:" in each for each in custom_ids(message))


def custom_ids(message: discord.Message) -> Iterator[str]:
    """Yield the states of a message's buttons."""
    for row in message.components:
        if isinstance(row, discord.ActionRow):
            yield from (each.custom_id or "" for each in row.children)
