"""What a start makes of what the last process left."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage import JobState, StorageError, Store
from storage.recovery import CRASHES_ALLOWED, POISON
from tests.test_storage_support import make_posted, make_rendered, make_running, new_job


async def test_every_open_job_is_found_again(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        running = await make_running(store, 1)
        queued = (await store.enqueue(new_job(2))).job
        rendered = await make_rendered(store, 3)
        posting = await store.begin_post(await make_rendered(store, 4))
        await make_posted(store, 5)
        await store.cancel((await store.enqueue(new_job(6))).job.id)
    async with await Store.open(tmp_path) as store:
        found = await store.recover()
        again = replace(running, state=JobState.QUEUED, crashes=1)
        assert found.queued == (again, queued)
        assert found.to_post == (rendered,)
        assert found.to_reconcile == (posting,)
        assert found.poisoned == ()
        assert list(found.queued) == await store.waiting()


async def test_recovering_happens_once(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        await store.recover()
        job = await make_running(store, 1)
        with pytest.raises(StorageError, match="once"):
            await store.recover()
        assert await store.job(job.id) == job


async def test_a_job_that_kills_the_process_is_given_up(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        poison = (await store.enqueue(new_job(1, prompt="boom"))).job
        innocent = (await store.enqueue(new_job(2))).job
    for crashes in range(1, CRASHES_ALLOWED):
        async with await Store.open(tmp_path) as store:
            await store.recover()
            assert await store.claim(poison.id) is not None
        async with await Store.open(tmp_path) as store:
            assert {job.crashes for job in (await store.recover()).queued} == {0, crashes}
            assert await store.claim(poison.id) is not None
            await store.mark_clean_stop()
    async with await Store.open(tmp_path) as store:
        await store.recover()
        assert await store.claim(poison.id) is not None
    async with await Store.open(tmp_path) as store:
        found = await store.recover()
        assert found.queued == (innocent,)
        (given_up,) = found.poisoned
        assert (given_up.id, given_up.state) == (poison.id, JobState.FAILED)
        assert (given_up.error_code, given_up.crashes) == (POISON, CRASHES_ALLOWED)
        assert given_up == await store.job(poison.id)


async def test_a_clean_stop_counts_no_crash_and_only_for_one_start(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        job = await make_running(store, 1)
        await store.mark_clean_stop()
        await store.mark_clean_stop()
    async with await Store.open(tmp_path) as store:
        assert [job.crashes for job in (await store.recover()).queued] == [0]
        assert await store.claim(job.id) is not None
    async with await Store.open(tmp_path) as store:
        assert [job.crashes for job in (await store.recover()).queued] == [1]
