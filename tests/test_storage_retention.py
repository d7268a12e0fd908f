"""Deleting pictures: gone from the disk, unless somebody else needs them."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from storage import Job, JobState, StaleJob, Store, StoreDamaged, new_job_id
from tests.test_storage_support import (
    Clock,
    child_of,
    make_posted,
    make_rendered,
    new_job,
    stored_files,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path, clock=Clock()) as found:
        yield found


async def vary(store: Store, parent: Job, interaction_id: int) -> tuple[Job, str]:
    """Accept a job that starts from its parent's first image."""
    source = (await store.pictures(parent.id))[1].sha256
    asked = replace(
        child_of(parent, interaction_id, index=1), params=json.dumps({"init_image": source})
    )
    return (await store.enqueue(asked)).job, source


async def test_deleted_pictures_leave_the_disk_and_the_history(
    store: Store, tmp_path: Path
) -> None:
    job, other = await make_posted(store, 1), await make_posted(store, 2)
    (picture, _) = await store.pictures(job.id)
    deleted = await store.delete_pictures(job.id)
    assert deleted == replace(job, deleted_at=Clock().now)
    assert deleted == await store.job(job.id) == await store.delete_pictures(job.id)
    assert await store.pictures(job.id) == []
    assert await store.history() == [other]
    assert stored_files(tmp_path) == {one.sha256 for one in await store.pictures(other.id)}
    with pytest.raises(StoreDamaged, match="missing"):
        await store.read_picture(picture)
    assert await store.delete_pictures(new_job_id()) is None


async def test_shared_files_stay_until_the_last_job_goes(store: Store, tmp_path: Path) -> None:
    first, second = await make_posted(store, 1, b"same"), await make_posted(store, 2, b"same")
    await store.delete_pictures(first.id)
    for picture in await store.pictures(second.id):
        await store.read_picture(picture)
    await store.delete_pictures(second.id)
    assert stored_files(tmp_path) == set()


async def test_what_a_job_starts_from_outlives_the_job_it_came_from(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        parent = await make_posted(store, 1)
        child, source = await vary(store, parent, 2)
        await store.delete_pictures(parent.id)
        assert stored_files(tmp_path) == {source}
    async with await Store.open(tmp_path) as store:
        assert await store.read_file(source) == b"grid 1's tile"
        await store.cancel(child.id)
        await store.delete_pictures(child.id)
        assert stored_files(tmp_path) == set()


async def test_unfinished_jobs_keep_their_pictures(store: Store) -> None:
    job = await make_rendered(store, 1)
    with pytest.raises(StaleJob, match="when it has ended"):
        await store.delete_pictures(job.id)
    assert len(await store.pictures(job.id)) == 2
    await store.failed(job, code="undeliverable", text="The channel is gone.")
    assert len(await store.pictures(job.id)) == 2
    deleted = await store.delete_pictures(job.id)
    assert deleted is not None
    assert deleted.state is JobState.FAILED


async def test_a_deletion_cut_short_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Store.open(tmp_path) as store:
        job = await make_posted(store, 1)
        await store.enqueue(new_job(2))

        monkeypatch.setattr(store._keeping.files, "remove", lambda _names: None)
        await store.delete_pictures(job.id)
        assert len(stored_files(tmp_path)) == 2
    async with await Store.open(tmp_path) as store:
        assert stored_files(tmp_path) == set()
        assert len(await store.waiting()) == 1
