"""The bot put together: one object that starts, runs and stops everything around one store.

Promises that what an earlier run left is taken up before anything new, that `stop` hands running
jobs back within seconds and leaves the mark of a clean stop, and that a dead engine ends the run.
Opens and closes neither store nor engine: those belong to whoever made them.
"""

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bot import texts_discord
from bot.care import Care
from bot.client import EaselClient
from bot.config import Config
from bot.engine_port import EnginePort
from bot.estimates import work_of
from bot.halts import Halt, Halts
from bot.health import Lag, LagMeter, Metrics
from bot.intake import Intake
from bot.language import speaking
from bot.liveness import Liveness, Notifier
from bot.loading import environment, look_again
from bot.poster import CrashPoint, Poster, no_crash
from bot.queue import FairQueue
from bot.services import Services
from bot.talk import Talk
from bot.worker import Worker
from diffusion import EngineDeadError, ModelInfo, Params, ParamsError
from storage import JobState, StorageError, Store

STOP_SECONDS: Final = 5.0
HURRY_SECONDS: Final = 0.5
GAUGE_SECONDS: Final = 5.0
REMEMBERED: Final = 200

log = logging.getLogger(__name__)


class App:
    """`async with App(...) as app: await app.run(token)`; `await app.stop()` from elsewhere."""

    def __init__(
        self,
        *,
        config: Config,
        store: Store,
        engine: EnginePort,
        models: Mapping[str, ModelInfo],
        crash: CrashPoint = no_crash,
    ) -> None:
        self._config = config
        self._store = store
        self._engine = engine
        self._models = models
        self._crash = crash
        self._dead: asyncio.Future[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._stop_seconds = STOP_SECONDS
        self._patience: asyncio.Timeout | None = None
        self._gauges: asyncio.Task[None] | None = None
        self._last_words: set[asyncio.Task[None]] = set()
        self.metrics = Metrics()
        self._meter = LagMeter(warn_seconds=config.monitoring.lag_warn_ms / 1000)
        self.client = EaselClient(
            status=filled(config, waiting=0, running=0), guilds=config.discord.guilds
        )
        self.services = self._compose()
        self.client.services = self.services
        self._liveness = Liveness(
            client=self.client,
            meter=self._meter,
            settings=self._settings,
            alive=lambda: self._dead is None or not self._dead.done(),
            notify=Notifier(environment()),
        )

    def _compose(self) -> Services:
        talk = Talk(self.client, self.client.governor)
        queue = FairQueue(fair=lambda: self._config.queue.order == "fair")
        poster = self._poster(talk)
        worker = Worker(
            store=self._store,
            engine=self._engine,
            models=self._models,
            queue=queue,
            poster=poster,
            talk=talk,
            settings=self._settings,
            metrics=self.metrics,
            die=self._die,
            crash=self._crash,
        )
        halts = Halts(self._store, queue)
        intake = Intake(
            store=self._store,
            queue=queue,
            worker=worker,
            talk=talk,
            settings=self._settings,
            metrics=self.metrics,
            halts=halts,
            crash=self._crash,
        )
        return Services(
            settings=self._settings,
            store=self._store,
            engine=self._engine,
            models=self._models,
            queue=queue,
            talk=talk,
            poster=poster,
            worker=worker,
            intake=intake,
            halts=halts,
            metrics=self.metrics,
            lag=self._meter,
        )

    def _poster(self, talk: Talk) -> Poster:
        return Poster(
            store=self._store,
            talk=talk,
            models=self._models,
            settings=self._settings,
            metrics=self.metrics,
            crash=self._crash,
        )

    async def __aenter__(self) -> Self:
        """Begin to measure; nothing is sent before `run`."""
        self._dead = asyncio.get_running_loop().create_future()
        self._meter.start()
        self.metrics.watch_lag(self._meter)
        if self._config.monitoring.port:
            self.metrics.serve(self._config.monitoring.port, self._liveness.look)
        self._liveness.start()
        self._gauges = asyncio.create_task(self._count(), name="gauges")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, if nobody did yet."""
        await self.stop()

    @property
    def ready(self) -> asyncio.Event:
        """Set once the bot is connected."""
        return self.client.ready

    @property
    def lag(self) -> Lag:
        """How late the event loop is: p50, p99 and max in seconds."""
        return self._meter.value

    def apply_config(self, config: Config) -> None:
        """Put new settings into force; jobs that wait keep what they were accepted with."""
        old, self._config = self._config, config
        self._meter.warn_seconds = config.monitoring.lag_warn_ms / 1000
        self.services.worker.wake()
        self.services.queue.look_again()
        if config.discord.status != old.discord.status:
            self._later(self._show_status())

    async def refresh_folders(self, changed: Collection[Path]) -> None:
        """Take in what was added to the folders that the settings name, or taken from them."""
        await asyncio.to_thread(look_again, self._engine, self._config, changed)
        log.info("the folders of add-ons and word lists were read again")

    async def run(self, token: str) -> None:
        """Log in, take up what was left, and work until stopped.

        Raises discord.LoginFailure for a wrong token and EngineDeadError when the device is lost.
        """
        if self._dead is None:
            raise RuntimeError("enter the app with `async with` before it runs")
        connection = asyncio.create_task(self.client.hold(token), name="gateway")
        work = asyncio.create_task(self._work(), name="work")
        stopped = asyncio.create_task(self._stopped.wait(), name="stopped")
        try:
            watched: set[asyncio.Future[Any]] = {connection, work, stopped, self._dead}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            ends: tuple[asyncio.Future[None], ...] = (self._dead, work, connection)
            for end in ends:
                if end.done() and not end.cancelled():
                    end.result()
        finally:
            await self.stop()
            for task in (connection, work, stopped):
                task.cancel()
            await asyncio.gather(connection, work, stopped, return_exceptions=True)

    async def stop(self) -> None:
        """Hand running jobs back, say so in their messages, hang up; twice is as good as once."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name="stop")
        await asyncio.shield(self._stopping)

    def hurry(self) -> None:
        """End a stop that is under way within a moment: messages that are not sent stay unsent."""
        self._stop_seconds = HURRY_SECONDS
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time() + HURRY_SECONDS)

    async def _stop(self) -> None:
        died = self._dead is not None and self._dead.done()
        log.info("stopping")
        await self._liveness.stop()
        try:
            async with asyncio.timeout(self._stop_seconds) as self._patience:
                await self.services.worker.stop(tell=not died)
                await self.services.poster.stop()
        except TimeoutError:
            log.warning("some messages could not be sent in time; the next start goes on with them")
        finally:
            self._patience = None
        if not died:
            await self._mark_clean()
        for task in (self._gauges, *self._last_words):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._meter.stop()
        self.metrics.close()
        await self.client.close()
        self._stopped.set()

    async def _mark_clean(self) -> None:
        try:
            await self._store.mark_clean_stop()
        except StorageError as error:
            log.warning("the mark of a clean stop could not be written: %s", error)

    async def _work(self) -> None:
        """Take up what an earlier run left, then take jobs until cancelled."""
        await self.client.logged_in.wait()
        services = self.services
        await services.halts.load()
        left = await self._store.recover()
        for job in left.to_reconcile:
            services.poster.submit(job, look_first=True)
        for job in left.to_post:
            services.poster.submit(job)
        services.worker.run_alone(job.id for job in left.queued if job.crashes)
        # The fewer deaths a job has seen, the sooner it runs: one innocent more that gets through.
        for job in sorted(left.queued, key=lambda job: job.crashes):
            services.intake.put(job)
        for job in left.poisoned:
            log.error("job %s stopped the bot again and again and is given up", job.id)
            with speaking(job.locale):
                told = texts_discord.ended(job, texts_discord.failure("poison", job))
            self._later(services.poster.tell(job, told))
        self._later(services.remover.run())
        self._later(Care(store=self._store, settings=self._settings).run())
        for job in await self._store.history(states={JobState.POSTED}, limit=REMEMBERED):
            with suppress(ParamsError):
                work = work_of(Params.from_json(job.params))
                services.worker.estimates.remember(work, job.device_seconds or 0.0)
        log.info(
            "taken up: %d waiting, %d to post, %d perhaps posted, %d given up",
            len(left.queued),
            len(left.to_post),
            len(left.to_reconcile),
            len(left.poisoned),
        )
        await services.worker.run()

    async def _count(self) -> None:
        """Keep the gauges near the truth."""
        while True:
            self.metrics.waiting.set(len(self.services.queue))
            self.metrics.running.set(len(self.services.worker.running))
            self.metrics.unposted.set(self.services.poster.backlog)
            await self._show_status()
            await asyncio.sleep(GAUGE_SECONDS)

    async def _show_status(self) -> None:
        """Let the line under the bot's name say how things are now."""
        services = self.services
        waiting, running = len(services.queue), len(services.worker.running)
        status = filled(self._config, waiting=waiting, running=running)
        if status and services.halts.of(None) is Halt.PAUSED:
            status = f"paused · {status}"
        await self.client.show_status(status)

    def _settings(self) -> Config:
        return self._config

    def _die(self, error: EngineDeadError) -> None:
        if self._dead is not None and not self._dead.done():
            log.critical("the engine is dead: %s", error)
            self._dead.set_exception(error)

    def _later(self, words: Coroutine[None, None, None]) -> None:
        """Say something in the background; it is dropped when the bot stops."""
        task = asyncio.create_task(words)
        self._last_words.add(task)
        task.add_done_callback(self._last_words.discard)


def filled(config: Config, *, waiting: int, running: int) -> str:
    """Return the line under the bot's name, with how things are now."""
    status = config.discord.status
    values = {"model": config.defaults.model, "waiting": waiting, "running": running}
    for name, value in values.items():
        status = status.replace(f"{{{name}}}", str(value))
    return status
