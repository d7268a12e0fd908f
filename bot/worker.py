"""From a waiting job to stored pictures: claims, paints, stores, hands on to the poster.

Promises that as many jobs as the settings say are with the engine at once, that a job which fails
fails alone and its requester reads why, and that nothing is claimed while too many results wait to
be posted. A job that the last process died under has the engine to itself: should this one die too,
no other is blamed. Pictures are encoded in threads. Never posts, and never decides who may do what.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from typing import Final

from bot import jobs, texts, texts_discord, texts_trust
from bot.brush import Brush, Running
from bot.cards import under_failure, under_progress, under_running
from bot.config import Config, DeliveryConfig
from bot.engine_port import EnginePort
from bot.enlarging import UpscalerError
from bot.estimates import Estimator
from bot.health import Metrics
from bot.judged import UnjudgedError, has_judge, is_withheld, marked
from bot.language import speaking
from bot.making import Making, SourceGoneError
from bot.patience import until_stored
from bot.poster import CrashPoint, Poster, is_editable, no_crash
from bot.progress import Progress, Sight
from bot.queue import FairQueue, Ticket
from bot.recipes import RECIPES
from bot.talk import Attachment, Letter, Passing, Refused, Talk
from bot.trusted_addons import ChangedAddonError
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
from storage import Job, NewPicture, StaleJob, StorageError, Store, StoreDamaged

MOST_UNPOSTED: Final = 8
CLAIM_PAUSE: Final = 2.0

log = logging.getLogger(__name__)


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
        self._governor = talk.governor
        self.estimates = Estimator(
            prior=lambda: engine.seconds_per_step, slots=lambda: settings().queue.max_running
        )
        self._running: dict[str, Running] = {}
        self._suspects: set[str] = set()
        self._alone = asyncio.Lock()
        self._heavy = asyncio.Lock()
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

    def run_alone(self, job_ids: Iterable[str]) -> None:
        """Run each of these jobs when no other runs: the last process died while it ran them."""
        self._suspects.update(job_ids)

    def express(self, job: Job) -> None:
        """Run a job that needs no device at once, past the queue."""
        with speaking(job.locale):
            task = asyncio.create_task(self._claim_and_run(job.id), name=f"express {job.id}")
        running = Running(job=job, task=task)
        self._running[job.id] = running
        task.add_done_callback(lambda _: self._forget(running))

    def eta(self, ticket: Ticket) -> float | None:
        """Estimate the seconds until a waiting job is painted, from measured steps."""
        if ticket.work is None:
            return None
        ahead, behind = self._queue.around(ticket)
        return self.estimates.until_result(ahead, ticket.work, behind)

    async def cancel(self, job_id: str) -> None:
        """Stop working on a job; on return the device is free and no progress edit is under way."""
        running = self._running.get(job_id)
        if running is not None and running.task is not None:
            running.task.cancel()
            await asyncio.wait({running.task})

    def keep(self, job_id: str, number: int) -> bool:
        """Go on with one picture of a running job (from 0) alone; False when it is not painted."""
        running = self._running.get(job_id)
        return running is not None and running.keep(number)

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
        job, task = running.job, running.task
        if task is not None:
            task.cancel()
        # Before the task has ended: an edit that hangs may hold it up for longer than a stop has.
        with suppress(StaleJob):
            await self._store.release(job)
            if task is not None:
                await asyncio.wait({task})
            if tell:
                with speaking(job.locale):
                    text = texts_discord.ended(job, texts.restarting())
                    view = under_progress(job)
                await self._poster.tell(job, text, view=view, only_edit=True)

    async def _take_jobs(self) -> None:
        while True:
            await self._wait_for_room()
            job_id = await self._queue.get()
            ticket = self._queue.taken(job_id)
            if ticket is not None and ticket.work is not None:
                self.estimates.taken(job_id, ticket.work)
            if job_id in self._suspects:
                await self._wait_until(lambda: not self._running)
            job = await self._claim(job_id)
            if job is None:
                self._queue.done(job_id, 0.0)
                self.estimates.ended(job_id, finished=False)
            else:
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
        await self._wait_until(
            lambda: (
                len(self._running) < self._settings().queue.max_running
                and self._poster.backlog < MOST_UNPOSTED
                and self._suspects.isdisjoint(self._running)
            )
        )

    async def _wait_until(self, is_time: Callable[[], bool]) -> None:
        while not is_time():
            self._poster.changed.clear()
            await self._poster.changed.wait()

    def _start(self, job: Job) -> None:
        running = Running(job=job)
        self._running[job.id] = running
        with speaking(job.locale):
            running.task = asyncio.create_task(self._run(running), name=f"job {job.id}")
        running.task.add_done_callback(lambda _: self._forget(running))

    def _forget(self, running: Running) -> None:
        if self._running.get(running.job.id) is running:
            del self._running[running.job.id]
            self._suspects.discard(running.job.id)
            self._queue.done(running.job.id, running.device_seconds)
            self.estimates.ended(running.job.id, finished=False)
        self._poster.changed.set()

    async def _claim_and_run(self, job_id: str) -> None:
        async with self._alone if job_id in self._suspects else nullcontext():
            job = await self._claim(job_id)
            if job is not None:
                self._running[job_id].job = job
                await self._run(self._running[job_id])

    async def _run(self, running: Running) -> None:
        """Paint one job and store its pictures. The one place that outlives any error."""
        job = running.job
        self._crash("after_claim")
        try:
            job = await self._store_pictures(running, await self._make(running))
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

    async def _make(self, running: Running) -> list[NewPicture]:
        """Let the job's recipe make its pictures."""
        job, recipe = running.job, RECIPES[running.job.kind]
        model = self._models.get(job.model)
        judged = model is not None and await asyncio.to_thread(has_judge, model)
        making = Making(
            job=job,
            params=Params.from_json(job.params),
            model=model,
            store=self._store,
            engine=self._engine,
            settings=self._settings(),
            brush=Brush(
                running,
                engine=self._engine,
                estimates=self.estimates,
                withheld=lambda: is_withheld(self._settings().moderation, job),
                must_judge=lambda: judged and self._settings().moderation.unsafe != "allow",
                company=lambda: len(self._running),
                crash=self._crash,
            ),
        )
        if recipe.express(job):
            if not recipe.heavy:
                return await recipe.make(making)
            async with self._heavy:
                return await recipe.make(making)
        progress = self._progress(running, making.params, judged=judged)
        progress.start()
        pictures = await recipe.make(making)
        await progress.close()
        return pictures

    async def _store_pictures(self, running: Running, pictures: list[NewPicture]) -> Job:
        job, used = running.job, running.device_seconds
        policy = self._settings().moderation
        pictures = await marked(
            pictures,
            running.flagged,
            judged=running.judged,
            job=job,
            moderation=policy,
            store=self._store,
        )
        job = await until_stored(lambda: self._store.rendered(job, pictures, device_seconds=used))
        self._metrics.promise_kept(self.estimates.ended(job.id, finished=True))
        return job

    async def _fail(self, running: Running, error: Exception) -> None:
        job = running.job
        code = code_of(error)
        changed = isinstance(error, ChangedAddonError)
        # The log has a line of its own about a changed file, and how it was found tells nobody.
        log.error("job %s failed (%s)", job.id, code, exc_info=None if changed else error)
        if running.progress is not None:
            await running.progress.close()
        sentence = sentence_of(error, job)
        with suppress(StaleJob):
            await until_stored(lambda: self._store.failed(job, code=code, text=sentence))
            self._metrics.ended.labels("failed").inc()
            view = under_failure(job)
            await self._poster.tell(job, texts_discord.ended(job, sentence), view=view)
            await self._poster.sequels.ended(job)

    def _progress(self, running: Running, params: Params, *, judged: bool) -> Progress:
        job, model = running.job, self._models.get(running.job.model)

        def delivery() -> DeliveryConfig:
            given, moderation = self._settings().delivery, self._settings().moderation
            # The judge sees finished pictures alone: until then nobody can say what may be seen.
            hidden = judged and (moderation.unsafe == "spoiler" or is_withheld(moderation, job))
            return given.model_copy(update={"preview": False}) if hidden else given

        running.progress = Progress(
            channel_id=job.progress_channel_id or job.channel_id,
            show=partial(self._show, running),
            paint=partial(_preview, job=job, params=params, model=model),
            pace=self._governor,
            idle=lambda: not self._poster.busy(job.progress_channel_id or job.channel_id),
            delivery=delivery,
        )
        return running.progress

    async def _show(self, running: Running, sight: Sight) -> None:
        job = running.job
        if job.progress_message_id is None or not is_editable(job.progress_message_id):
            return
        eta = self.estimates.left(job.id)
        text = texts_discord.running(job, step=sight.step, total=sight.total, eta=eta)
        picture = None
        if sight.preview is not None:
            alt = texts_discord.alt_text(job)
            picture = Attachment(name="preview.jpg", data=sight.preview, alt=alt)
        letter = Letter(content=text, view=under_running(job, running.images), picture=picture)
        channel_id = job.progress_channel_id or job.channel_id
        try:
            await self._talk.edit(channel_id, job.progress_message_id, letter)
        except (Passing, Refused) as trouble:
            log.debug("job %s: progress could not be shown: %s", job.id, trouble)


def _preview(step: Step, *, job: Job, params: Params, model: ModelInfo | None) -> bytes:
    return jobs.encode_preview(step, job, params, model)


def sentence_of(error: Exception, job: Job) -> str:
    """Return what the requester reads about a failure."""
    if isinstance(error, ChangedAddonError):
        return texts_trust.changed_file(error.kind, error.name)
    return texts_discord.failure(code_of(error), job)


def code_of(error: Exception) -> str:
    """Return the code under which a failure is stored."""
    match error:
        case ChangedAddonError():
            return "changed"
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
        case UpscalerError():
            return "upscaler"
        case UnjudgedError():
            return "unjudged"
        case _:
            return "engine"
