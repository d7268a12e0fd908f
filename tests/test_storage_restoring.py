"""Restoring: what the backup had is back, what still exists is kept, and nobody is remembered who
was forgotten since.
"""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import (
    JobState,
    StorageError,
    Store,
    StoreDamaged,
    StoreLocked,
    backups,
)
from storage.restoring import Restored, restore
from tests.test_storage_support import (
    Clock,
    make_posted,
    make_rendered,
    make_running,
    new_job,
    sql,
    stored_files,
)


async def back_up(store: Store) -> Path:
    return (await store.back_up(store.folder / backups.FOLDER)).path


def beside(folder: Path, pattern: str = "set-aside-*") -> list[Path]:
    return sorted(folder.glob(pattern))


async def bring_back(folder: Path, backup: Path) -> Restored:
    # It has a loop of its own.
    now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    return await asyncio.to_thread(restore, folder, backup, now=now)


async def test_the_old_database_and_its_pictures_are_kept_beside(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        old = await make_posted(store, 1)
        backup = await back_up(store)
        young = await make_posted(store, 2)
        only_young = {one.sha256 for one in await store.pictures(young.id)}
    damaged = bytearray((tmp_path / "easel.db").read_bytes())
    damaged[:200] = bytes(200)
    (tmp_path / "easel.db").write_bytes(damaged)
    with pytest.raises(StoreDamaged):
        await Store.open(tmp_path)
    done = await bring_back(tmp_path, backup)
    assert done.aside is not None
    assert (done.aside / "easel.db").read_bytes() == bytes(damaged)
    kept = {path.name for path in (done.aside / "pictures").rglob("*") if path.is_file()}
    assert kept == only_young
    assert (done.jobs, done.open_jobs, done.lost, done.moved_pictures) == (1, 0, None, 2)
    assert not beside(tmp_path, "*restoring*")
    async with await Store.open(tmp_path) as store:
        assert await store.history(limit=9) == [old]
        assert await store.job(young.id) is None
        for picture in await store.pictures(old.id):
            await store.read_picture(picture)


async def test_what_may_have_been_posted_since_is_marked(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        await store.recover()
        waiting = (await store.enqueue(new_job(1))).job
        running, rendered = await make_running(store, 2), await make_rendered(store, 3)
        posting = await store.begin_post(await make_rendered(store, 4))
        backup = await back_up(store)
    await bring_back(tmp_path, backup)
    async with await Store.open(tmp_path) as store:
        found = await store.recover()
        assert [job.id for job in found.queued] == [waiting.id, running.id]
        assert [job.id for job in found.to_post] == [rendered.id]
        assert found.to_reconcile == (posting,)
        for job in (*found.queued, *found.to_post):
            assert job.post_started_at == job.created_at
            assert job.crashes == 0
        # The mark outlives the painting, so that the poster looks before it sends.
        again = await store.claim(waiting.id)
        assert again is not None
        posting = await store.begin_post(found.to_post[0])
        assert posting.post_started_at == rendered.created_at
        assert posting.post_nonce_at is not None
        assert posting.post_nonce_at > rendered.created_at


async def test_missing_pictures_of_the_ended_are_deleted_and_of_the_open_painted_again(
    tmp_path: Path,
) -> None:
    async with await Store.open(tmp_path) as store:
        ended, whole = await make_posted(store, 1), await make_posted(store, 2)
        rendered = await make_rendered(store, 3)
        posting = await store.begin_post(await make_rendered(store, 4))
        backup = await back_up(store)
        gone = [(await store.pictures(job.id))[0] for job in (ended, rendered, posting)]
    for picture in gone:
        (tmp_path / "pictures" / picture.sha256[:2] / picture.sha256).unlink()
    done = await bring_back(tmp_path, backup)
    assert done.missing == tuple(sorted(job.id for job in (ended, rendered, posting)))
    async with await Store.open(tmp_path) as store:
        found = await store.job(ended.id)
        assert found is not None
        assert (found.state, found.deleted_at is not None) == (JobState.POSTED, True)
        assert await store.pictures(ended.id) == []
        assert len(await store.pictures(whole.id)) == 2
        left = await store.recover()
        assert [job.id for job in left.queued] == [rendered.id, posting.id]
        assert left.queued[1].post_started_at == posting.post_started_at
        again = await store.claim(rendered.id)
        assert again is not None
        assert again.attempt == rendered.attempt + 1


async def test_who_was_forgotten_since_is_forgotten_again(tmp_path: Path) -> None:
    clock = Clock()
    async with await Store.open(tmp_path, clock=clock) as store:
        early = (await store.enqueue(new_job(1, requester_id=5, prompt="early"))).job
        await store.cancel(early.id)
        await store.forget(5)
        clock.advance(600)
        for requester, number in ((5, 2), (6, 3), (7, 4)):
            job = (await store.enqueue(new_job(number, requester_id=requester))).job
            await store.cancel(job.id)
        await store.people.set_macro(6, "m", "my words")
        backup = await back_up(store)
        clock.advance(600)
        await store.forget(6)
    done = await bring_back(tmp_path, backup)
    assert done.forgotten == 1
    assert b"my words" not in (tmp_path / "easel.db").read_bytes()
    async with await Store.open(tmp_path) as store:
        assert await store.people.macros(6) == {}
        for requester, jobs in ((5, 1), (6, 0), (7, 1)):
            assert len(await store.history(requester_id=requester)) == jobs


async def test_a_restored_store_is_newer_than_what_it_replaced(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        await store.enqueue(new_job(1))
        backup = await back_up(store)
        await store.enqueue(new_job(2))
    await bring_back(tmp_path, backup)
    await (await Store.open(tmp_path)).close()
    (aside,) = beside(tmp_path)
    (tmp_path / "easel.db").write_bytes((aside / "easel.db").read_bytes())
    with pytest.raises(StoreDamaged, match="older than"):
        await Store.open(tmp_path)


async def test_pictures_come_back_from_beside_a_backup_and_from_what_was_set_aside(
    tmp_path: Path,
) -> None:
    folder, out = tmp_path / "data", tmp_path / "out"
    async with await Store.open(folder) as store:
        early = await back_up(store)
        await make_posted(store, 1)
        late = (await store.back_up(out)).path
        assert backups.export(late, folder / "pictures", out / "pictures") == 2
    assert (await bring_back(folder, early)).moved_pictures == 2
    assert stored_files(folder) == set()
    # Both places have them; each alone is enough.
    (aside,) = beside(folder)
    for place in (aside, out):
        taken = sorted((place / "pictures").rglob("?" * 64))
        hidden = [path.rename(tmp_path / path.name) for path in taken]
        done = await bring_back(folder, late)
        assert (done.jobs, done.missing) == (1, ())
        for path, name in zip(hidden, taken, strict=True):
            path.rename(name)
        await bring_back(folder, early)


async def test_a_backup_of_an_older_schema_is_brought_along(tmp_path: Path) -> None:
    from tests.test_storage_migrate import make_first_store

    make_first_store(tmp_path / "old")
    (tmp_path / "old" / "easel.db").rename(tmp_path / "first.db")
    done = await bring_back(tmp_path / "old", tmp_path / "first.db")
    assert (done.jobs, done.open_jobs, done.missing) == (3, 1, ())
    async with await Store.open(tmp_path / "old") as store:
        assert await store.check() == 3
    assert len(stored_files(tmp_path / "old")) == 2


async def test_a_bad_backup_or_a_running_bot_changes_nothing(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        await make_posted(store, 1)
        backup = await back_up(store)
        with pytest.raises(StoreLocked):
            await bring_back(tmp_path, backup)
    before = (tmp_path / "easel.db").read_bytes()
    with sqlite3.connect(backup) as outside:
        outside.execute("UPDATE job SET prompt = 'x'")
    outside.close()
    empty = tmp_path / "empty.db"
    empty.write_bytes(b"")
    for bad in (backup, tmp_path / "nowhere.db", empty):
        with pytest.raises(StorageError):
            await bring_back(tmp_path, bad)
    assert (tmp_path / "easel.db").read_bytes() == before
    assert not beside(tmp_path)
    async with await Store.open(tmp_path) as store:
        assert await store.check() == 1


async def test_the_moment_of_a_backup_with_another_name_is_that_of_its_file(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        named = (await back_up(store)).rename(tmp_path / "mine.db")
    age = datetime.now(UTC) - backups.made_at(named)
    assert timedelta(seconds=-5) < age < timedelta(minutes=1)
    assert sql(tmp_path, "SELECT count(*) FROM job") == [(0,)]
