"""Backups: one moment of a database in use, whole or not there, and no more of them than wanted."""

import asyncio
import errno
import os
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import Store, StoreClosed, StoreDamaged, StoreFull, backups
from storage.backups import export, found, made_at, prune, write
from storage.soundness import examine
from tests.test_storage_support import Clock, make_posted, make_running, new_job, stored_files

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


async def test_a_backup_holds_what_was_there(tmp_path: Path) -> None:
    clock = Clock()
    async with await Store.open(tmp_path / "data", clock=clock) as store:
        posted, running = await make_posted(store, 1), await make_running(store, 2)
        made = await store.back_up(tmp_path / "out")
        await store.enqueue(new_job(3))
    assert (made.jobs, made.path.name) == (2, "easel-20260301-120000.db")
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]
    (listed,) = found(tmp_path / "out")
    assert listed.made_at == made.made_at == made_at(made.path) == NOW.replace(microsecond=0)
    with sqlite3.connect(made.path) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM job ORDER BY seq")]
        assert ids == [posted.id, running.id]
    connection.close()


async def test_writers_go_on_and_a_backup_is_of_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "_STEP_PAGES", 1)
    steps, is_first = 0, threading.Event()
    go_on = threading.Event()

    def look() -> bool:
        nonlocal steps
        steps += 1
        is_first.set()
        return not go_on.wait(10)

    async with await Store.open(tmp_path) as store:
        for number in range(3):
            await make_posted(store, number)
        path = tmp_path / "easel.db"
        backup = asyncio.to_thread(write, path, tmp_path / "out", now=NOW, is_stopping=look)
        task = asyncio.create_task(backup)
        await asyncio.to_thread(is_first.wait)
        # It stands between two steps, and everybody writes.
        for number in range(100, 140):
            await store.enqueue(new_job(number))
        go_on.set()
        made = await task
        assert await store.check() == 43
    assert (made.jobs, steps > 10) == (3, True)
    assert examine(made.path, every_row=True).jobs == 3


async def test_a_store_that_closes_gives_its_backup_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "_STEP_PAGES", 1)
    store = await Store.open(tmp_path)
    await make_posted(store, 1)
    backup = asyncio.create_task(store.back_up(tmp_path / "out"))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(backups.Stopped):
        await backup
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(StoreClosed):
        await store.back_up(tmp_path / "out")


async def test_a_full_disk_leaves_no_half_of_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Store.open(tmp_path) as store:
        await make_posted(store, 1)
        first = await store.back_up(tmp_path / "out")

        def refuse(_path: Path) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(backups, "flush", refuse)
        with pytest.raises(StoreFull):
            await store.back_up(tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == [first.path]
        assert await store.check() == 1


async def test_a_damaged_database_is_not_backed_up(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        await make_posted(store, 1)
        with sqlite3.connect(tmp_path / "easel.db") as outside:
            outside.execute("UPDATE job SET prompt = 'something else'")
        outside.close()
        with pytest.raises(StoreDamaged, match="checksum"):
            await store.back_up(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


async def test_two_in_one_second_are_two(tmp_path: Path) -> None:
    await (await Store.open(tmp_path)).close()
    names = [write(tmp_path / "easel.db", tmp_path / "out", now=NOW).path.name for _ in range(3)]
    assert names == [f"easel-20260301-120000{more}.db" for more in ("", "-1", "-2")]
    assert [each.path.name for each in found(tmp_path / "out")] == names[::-1]


async def test_what_an_earlier_process_left_goes_after_an_hour(tmp_path: Path) -> None:
    await (await Store.open(tmp_path)).close()
    out = tmp_path / "out"
    out.mkdir()
    for name, age in (("old", 7200), ("young", 60)):
        path = out / f"easel-{name}.db.1.new"
        path.write_bytes(b"half")
        moment = NOW.timestamp() - age
        os.utime(path, (moment, moment))
    write(tmp_path / "easel.db", out, now=NOW)
    assert {path.name for path in out.iterdir()} == {
        "easel-young.db.1.new",
        "easel-20260301-120000.db",
    }


def make(folder: Path, *hours: float) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for age in hours:
        moment = NOW - timedelta(hours=age)
        path = folder / f"easel-{moment:%Y%m%d-%H%M%S}.db"
        path.write_bytes(b"")
        paths.append(path)
    return paths


def test_only_as_many_are_kept_and_none_for_longer_than_a_day(tmp_path: Path) -> None:
    paths = make(tmp_path, 0.5, 1.5, 2.5, 23.9, 24.1, 50)
    (tmp_path / "easel-mine.db").write_bytes(b"")
    assert prune(tmp_path, keep=24, now=NOW) == paths[4:]
    assert prune(tmp_path, keep=2, now=NOW) == paths[2:4]
    assert {path.name for path in tmp_path.iterdir()} == {
        *(path.name for path in paths[:2]),
        "easel-mine.db",
    }


def test_the_newest_stays_however_old_it_is_where_it_is_spared(tmp_path: Path) -> None:
    paths = make(tmp_path, 30, 40)
    assert prune(tmp_path, keep=24, now=NOW) == paths[1:]
    assert prune(tmp_path, keep=24, now=NOW, spare_newest=False) == paths[:1]
    assert prune(tmp_path / "nowhere", keep=1, now=NOW) == []


async def test_an_exported_backup_has_its_pictures(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        for number in range(3):
            await make_posted(store, number)
        made = await store.back_up(tmp_path / "out")
        gone = (await store.pictures((await make_posted(store, 9)).id))[0].sha256
    into = tmp_path / "out" / "pictures"
    assert export(made.path, tmp_path / "pictures", into) == 6
    assert export(made.path, tmp_path / "pictures", into) == 0
    names = {path.name for path in into.rglob("*") if path.is_file()}
    assert names == {name for name in stored_files(tmp_path) if (into / name[:2] / name).exists()}
    assert gone not in names


async def test_pictures_are_copied_where_they_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"picture")
    backups.bring(source, target)
    assert target.read_bytes() == b"picture"
    assert source.stat().st_ino != target.stat().st_ino
