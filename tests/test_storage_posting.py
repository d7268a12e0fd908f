"""From pictures to a message: the order of writes, the nonces, and full disks."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from math import inf, nan
from pathlib import Path

import pytest

from storage import InvalidJob, JobState, StaleJob, Store, StoreFull
from storage.posting import next_nonce
from tests.test_storage_support import (
    Clock,
    make_posted,
    make_rendered,
    make_running,
    new_picture,
    stored_files,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path, clock=clock) as found:
        yield found


async def test_pictures_come_back_as_they_went(store: Store) -> None:
    running = await make_running(store, 1)
    given = [new_picture(index) for index in (2, 0, 1)]
    job = await store.rendered(running, given, device_seconds=2)
    assert (job.state, job.device_seconds) == (JobState.RENDERED, 2.0)
    assert job.rendered_at == Clock().now
    pictures = await store.pictures(job.id)
    assert [picture.index for picture in pictures] == [0, 1, 2]
    assert (pictures[1].width, pictures[1].height) == (64, 48)
    assert [await store.read_picture(one) for one in pictures] == [
        b"picture 0",
        b"picture 1",
        b"picture 2",
    ]
    assert [one.size for one in pictures] == [9, 9, 9]
    assert await store.pictures("nothing") == []


@pytest.mark.parametrize("seconds", [-1.0, inf, nan])
async def test_nonsense_is_refused(store: Store, seconds: float) -> None:
    job = await make_running(store, 1)
    with pytest.raises(InvalidJob, match="device_seconds"):
        await store.rendered(job, [new_picture(0)], device_seconds=seconds)
    for pictures in ([], [new_picture(1), new_picture(1)]):
        with pytest.raises(InvalidJob, match="indexes"):
            await store.rendered(job, pictures, device_seconds=1)


async def test_a_late_worker_leaves_no_rows(store: Store) -> None:
    first = await make_running(store, 1)
    await store.release(first)
    second = await store.claim(first.id)
    assert second is not None
    with pytest.raises(StaleJob):
        await store.rendered(first, [new_picture(0, b"late")], device_seconds=1)
    assert await store.pictures(first.id) == []
    await store.rendered(second, [new_picture(0, b"in time")], device_seconds=1)
    (picture,) = await store.pictures(first.id)
    assert await store.read_picture(picture) == b"in time"


async def test_the_nonce_is_fixed_until_it_is_bumped(store: Store, clock: Clock) -> None:
    rendered = await make_rendered(store, 1)
    begun = await store.begin_post(rendered)
    assert (begun.post_nonce, begun.post_started_at) == (begun.id, clock.now)
    clock.advance(60)
    assert await store.begin_post(begun) == begun
    with pytest.raises(StaleJob):
        await store.begin_post(rendered)
    first = await store.bump_nonce(begun)
    second = await store.bump_nonce(first)
    assert [first.post_nonce, second.post_nonce] == [f"{begun.id}-1", f"{begun.id}-2"]
    assert second.post_started_at == begun.post_started_at
    assert second.post_nonce_at == clock.now == clock() == Clock().now + timedelta(seconds=60)
    posted = await store.posted(second, message_id=77)
    assert (posted.state, posted.post_message_id) == (JobState.POSTED, 77)
    with pytest.raises(StaleJob):
        await store.bump_nonce(rendered)
    with pytest.raises(InvalidJob):
        await store.posted(second, message_id=-1)


def test_nonces_fit_discord() -> None:
    nonce = "a" * 13
    for _ in range(9999):
        nonce = next_nonce(nonce)
    assert nonce == "a" * 13 + "-9999"
    assert len(nonce) <= 25


async def test_only_one_of_many_posters_finishes(store: Store) -> None:
    job = await store.begin_post(await make_rendered(store, 1))
    answers = await asyncio.gather(
        *(store.posted(job, message_id=number) for number in range(10)), return_exceptions=True
    )
    assert sum(isinstance(answer, StaleJob) for answer in answers) == 9


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
async def test_a_disk_full_of_pictures_loses_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    done = await make_posted(store, 1)
    job = await make_running(store, 2)
    flush, calls = os.fsync, 0

    def fail_at(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fail_at)
    with pytest.raises(StoreFull, match="still there"):
        await store.rendered(job, [new_picture(0), new_picture(1)], device_seconds=1)
    monkeypatch.undo()
    assert await store.job(job.id) == job
    assert await store.pictures(job.id) == []
    for picture in await store.pictures(done.id):
        await store.read_picture(picture)
    await store.rendered(job, [new_picture(0), new_picture(1)], device_seconds=1)
    for picture in await store.pictures(job.id):
        await store.read_picture(picture)
    assert not {name for name in stored_files(tmp_path) if len(name) != 64}


async def test_cancelling_the_caller_of_rendered_still_keeps_the_pictures(store: Store) -> None:
    job = await make_running(store, 1)
    caller = asyncio.create_task(store.rendered(job, [new_picture(0)], device_seconds=1))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    # The next pair of pictures and rows waits for its turn, so the first is done after it.
    await make_rendered(store, 2)
    kept = await store.job(job.id)
    assert kept is not None
    assert kept.state is JobState.RENDERED
