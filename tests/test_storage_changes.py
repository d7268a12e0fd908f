"""Any order of operations, by anyone holding any old snapshot, keeps to the table of states."""

import asyncio
import random
import tempfile
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from storage import NEXT_STATES, OPEN_STATES, Job, JobState, StaleJob, Store
from storage.recovery import CRASHES_ALLOWED
from tests.test_storage_support import new_job, new_picture

T = TypeVar("T")

MOVES = {
    "release": JobState.QUEUED,
    "rendered": JobState.RENDERED,
    "begin_post": JobState.POSTING,
    "bump_nonce": JobState.POSTING,
    "posted": JobState.POSTED,
    "failed": JobState.FAILED,
}
# What each move may start from, written down a second time on purpose.
FROM = {
    "release": {"running"},
    "rendered": {"running"},
    "begin_post": {"rendered", "posting"},
    "bump_nonce": {"posting"},
    "posted": {"posting"},
    "failed": {"queued", "running", "rendered", "posting"},
}


@dataclass
class Expected:
    """What the model believes of one job."""

    state: str = "queued"
    attempt: int = 0
    crashes: int = 0


class JobsInAnyOrder(RuleBasedStateMachine):
    """Operations on one store, beside a model of a few lines."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self.scratch.name)
        self.store = self.run(Store.open(self.folder))
        self.expected: dict[str, Expected] = {}
        self.snapshots: list[Job] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        self.scratch.cleanup()

    def seen(self, job: Job) -> None:
        self.snapshots.append(job)
        expected = self.expected[job.id]
        assert (job.state, job.attempt, job.crashes) == (
            expected.state,
            expected.attempt,
            expected.crashes,
        )

    @rule(number=st.integers(0, 5))
    def enqueue(self, number: int) -> None:
        accepted = self.run(self.store.enqueue(new_job(number)))
        assert accepted.created == (accepted.job.id not in self.expected)
        self.expected.setdefault(accepted.job.id, Expected())
        self.seen(accepted.job)

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.snapshots)).id
        claimed = self.run(self.store.claim(job_id))
        expected = self.expected[job_id]
        assert (claimed is not None) == (expected.state == "queued")
        if claimed is not None:
            expected.state, expected.attempt = "running", expected.attempt + 1
            self.seen(claimed)

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.snapshots)).id
        cancelled = self.run(self.store.cancel(job_id))
        expected = self.expected[job_id]
        assert (cancelled is not None) == (expected.state in {"queued", "running"})
        if cancelled is not None:
            expected.state = "cancelled"
            self.seen(cancelled)

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data(), name=st.sampled_from(sorted(MOVES)), old=st.booleans())
    def move(self, data: st.DataObject, name: str, old: bool) -> None:
        snapshot = data.draw(st.sampled_from(self.snapshots))
        if not old:
            snapshot = self.run(self.current(snapshot.id))
        expected = self.expected[snapshot.id]
        fits = (snapshot.state, snapshot.attempt) == (expected.state, expected.attempt)
        if fits and snapshot.state in FROM[name]:
            expected.state = MOVES[name].value
            self.seen(self.run(self.moved(name, snapshot)))
        else:
            try:
                self.run(self.moved(name, snapshot))
            except StaleJob:
                return
            raise AssertionError(f"{name} worked on {snapshot.state} although {expected}")

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        if clean:
            self.run(self.store.mark_clean_stop())
        self.run(self.store.close())
        self.store = self.run(Store.open(self.folder))
        found = self.run(self.store.recover())
        for expected in self.expected.values():
            if expected.state == "running":
                expected.crashes += 0 if clean else 1
                given_up = expected.crashes >= CRASHES_ALLOWED
                expected.state = "failed" if given_up else "queued"
        for job in (*found.queued, *found.to_post, *found.to_reconcile, *found.poisoned):
            self.seen(job)
        open_now = sum(one.state in OPEN_STATES for one in self.expected.values())
        assert len(found.queued + found.to_post + found.to_reconcile) == open_now

    @invariant()
    def every_job_is_where_the_model_says(self) -> None:
        for job_id in self.expected:
            self.seen_again(self.run(self.current(job_id)))

    def seen_again(self, job: Job) -> None:
        expected = self.expected[job.id]
        assert (job.state, job.attempt) == (expected.state, expected.attempt)
        assert (job.post_nonce is not None) >= (job.state in {"posting", "posted"})
        assert (job.posted_at is not None) == (job.state == "posted")
        pictures = self.run(self.store.pictures(job.id))
        assert bool(pictures) == (job.rendered_at is not None)

    async def current(self, job_id: str) -> Job:
        job = await self.store.job(job_id)
        assert job is not None
        return job

    def moved(self, name: str, job: Job) -> Coroutine[Any, Any, Job]:
        match name:
            case "release":
                return self.store.release(job)
            case "rendered":
                return self.store.rendered(job, [new_picture(0)], device_seconds=1)
            case "begin_post":
                return self.store.begin_post(job)
            case "bump_nonce":
                return self.store.bump_nonce(job)
            case "posted":
                return self.store.posted(job, message_id=1)
            case _:
                return self.store.failed(job, code="x", text="y")


def test_jobs_in_any_order_keep_to_the_table_of_states() -> None:
    run_state_machine_as_test(
        JobsInAnyOrder,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


async def test_many_hands_on_one_job_move_it_once(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311
    async with await Store.open(tmp_path) as store:
        job = await store.claim((await store.enqueue(new_job(1))).job.id)
        assert job is not None
        hands: list[Awaitable[Job | None]] = [
            *(store.release(job) for _ in range(5)),
            *(store.failed(job, code="x", text="y") for _ in range(5)),
            *(store.rendered(job, [new_picture(0)], device_seconds=1) for _ in range(5)),
        ]
        chance.shuffle(hands)
        answers = await asyncio.gather(*hands, return_exceptions=True)
        winners = [answer for answer in answers if isinstance(answer, Job)]
        assert len(winners) == 1
        assert sum(isinstance(answer, StaleJob) for answer in answers) == 14
        assert await store.job(job.id) == winners[0]
        assert winners[0].state in NEXT_STATES[JobState.RUNNING]


async def test_a_snapshot_of_another_store_is_stale(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "a") as one, await Store.open(tmp_path / "b") as two:
        job = (await one.enqueue(new_job(1))).job
        try:
            await two.failed(replace(job), code="x", text="y")
        except StaleJob as error:
            assert "not in the store" in str(error)
        else:
            raise AssertionError("a job was changed that is not there")
