"""The witness: what it notes can be read, what is cut or changed cannot, and old files are told."""

import shutil
from pathlib import Path

import pytest

from storage import Store, StoreDamaged
from storage.witness import Mark, Witness
from tests.test_storage_support import make_posted, new_job, sql


def test_what_was_noted_last_is_read(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "witness")
    assert witness.read() is None
    for commits in (1, 20, 3):
        witness.note(Mark(store="abc", commits=commits))
    witness.close()
    witness.close()
    assert Witness(tmp_path / "witness").read() == Mark(store="abc", commits=3)


def test_what_is_not_whole_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "witness"
    witness = Witness(path)
    witness.note(Mark(store="abc", commits=12))
    witness.close()
    whole = path.read_bytes()
    for damaged in (b"", whole[:-3], bytes(len(whole)), whole.replace(b"12", b"13")):
        path.write_bytes(damaged)
        assert Witness(path).read() is None


def test_a_disk_that_takes_nothing_is_no_matter(tmp_path: Path) -> None:
    Witness(tmp_path / "no folder" / "witness").note(Mark(store="abc", commits=1))


async def test_every_transaction_is_counted(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "easel.witness")
    async with await Store.open(tmp_path) as store:
        before = witness.read()
        assert before is not None
        await store.enqueue(new_job(1))
        await store.waiting()
        after = witness.read()
    assert after == Mark(store=before.store, commits=before.commits + 1)
    counted = sql(tmp_path, "SELECT value FROM fact WHERE name = 'commits'")
    assert counted == [(str(after.commits),)]


async def test_an_older_copy_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path, older = tmp_path / "easel.db", tmp_path / "older.db"
    async with await Store.open(tmp_path) as store:
        await make_posted(store, 1)
    shutil.copy(path, older)
    async with await Store.open(tmp_path) as store:
        await store.enqueue(new_job(2))
    newest = path.read_bytes()
    shutil.copy(older, path)
    with pytest.raises(StoreDamaged, match=r"older than.*easel restore"):
        await Store.open(tmp_path)
    assert path.read_bytes() == older.read_bytes()
    path.write_bytes(newest)
    async with await Store.open(tmp_path) as store:
        assert await store.check() == 2


async def test_a_log_that_is_gone_is_missed(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "live") as store:
        await store.enqueue(new_job(1))
        shutil.copytree(tmp_path / "live", tmp_path / "killed")
    async with await Store.open(tmp_path / "killed") as store:
        assert await store.check() == 1
        await store.enqueue(new_job(2))
        shutil.copytree(tmp_path / "killed", tmp_path / "robbed")
    (tmp_path / "robbed" / "easel.db-wal").unlink()
    (tmp_path / "robbed" / "easel.db-shm").unlink()
    with pytest.raises(StoreDamaged, match="changes are missing"):
        await Store.open(tmp_path / "robbed")


async def test_another_stores_database_is_refused(tmp_path: Path) -> None:
    for name in ("one", "other"):
        await (await Store.open(tmp_path / name)).close()
    shutil.copy(tmp_path / "other" / "easel.db", tmp_path / "one" / "easel.db")
    with pytest.raises(StoreDamaged, match="not the database that was last used"):
        await Store.open(tmp_path / "one")


async def test_a_folder_that_was_moved_without_the_witness_goes_on(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        await store.enqueue(new_job(1))
    (tmp_path / "easel.witness").unlink()
    async with await Store.open(tmp_path) as store:
        assert await store.check() == 1
    assert Witness(tmp_path / "easel.witness").read() is not None
