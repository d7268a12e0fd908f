"""Accepting, claiming and ending jobs, whoever presses at the same time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from storage import (
    InvalidJob,
    JobState,
    NewJob,
    QueueFull,
    StaleJob,
    Store,
    UnknownParent,
    UserQueueFull,
    new_job_id,
)
from tests.test_storage_support import Clock, child_of, make_posted, make_rendered, new_job


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path, clock=Clock()) as found:
        yield found


async def test_what_was_asked_is_what_is_stored(store: Store) -> None:
    prompt = "a `fox` 🦊 % _ \\ \u202e \x00 'DROP TABLE job' " + "ü" * 6000
    asked = replace(new_job(2**63 - 1, prompt=prompt), guild_id=None, locale="de", images=16)
    accepted = await store.enqueue(asked)
    assert accepted.created
    assert accepted.position == 1
    job = await store.job(accepted.job.id)
    assert job == accepted.job
    assert job is not None
    assert {f.name: getattr(job, f.name) for f in fields(NewJob)} == {
        f.name: getattr(asked, f.name) for f in fields(NewJob)
    }
    assert (job.state, job.attempt, job.crashes) == (JobState.QUEUED, 0, 0)
    assert job.created_at == Clock().now


async def test_a_replayed_interaction_makes_one_job(store: Store) -> None:
    answers = await asyncio.gather(*(store.enqueue(new_job(5)) for _ in range(50)))
    assert len({answer.job.id for answer in answers}) == 1
    assert [answer.created for answer in answers].count(True) == 1
    assert (await store.counts()).waiting == 1


async def test_a_replay_is_answered_even_when_the_queue_is_full_or_the_job_over(
    store: Store,
) -> None:
    posted = await make_posted(store, 5)
    await store.enqueue(new_job(6))
    again = await store.enqueue(new_job(5), max_waiting=1)
    assert (again.created, again.position, again.job) == (False, 0, posted)


async def test_repeats_are_accepted_together_or_not_at_all(store: Store) -> None:
    repeats = [replace(new_job(5), repeat_index=number) for number in range(4)]
    with pytest.raises(QueueFull) as caught:
        await store.enqueue_all(repeats, max_waiting=3)
    assert (caught.value.position, caught.value.limit) == (4, 3)
    assert await store.waiting() == []
    accepted = await store.enqueue_all(repeats, max_waiting=4)
    assert [one.position for one in accepted] == [1, 2, 3, 4]
    assert [job.repeat_index for job in await store.waiting()] == [0, 1, 2, 3]


async def test_limits_hold_however_many_press_at_once(store: Store) -> None:
    async def press(number: int) -> str:
        try:
            await store.enqueue(
                new_job(number, requester_id=number % 3), max_waiting=10, max_waiting_user=4
            )
        except UserQueueFull as error:
            assert error.limit == 4
            return "user"
        except QueueFull as error:
            assert (error.position, error.limit) == (11, 10)
            return "queue"
        return "accepted"

    answers = await asyncio.gather(*(press(number) for number in range(60)))
    assert answers.count("accepted") == 10
    waiting = await store.waiting()
    assert len(waiting) == 10
    assert max(sum(j.requester_id == who for j in waiting) for who in range(3)) <= 4


async def test_only_waiting_jobs_count_against_the_limits(store: Store) -> None:
    first = (await store.enqueue(new_job(1), max_waiting_user=1)).job
    await store.claim(first.id)
    await store.enqueue(new_job(2), max_waiting_user=1)
    with pytest.raises(UserQueueFull):
        await store.enqueue(new_job(3), max_waiting_user=1)


async def test_a_job_is_claimed_once(store: Store) -> None:
    jobs = [(await store.enqueue(new_job(number))).job for number in range(10)]
    claims = await asyncio.gather(*(store.claim(job.id) for job in jobs for _ in range(8)))
    winners = [claim for claim in claims if claim is not None]
    assert sorted(job.id for job in winners) == sorted(job.id for job in jobs)
    assert {(job.state, job.attempt) for job in winners} == {(JobState.RUNNING, 1)}
    assert await store.claim(jobs[0].id) is None
    assert await store.claim(new_job_id()) is None
    assert await store.claim("' OR 1=1 --") is None


async def test_the_order_is_that_of_arrival_whatever_the_clock_says(tmp_path: Path) -> None:
    clock = Clock()
    async with await Store.open(tmp_path, clock=clock) as store:
        ids = []
        for number in range(4):
            ids.append((await store.enqueue(new_job(number))).job.id)
            clock.advance(-86_400)
        assert [job.id for job in await store.waiting()] == ids
        assert [await store.position(job_id) for job_id in ids] == [1, 2, 3, 4]
        await store.claim(ids[1])
        assert [await store.position(job_id) for job_id in ids] == [1, None, 2, 3]
        assert await store.position("no such job") is None


async def test_releasing_counts_no_crash_and_fences_the_old_attempt(store: Store) -> None:
    accepted = await store.enqueue(new_job(1))
    first = await store.claim(accepted.job.id)
    assert first is not None
    released = await store.release(first)
    assert (released.state, released.crashes) == (JobState.QUEUED, 0)
    second = await store.claim(first.id)
    assert second is not None
    with pytest.raises(StaleJob, match="drop this result"):
        await store.failed(first, code="late", text="I come too late")
    assert (await store.failed(second, code="x", text="y")).state is JobState.FAILED


async def test_cancelling_ends_what_has_no_pictures_yet(store: Store) -> None:
    queued = (await store.enqueue(new_job(1))).job
    running = await store.claim((await store.enqueue(new_job(2))).job.id)
    rendered = await make_rendered(store, 3)
    assert running is not None
    for job in (queued, running):
        cancelled = await store.cancel(job.id)
        assert cancelled is not None
        assert cancelled.state is JobState.CANCELLED
        assert await store.cancel(job.id) is None
    assert await store.cancel(rendered.id) is None
    assert await store.cancel("nobody") is None
    assert await store.claim(queued.id) is None
    with pytest.raises(StaleJob):
        await store.release(running)


async def test_a_failure_keeps_its_reason(store: Store) -> None:
    job = (await store.enqueue(new_job(1))).job
    failed = await store.failed(job, code="nan", text="half a \ud800 character")
    assert (failed.error_code, failed.error_text) == ("nan", "half a ? character")
    with pytest.raises(ValueError, match="code"):
        await store.failed(job, code="", text="")


async def test_a_parent_must_be_known(store: Store) -> None:
    parent = await make_posted(store, 1)
    child = (await store.enqueue(child_of(parent, 2, index=3))).job
    assert (child.parent_id, child.parent_index) == (parent.id, 3)
    with pytest.raises(UnknownParent):
        await store.enqueue(replace(new_job(3), parent_id=new_job_id(), parent_index=1))


async def test_the_progress_message_is_noted_in_any_state(store: Store) -> None:
    for job in ((await store.enqueue(new_job(1))).job, await make_posted(store, 2)):
        noted = await store.note_progress_message(job.id, channel_id=3, message_id=4)
        assert noted == replace(job, progress_channel_id=3, progress_message_id=4)
        assert noted == await store.job(job.id)
    with pytest.raises(StaleJob):
        await store.note_progress_message(new_job_id(), channel_id=3, message_id=4)
    with pytest.raises(InvalidJob):
        await store.note_progress_message(job.id, channel_id=3, message_id=2**63)


async def test_people_see_their_open_jobs_and_everything_is_counted(store: Store) -> None:
    mine = (await store.enqueue(new_job(1, requester_id=1))).job
    await store.enqueue(new_job(2, requester_id=2))
    running = await store.claim((await store.enqueue(new_job(3, requester_id=1))).job.id)
    assert running is not None
    await store.cancel((await store.enqueue(new_job(4, requester_id=1))).job.id)
    await make_rendered(store, 5)
    await store.begin_post(await make_rendered(store, 6))
    await make_posted(store, 7)
    assert await store.active(1) == [mine, running]
    counts = await store.counts()
    found = [getattr(counts, field.name) for field in fields(counts)]
    assert found == [2, 1, 1, 1, 1, 0, 1]
