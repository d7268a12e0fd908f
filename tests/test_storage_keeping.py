"""Files come before their rows and go after them; what a job will start from waits for the job."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from storage import InvalidEntry, Job, NewJob, Store, StoreDamaged, UnknownJob, new_job_id
from storage import keeping as keeping_module
from tests.test_storage_support import (
    Clock,
    make_posted,
    make_rendered,
    make_running,
    new_job,
    sql,
    stored_files,
)

DAY_S = 24 * 3600


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Seconds:
    """Monotonic time that stands still until it is told to go."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock, seconds: Seconds) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path, clock=clock, monotonic=seconds) as found:
        yield found


def made_from(interaction_id: int, *names: str) -> NewJob:
    return replace(new_job(interaction_id), details=json.dumps({"sources": names}))


async def ended(store: Store, new: NewJob) -> Job:
    job = await store.cancel((await store.enqueue(new)).job.id)
    assert job is not None
    return job


async def test_an_upload_is_there_by_its_hash_and_stays_once_a_job_names_it(
    tmp_path: Path,
) -> None:
    async with await Store.open(tmp_path) as store:
        kept, lost = await store.keep_file(b"an upload"), await store.keep_file(b"another")
        assert kept == sha256(b"an upload").hexdigest()
        assert await store.read_file(kept) == b"an upload"
        job = (await store.enqueue(made_from(1, kept))).job
    async with await Store.open(tmp_path) as store:
        assert stored_files(tmp_path) == {kept}
        with pytest.raises(StoreDamaged, match="missing"):
            await store.read_file(lost)
        await store.cancel(job.id)
        await store.delete_pictures(job.id)
        assert stored_files(tmp_path) == set()


async def test_params_details_and_controls_keep_their_files(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        names = [await store.keep_file(b"file %d" % number) for number in range(4)]
        params = {"init_image": names[0], "mask": names[1], "controls": [{"image": names[2]}]}
        asked = replace(made_from(1, names[3]), params=json.dumps(params))
        job = await ended(store, asked)
        assert sorted(job.sources) == sorted(names)
    async with await Store.open(tmp_path) as store:
        for number, name in enumerate(names):
            assert await store.read_file(name) == b"file %d" % number
        await store.delete_pictures(job.id)
        assert stored_files(tmp_path) == set()
        assert sql(tmp_path, "SELECT count(*) FROM source") == [(0,)]


async def test_a_source_of_two_jobs_stays_for_the_second(store: Store, tmp_path: Path) -> None:
    name = await store.keep_file(b"shared")
    first, second = [await ended(store, made_from(number, name)) for number in (1, 2)]
    await store.delete_pictures(first.id)
    assert await store.read_file(name) == b"shared"
    await store.delete_pictures(second.id)
    assert stored_files(tmp_path) == set()


async def test_a_deletion_does_not_take_what_has_just_arrived(store: Store, tmp_path: Path) -> None:
    data = b"the same picture again"
    old = await make_posted(store, 1, data)
    name = await store.keep_file(data)
    await store.delete_pictures(old.id)
    assert stored_files(tmp_path) == {name}
    job = await ended(store, made_from(2, name))
    assert await store.read_file(name) == data
    await store.delete_pictures(job.id)
    assert stored_files(tmp_path) == set()


async def test_each_of_two_uploads_of_the_same_waits_for_its_own_job(
    store: Store, tmp_path: Path
) -> None:
    name = await store.keep_file(b"same")
    assert await store.keep_file(b"same") == name
    job = await ended(store, made_from(1, name, name))
    await store.delete_pictures(job.id)
    assert stored_files(tmp_path) == {name}
    second = await ended(store, made_from(2, name))
    await store.delete_pictures(second.id)
    assert stored_files(tmp_path) == set()


async def test_naming_and_deleting_at_once_loses_nothing(store: Store) -> None:
    for number in range(0, 60, 3):
        data = b"round %d" % number
        old = await make_posted(store, number, data)
        name = await store.keep_file(data)
        naming = store.enqueue(made_from(number + 1, name))
        await asyncio.gather(store.delete_pictures(old.id), naming)
        assert await store.read_file(name) == data


async def test_an_arrival_that_no_job_names_goes_after_a_day(
    store: Store, tmp_path: Path, seconds: Seconds
) -> None:
    unwanted, wanted = await store.keep_file(b"unwanted"), await store.keep_file(b"wanted")
    await store.enqueue(made_from(1, wanted))
    again = await store.keep_file(b"wanted")
    seconds.now += DAY_S
    late = await store.keep_file(b"late")
    assert stored_files(tmp_path) == {unwanted, wanted, late}
    seconds.now += 1
    newest = await store.keep_file(b"newest")
    assert again == wanted
    assert stored_files(tmp_path) == {wanted, late, newest}


@pytest.mark.parametrize("days", [2, -2])
async def test_a_wall_clock_that_jumps_drops_nothing_that_waits_and_keeps_nothing_longer(
    store: Store, tmp_path: Path, clock: Clock, seconds: Seconds, days: int
) -> None:
    waiting = await store.keep_file(b"a job is about to name this")
    clock.advance(days * DAY_S)
    unwanted = await store.keep_file(b"nobody names this")
    await store.enqueue(made_from(1, waiting))
    assert await store.read_file(waiting) == b"a job is about to name this"
    assert stored_files(tmp_path) == {waiting, unwanted}
    clock.advance(-days * DAY_S)
    seconds.now += DAY_S + 1
    newest = await store.keep_file(b"newest")
    assert stored_files(tmp_path) == {waiting, newest}


async def test_a_state_is_saved_over_the_last_one_and_goes_with_its_job(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        job = await make_running(store, 1)
        assert await store.state(job.id) is None
        await store.save_state(job.id, b"latents at step 3")
        await store.save_state(job.id, b"latents at step 9")
        assert await store.state(job.id) == b"latents at step 9"
        assert stored_files(tmp_path) == {sha256(b"latents at step 9").hexdigest()}
        await store.save_state(job.id, b"latents at step 9")
    async with await Store.open(tmp_path) as store:
        assert await store.state(job.id) == b"latents at step 9"
        await store.cancel(job.id)
        await store.delete_pictures(job.id)
        assert await store.state(job.id) is None
        assert stored_files(tmp_path) == set()


async def test_a_state_that_another_job_has_too_stays(store: Store, tmp_path: Path) -> None:
    first, second = await make_running(store, 1), await make_running(store, 2)
    for job in (first, second):
        await store.save_state(job.id, b"same")
    await store.save_state(first.id, b"further")
    assert await store.state(second.id) == b"same"
    assert len(stored_files(tmp_path)) == 2


async def test_a_state_needs_its_job(store: Store, tmp_path: Path) -> None:
    deleted = await make_posted(store, 1)
    await store.delete_pictures(deleted.id)
    for job_id in (deleted.id, new_job_id(), "' OR 1=1 --"):
        with pytest.raises(UnknownJob):
            await store.save_state(job_id, b"x")
        assert await store.state(job_id) is None
    assert stored_files(tmp_path) == set()


async def test_a_file_must_hold_something_and_not_too_much(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await make_rendered(store, 1)
    before = stored_files(tmp_path)
    monkeypatch.setattr(keeping_module, "LARGEST_FILE", 10)
    for data in (b"", b"x" * 11):
        with pytest.raises(InvalidEntry, match=f"has {len(data)} bytes; it must have 1 to 10"):
            await store.keep_file(data)
        with pytest.raises(InvalidEntry, match="the state has"):
            await store.save_state(job.id, data)
    assert stored_files(tmp_path) == before


async def test_a_cancelled_upload_is_written_all_the_same(store: Store) -> None:
    upload = asyncio.create_task(store.keep_file(b"upload"))
    await asyncio.sleep(0)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    await store.keep_file(b"the next waits for its turn")
    assert await store.read_file(sha256(b"upload").hexdigest()) == b"upload"
