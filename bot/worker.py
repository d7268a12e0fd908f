"""From a waiting job to stored pictures: claims, paints, stores, hands on to the poster.

Promises that as many jobs as the settings say are with the engine at once, that a job which fails
fails alone and its requester reads why, and that nothing is claimed while too many results wait to
be posted. Pictures are encoded in threads. Never posts, and never decides who may do what.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from bot import jobs, texts, texts_discord
from bot.cards import under_failure, under_progress
from bot.config import Config
from bot.engine_port import EnginePort
from bot.health import Metrics
from bot.patience import until_stored
from bot.poster import CrashPoint, Poster, no_crash
from bot.progress import Pace, Progress, Sight
from bot.queue import FairQueue
from bot.talk import Attachment, Letter, Passing, Refused, Talk
from diffusion import (
    CheckpointError,
    EngineClosedError,
    EngineDeadError,
    ModelInfo,
    NumericalError,
    OutOfMemoryError,
    Params,
    Step,
    UnknownModelError,
)
from diffusion.pictures import withhold
from storage import Job, JobKind, NewPicture, StaleJob, StorageError, Store, StoreDamaged

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_UNPOSTED: Final = 8
CLAIM_PAUSE: Final = 2.0

log = logging.getLogger(__name__)


class SourceGoneError(Exception):
    """The picture that a job starts from is not kept any more."""


@dataclass(slots=True, kw_only=True, eq=False)
class Running:
    """A job that is being worked on, as /info shows it."""

    job: Job
    task: "asyncio.Task[None] | None" = None
    progress: Progress | None = None
    steps_left: int | None = None
    device_seconds: float = 0.0


class Worker:
    """The one place where jobs are run."""

    def __init__(
        self,
        *,
        store: Store,
        engine: EnginePort,
        models: Mapping[str, ModelInfo],
        queue: FairQueue,
        poster: Poster,
        talk: Talk,
        settings: Callable[[], Config],
        metrics: Metrics,
        die: Callable[[EngineDeadError], None],
        crash: CrashPoint = no_crash,
    ) -> None:
        self._store = store
        self._engine = engine
        self._models = models
        self._queue = queue
        self._poster = poster
        self._talk = talk
        self._settings = settings
        self._metrics = metrics
        self._die = die
        self._crash = crash
        self._pace = Pace()
        self._running: dict[str, Running] = {}
        self._loop: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def running(self) -> Mapping[str, Running]:
        """The jobs being worked on, by their ids."""
        return self._running

    async def run(self) -> None:
        """Take jobs from the queue until stopped."""
        if not self._stopping:
            self._loop = asyncio.create_task(self._take_jobs(), name="worker")
            await self._loop

    def wake(self) -> None:
        """Look again at how much may run: the settings changed."""
        self._poster.changed.set()

    def express(self, job: Job) -> None:
        """Run a job that needs no device at once, past the queue."""
        task = asyncio.create_task(self._claim_and_run(job.id), name=f"express {job.id}")
        running = Running(job=job, task=task)
        self._running[job.id] = running
        task.add_done_callback(lambda _: self._forget(running))

    def eta(self, *, position: int, steps: int) -> float | None:
        """Estimate the seconds until a waiting job's result, from measured steps."""
        pace = self._engine.seconds_per_step
        if pace is None:
            return None
        at_once = self._settings().queue.max_running
        left = [each.steps_left or 0 for each in self._running.values()]
        busy = min(left) if len(left) >= at_once else 0
        rounds = 1 + (position - 1) // at_once
        return pace * (busy + rounds * steps)

    async def cancel(self, job_id: str) -> None:
        """Stop working on a job; on return the device is free and no progress edit is under way."""
        running = self._running.get(job_id)
        if running is not None and running.task is not None:
            running.task.cancel()
            await asyncio.wait({running.task})

    async def stop(self, *, tell: bool) -> None:
        """Hand back what runs, without burning an attempt; tell the requesters."""
        self._stopping = True
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await asyncio.gather(
            *(self._hand_back(running, tell=tell) for running in list(self._running.values())),
            return_exceptions=True,
        )

    async def _hand_back(self, running: Running, *, tell: bool) -> None:
        if running.task is not None:
            running.task.cancel()
            await asyncio.wait({running.task})
        with suppress(StaleJob):
            await self._store.release(running.job)
            if tell:
                job, text = running.job, texts.restarting()
                view = under_progress(job)
                text = texts_discord.ended(job, text)
                await self._poster.tell(job, text, view=view, only_edit=True)

    async def _take_jobs(self) -> None:
        while True:
            await self._wait_for_room()
            job = await self._claim(await self._queue.get())
            if job is not None:
                self._start(job)

    async def _claim(self, job_id: str) -> Job | None:
        """Claim a job, waiting until the store can; None when it no longer waits."""
        while True:
            try:
                return await self._store.claim(job_id)
            except StoreDamaged:
                log.exception("job %s cannot be read and is left alone", job_id)
                return None
            except StorageError as error:
                log.error("job %s cannot be claimed for now: %s", job_id, error)
            await asyncio.sleep(CLAIM_PAUSE)

    async def _wait_for_room(self) -> None:
        while True:
            painting = len(self._running)
            room = painting < self._settings().queue.max_running
            if room and self._poster.backlog < MOST_UNPOSTED:
                return
            self._poster.changed.clear()
            await self._poster.changed.wait()

    def _start(self, job: Job) -> None:
        running = Running(job=job)
        self._running[job.id] = running
        running.task = asyncio.create_task(self._run(running), name=f"job {job.id}")
        running.task.add_done_callback(lambda _: self._forget(running))

    def _forget(self, running: Running) -> None:
        if self._running.get(running.job.id) is running:
            del self._running[running.job.id]
        self._poster.changed.set()

    async def _claim_and_run(self, job_id: str) -> None:
        job = await self._claim(job_id)
        if job is not None:
            self._running[job_id].job = job
            await self._run(self._running[job_id])

    async def _run(self, running: Running) -> None:
        """Paint one job and store its pictures. The one place that outlives any error."""
        job = running.job
        self._crash("after_claim")
        try:
            if job.kind is JobKind.UPSCALE:
                pictures = await self._cut_out(job)
            else:
                pictures = await self._paint(running)
            job = await self._keep(running, pictures)
            self._crash("after_rendered")
            self._poster.submit(job)
        except StaleJob as error:
            log.info("job %s: its result is dropped: %s", job.id, error)
        except EngineDeadError as error:
            # Left as it runs: the next start counts this as a crash, so a job that kills the
            # device again and again is given up in the end.
            self._die(error)
        except EngineClosedError:
            log.info("job %s: the engine closed; it goes on at the next start", job.id)
        except Exception as error:
            await self._fail(running, error)
        finally:
            if running.progress is not None:
                await running.progress.close()

    async def _paint(self, running: Running) -> list[NewPicture]:
        job = running.job
        params = Params.from_json(job.params)
        source = await self._source(job, params)
        progress = self._progress(running, params)
        progress.start()
        before = time.monotonic()
        async with aclosing(self._engine.submit(params, init_image=source)) as steps:
            async for step in steps:
                now = time.monotonic()
                # The device is shared: each job pays its part of the time.
                running.device_seconds += (now - before) / max(1, len(self._running))
                before = now
                running.steps_left = step.total - step.index
                self._crash("step")
                if step.pictures is None:
                    progress.update(step)
                    continue
                pictures = step.pictures
                if self._settings().moderation.unsafe == "block":
                    pictures = withhold(pictures, step.flagged)
        await progress.close()
        model = self._models.get(job.model)
        return await asyncio.to_thread(jobs.encode_grid, job, params, pictures, model)

    async def _cut_out(self, job: Job) -> list[NewPicture]:
        stored = await self._store.pictures(job.parent_id or "")
        found = next((item for item in stored if item.index == job.parent_index), None)
        if found is None:
            raise SourceGoneError(f"picture {job.parent_index} of {job.parent_id} is not kept")
        data = await self._store.read_picture(found)
        tile = await asyncio.to_thread(jobs.own_picture, data)
        params, model = Params.from_json(job.params), self._models.get(job.model)
        return await asyncio.to_thread(jobs.encode_single, job, params, tile, data, model)

    async def _source(self, job: Job, params: Params) -> "Image | None":
        """Return the picture a job starts from; the store keeps it as long as the job."""
        if params.init_image is None:
            return None
        try:
            data = await self._store.read_file(params.init_image)
        except StorageError as error:
            raise SourceGoneError(f"job {job.id} starts from a picture that is gone") from error
        return await asyncio.to_thread(jobs.own_picture, data)

    async def _keep(self, running: Running, pictures: list[NewPicture]) -> Job:
        job, used = running.job, running.device_seconds
        return await until_stored(lambda: self._store.rendered(job, pictures, device_seconds=used))

    async def _fail(self, running: Running, error: Exception) -> None:
        job = running.job
        code = code_of(error)
        log.error("job %s failed (%s)", job.id, code, exc_info=error)
        if running.progress is not None:
            await running.progress.close()
        sentence = texts_discord.failure(code, job)
        with suppress(StaleJob):
            await until_stored(lambda: self._store.failed(job, code=code, text=sentence))
            self._metrics.ended.labels("failed").inc()
            view = under_failure(job)
            await self._poster.tell(job, texts_discord.ended(job, sentence), view=view)

    def _progress(self, running: Running, params: Params) -> Progress:
        job, model = running.job, self._models.get(running.job.model)
        running.progress = Progress(
            channel_id=job.progress_channel_id or job.channel_id,
            show=partial(self._show, job),
            paint=partial(_preview, job=job, params=params, model=model),
            pace=self._pace,
            idle=lambda: self._poster.backlog == 0,
            delivery=lambda: self._settings().delivery,
        )
        return running.progress

    async def _show(self, job: Job, sight: Sight) -> None:
        if job.progress_message_id is None:
            return
        pace = self._engine.seconds_per_step
        eta = None if pace is None else pace * (sight.total - sight.step)
        text = texts_discord.running(job, step=sight.step, total=sight.total, eta=eta)
        picture = None
        if sight.preview is not None:
            alt = texts_discord.alt_text(job)
            picture = Attachment(name="preview.jpg", data=sight.preview, alt=alt)
        letter = Letter(content=text, view=under_progress(job), picture=picture)
        channel_id = job.progress_channel_id or job.channel_id
        try:
            await self._talk.edit(channel_id, job.progress_message_id, letter)
        except (Passing, Refused) as trouble:
            log.debug("job %s: progress could not be shown: %s", job.id, trouble)


def _preview(step: Step, *, job: Job, params: Params, model: ModelInfo | None) -> bytes:
    return jobs.encode_preview(step, job, params, model)


def code_of(error: Exception) -> str:
    """Return the code under which a failure is stored."""
    match error:
        case OutOfMemoryError():
            return "memory"
        case NumericalError():
            return "numbers"
        case UnknownModelError():
            return "model"
        case CheckpointError():
            return "damaged_model"
        case SourceGoneError() | StoreDamaged():
            return "source"
        case _:
            return "engine"
