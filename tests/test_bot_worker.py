"""The worker alone with a real store: failures, hand-backs, limits, what an engine may do wrong."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from bot.estimates import work_of
from bot.health import Metrics
from bot.poster import Poster
from bot.queue import FairQueue, Ticket
from bot.worker import MOST_UNPOSTED, Worker, code_of
from diffusion import (
    CheckpointError,
    EngineClosedError,
    EngineDeadError,
    NumericalError,
    OutOfMemoryError,
    Params,
    UnknownModelError,
)
from storage import Job, JobKind, JobState, NewJob, StorageError, StoreBusy, StoreFull
from tests.bot_desk import MODELS, Desk, after_writes, delivered, open_desk, results, settings
from tests.fakes import FakeEngine


@dataclass(kw_only=True)
class Bench:
    """A worker at a desk."""

    desk: Desk
    engine: FakeEngine
    queue: FairQueue
    poster: Poster
    worker: Worker
    deaths: list[EngineDeadError] = field(default_factory=list)
    asked: int = 0

    async def accept(
        self,
        prompt: str = "a fox",
        *,
        kind: JobKind = JobKind.IMAGINE,
        params: Params | None = None,
        parent_id: str | None = None,
        parent_index: int | None = None,
    ) -> Job:
        """Accept a job and let it wait."""
        self.asked += 1
        given = params or Params(prompt=prompt, seed=self.asked, steps=3, width=64, height=64)
        new = NewJob(
            kind=kind,
            params=given.to_json(),
            prompt=prompt,
            images=given.images,
            model=given.model,
            requester_id=self.desk.pg.people["alice"].id,
            guild_id=self.desk.pg.guild_id,
            channel_id=self.desk.pg.channel_id,
            interaction_id=self.asked,
            parent_id=parent_id,
            parent_index=parent_index,
        )
        job = (await self.desk.store.enqueue(new)).job
        self.queue.put(job.id, job.requester_id)
        return job

    async def state(self, job: Job, *states: JobState) -> Job:
        """Wait until a job is in one of the states."""

        async def look() -> Job | None:
            found = await self.desk.job(job.id)
            return found if found.state in states else None

        found = await after_writes(self.desk.store, look)
        assert found is not None
        return found


@asynccontextmanager
async def bench(desk: Desk, toml: str = "") -> AsyncIterator[Bench]:
    """Run a worker until the block ends."""
    config = settings(toml)
    engine, queue, poster = FakeEngine(), FairQueue(), desk.poster()
    deaths: list[EngineDeadError] = []
    worker = Worker(
        store=desk.store,
        engine=engine,
        models=MODELS,
        queue=queue,
        poster=poster,
        talk=desk.talk,
        settings=lambda: config,
        metrics=Metrics(),
        die=deaths.append,
    )
    task = asyncio.create_task(worker.run())
    try:
        yield Bench(
            desk=desk, engine=engine, queue=queue, poster=poster, worker=worker, deaths=deaths
        )
        await delivered(poster)
    finally:
        await worker.stop(tell=False)
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    """Let others run until something is true."""
    async with asyncio.timeout(8):
        while not true():  # noqa: ASYNC110 - a fake engine's lists have no event
            await asyncio.sleep(0.005)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as opened:
        yield opened


async def test_pictures_are_kept_native_and_the_grid_enlarged(desk: Desk) -> None:
    async with bench(desk) as at:
        job = await at.accept()
        done = await at.state(job, JobState.POSTED)
        pictures = await desk.store.pictures(job.id)
        assert [(each.index, each.width, each.height) for each in pictures] == [
            (0, 512, 512),
            (1, 64, 64),
            (2, 64, 64),
            (3, 64, 64),
            (4, 64, 64),
        ]
        assert done.device_seconds is not None
        assert done.device_seconds >= 0


@pytest.mark.parametrize(("policy", "black"), [("block", True), ("allow", False)])
async def test_what_the_checkpoint_objects_to_is_withheld_unless_allowed(
    desk: Desk, policy: str, black: bool
) -> None:
    async with bench(desk, f'[moderation]\nunsafe = "{policy}"') as at:
        at.engine.flagged = (False, True, False, False)
        job = await at.accept()
        await at.state(job, JobState.POSTED)
        tiles = [each for each in await desk.store.pictures(job.id) if each.index]
        read = [Image.open(io.BytesIO(await desk.store.read_picture(each))) for each in tiles]
        assert [not any(picture.convert("RGB").tobytes()) for picture in read] == [
            False,
            black,
            False,
            False,
        ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutOfMemoryError("no room"), "memory"),
        (NumericalError("nan"), "numbers"),
        (UnknownModelError("none"), "model"),
        (CheckpointError("damaged"), "damaged_model"),
        (ValueError("anything"), "engine"),
    ],
)
async def test_a_failure_ends_one_job_with_its_code(
    desk: Desk, error: Exception, code: str
) -> None:
    assert code_of(error) == code
    async with bench(desk) as at:
        at.engine.fail(lambda: error, step=2)
        failed = await at.accept("first")
        other = await at.accept("second")
        ended = await at.state(failed, JobState.FAILED)
        assert ended.error_code == code
        assert ended.error_text
        await at.state(other, JobState.POSTED)
        told = [each for each in desk.pg.ledger.messages.values() if each.nonce == f"{failed.id}t"]
        assert ended.error_text in told[0].content


async def test_a_dead_engine_is_reported_and_the_job_left_running(desk: Desk) -> None:
    async with bench(desk) as at:
        at.engine.fail(lambda: EngineDeadError("gone"), step=1)
        job = await at.accept()
        await until(lambda: bool(at.deaths))
        assert (await desk.job(job.id)).state is JobState.RUNNING


async def test_a_closed_engine_leaves_the_job_to_the_next_start(desk: Desk) -> None:
    async with bench(desk) as at:
        at.engine.fail(lambda: EngineClosedError("closing"), step=1)
        job = await at.accept()
        await until(lambda: bool(at.engine.abandoned))
        assert (await desk.job(job.id)).state is JobState.RUNNING
        assert at.deaths == []


async def test_stop_hands_back_without_burning_an_attempt(desk: Desk) -> None:
    async with bench(desk) as at:
        gate = at.engine.hold(2)
        job = await at.accept()
        await gate.reached.wait()
        await at.worker.stop(tell=True)
        kept = await desk.job(job.id)
        assert (kept.state, kept.crashes) == (JobState.QUEUED, 0)
        assert at.engine.running == 0
        assert not at.worker.running


async def test_a_job_cancelled_in_the_table_is_never_painted(desk: Desk) -> None:
    async with bench(desk, "[queue]\nmax_running = 1\n") as at:
        gate = at.engine.hold(1, word="first")
        await at.accept("first")
        second = await at.accept("second")
        third = await at.accept("third")
        await gate.reached.wait()
        await desk.store.cancel(second.id)
        gate.open.set()
        await at.state(third, JobState.POSTED)
        assert [params.prompt for params in at.engine.submitted] == ["first", "third"]


async def test_no_more_claims_while_too_much_waits_to_be_posted(desk: Desk) -> None:
    hang = desk.pg.faults.hang("POST", "/channels/*/messages", seconds=60, count=100)
    async with bench(desk, "[queue]\nmax_running = 1\nmax_waiting_user = 50\n") as at:
        accepted = [await at.accept(f"number {number}") for number in range(12)]
        await until(lambda: at.poster.backlog >= MOST_UNPOSTED)
        await asyncio.sleep(0.1)
        assert len(at.engine.submitted) == MOST_UNPOSTED
        hang.count = 0
        hang.released.set()
        for job in accepted:
            await at.state(job, JobState.POSTED)
        assert len(at.engine.submitted) == len(accepted)
        assert all(len(results(desk.pg, job.id)) == 1 for job in accepted)


@pytest.mark.parametrize("error", [StoreFull("full"), StoreBusy("busy")])
async def test_pictures_outwait_a_store_that_has_no_room(
    desk: Desk, error: StorageError, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusals = desk.store.rendered, 2

    async def reluctant(*args: object, **rest: object) -> Job:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise error
        return await real(*args, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.store, "rendered", reluctant)
    async with bench(desk) as at:
        job = await at.accept()
        await at.state(job, JobState.POSTED)
        assert len(at.engine.submitted) == 1


async def test_an_upscale_of_what_is_gone_fails_with_a_sentence(desk: Desk) -> None:
    async with bench(desk) as at:
        grid = await at.accept()
        await at.state(grid, JobState.POSTED)
        await desk.store.delete_pictures(grid.id)
        alone = Params(prompt="a fox", seed=1, images=1, width=64, height=64)
        job = await at.accept(kind=JobKind.UPSCALE, params=alone, parent_id=grid.id, parent_index=1)
        assert (await at.state(job, JobState.FAILED)).error_code == "source"


async def test_the_eta_grows_with_what_is_ahead(desk: Desk) -> None:
    async with bench(desk, "[queue]\nmax_running = 2\n") as at:
        await at.worker.stop(tell=False)
        work = work_of(Params(prompt="a fox", steps=10))
        ticket = Ticket(job_id="new", requester_id=1, work=work)
        at.engine.seconds_per_step = 0.5
        assert at.worker.eta(ticket) == 5
        for number in range(4):
            at.queue.add(Ticket(job_id=f"before {number}", requester_id=number, work=work))
        assert (at.worker.eta(ticket) or 0) > 5
        at.engine.seconds_per_step = None
        assert at.worker.eta(ticket) is None
        assert at.worker.eta(Ticket(job_id="old", requester_id=1)) is None
