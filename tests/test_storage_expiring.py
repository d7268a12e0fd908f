"""Old jobs are emptied, piece by piece; favourites, the young and the unfinished stay."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from storage import Job, NewPicture, Store
from tests.test_storage_support import (
    Clock,
    child_of,
    make_posted,
    make_running,
    new_job,
    new_picture,
    stored_files,
)

DAYS = timedelta(days=90)


async def emptied(store: Store, job: Job) -> bool:
    found = await store.job(job.id)
    assert found is not None
    assert (found.id, found.state, found.created_at) == (job.id, job.state, job.created_at)
    is_empty = (found.prompt, found.params) == ("", '{"prompt":""}')
    assert is_empty == (found.deleted_at is not None)
    assert bool(await store.pictures(job.id)) != is_empty
    return is_empty


async def test_old_jobs_lose_their_words_and_pictures(tmp_path: Path) -> None:
    clock = Clock()
    async with await Store.open(tmp_path, clock=clock) as store:
        old = [await make_posted(store, number) for number in range(5)]
        waiting = (await store.enqueue(new_job(50, prompt="still waiting"))).job
        running = await make_running(store, 51)
        liked = old[3]
        await store.people.favourite(99, liked.id, 1, True)
        report = await store.community.add_report(
            job_id=old[0].id, index=1, guild_id=11, reporter_id=3, reason="my words"
        )
        note = await store.people.note("prompt", 7, "my words")
        clock.advance(DAYS.total_seconds() - 1)
        young = await make_posted(store, 60)
        assert await store.expire(older_than=DAYS) == 0
        clock.advance(2)
        # In pieces, so that nobody waits: two of the four that are due, twice, and no more.
        assert [await store.expire(older_than=DAYS, limit=2) for _ in range(3)] == [2, 2, 0]
        assert [await emptied(store, job) for job in (*old, young)] == [
            *(True, True, True, False, True),
            False,
        ]
        assert await store.job(waiting.id) == waiting
        assert await store.job(running.id) == running
        told = await store.community.report(report.id)
        assert told is not None
        assert told.reason == ""
        assert await store.people.read_note(note) is None
        names = {one.sha256 for job in (liked, young) for one in await store.pictures(job.id)}
        assert stored_files(tmp_path) == names
        assert await store.check() == 8
    assert b"my words" not in (tmp_path / "easel.db").read_bytes()


async def test_a_young_job_keeps_the_file_it_is_made_from(tmp_path: Path) -> None:
    clock = Clock()
    async with await Store.open(tmp_path, clock=clock) as store:
        parent = await make_posted(store, 1)
        tile = (await store.pictures(parent.id))[1]
        clock.advance(DAYS.total_seconds() + 1)
        params = f'{{"init_image":"{tile.sha256}"}}'
        made = (await store.enqueue(replace(child_of(parent, 2, index=1), params=params))).job
        assert await store.expire(older_than=DAYS) == 1
        assert stored_files(tmp_path) == {tile.sha256}
        claimed = await store.claim(made.id)
        assert claimed is not None
        pictures: list[NewPicture] = [new_picture(0, b"other")]
        assert await store.rendered(claimed, pictures, device_seconds=1)


async def test_one_who_deleted_before_is_not_deleted_anew(tmp_path: Path) -> None:
    clock = Clock()
    async with await Store.open(tmp_path, clock=clock) as store:
        job = await make_posted(store, 1)
        deleted = await store.delete_pictures(job.id)
        assert deleted is not None
        clock.advance(DAYS.total_seconds() + 1)
        assert await store.expire(older_than=DAYS) == 1
        found = await store.job(job.id)
        assert found is not None
        assert (found.deleted_at, found.prompt) == (deleted.deleted_at, "")
        assert await store.expire(older_than=DAYS) == 0
