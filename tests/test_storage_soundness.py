"""Looking at a database: it changes nothing, sees every seal, and names the way out."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage import Store, StoreDamaged, soundness
from storage.errors import StorageError, StoreBusy
from storage.soundness import examine
from tests.test_storage_support import make_posted, make_rendered, make_running, new_job, sql


async def filled(folder: Path) -> Path:
    async with await Store.open(folder) as store:
        for number in range(3):
            await make_posted(store, number)
        await make_rendered(store, 10)
        await make_running(store, 11)
        await store.enqueue(new_job(12))
    return folder / "easel.db"


async def test_a_sound_database_is_described_and_left_alone(tmp_path: Path) -> None:
    path = await filled(tmp_path)
    before = path.read_bytes()
    found = examine(path)
    assert (found.jobs, found.open_jobs, found.revision is not None) == (6, 3, True)
    assert found.mark is not None
    assert path.read_bytes() == before


@pytest.mark.parametrize("state", ["queued", "running", "rendered"])
@pytest.mark.parametrize("is_large", [False, True])
async def test_an_open_job_that_was_changed_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, is_large: bool
) -> None:
    path = await filled(tmp_path)
    if is_large:
        monkeypatch.setattr(soundness, "EVERY_SEAL_BYTES", 0)
        monkeypatch.setattr(soundness, "NEWEST", 0)
    examine(path)
    sql(tmp_path, "UPDATE job SET seq = seq, prompt = prompt || ' ' WHERE state = ?", state)
    with pytest.raises(StoreDamaged, match=r"checksum.*easel restore"):
        examine(path)


async def test_a_state_that_is_none_hides_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await filled(tmp_path)
    monkeypatch.setattr(soundness, "EVERY_SEAL_BYTES", 0)
    monkeypatch.setattr(soundness, "NEWEST", 0)
    sql(tmp_path, "UPDATE job SET state = 'qveued' WHERE state = 'queued'")
    with pytest.raises(StoreDamaged, match="checksum"):
        examine(path)


async def test_old_jobs_of_a_large_database_wait_for_the_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await filled(tmp_path)
    monkeypatch.setattr(soundness, "EVERY_SEAL_BYTES", 0)
    monkeypatch.setattr(soundness, "NEWEST", 4)
    sql(tmp_path, "UPDATE job SET prompt = 'x' WHERE seq = 1")
    examine(path)
    with pytest.raises(StoreDamaged, match="row 1"):
        examine(path, every_row=True)
    sql(tmp_path, "UPDATE job SET prompt = 'x' WHERE seq = 3")
    with pytest.raises(StoreDamaged, match="row 3"):
        examine(path)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE job RENAME COLUMN prompt TO qrompt",
        "DROP TABLE fact",
        "DROP TABLE alembic_version",
        "UPDATE job SET prompt = CAST(x'ff41' AS TEXT)",
    ],
)
async def test_whatever_else_is_wrong_with_it_is_damage(tmp_path: Path, statement: str) -> None:
    path = await filled(tmp_path)
    sql(tmp_path, statement)
    with pytest.raises(StoreDamaged, match="easel restore"):
        examine(path)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE macro RENAME COLUMN text TO uext",
        "DROP TABLE macro",
        "ALTER TABLE macro ADD COLUMN more TEXT",
    ],
)
async def test_a_table_that_is_not_as_expected_stops_the_start(
    tmp_path: Path, statement: str
) -> None:
    path = await filled(tmp_path)
    sql(tmp_path, statement)
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match=r"table macro.*easel restore"):
        await Store.open(tmp_path)
    assert path.read_bytes() == before


async def test_a_database_that_is_held_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await filled(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("PRAGMA journal_mode=DELETE")
        foreign.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(soundness, "BUSY_SECONDS", 0.05)
        with pytest.raises(StoreBusy):
            examine(path)


def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened") as caught:
        examine(tmp_path / "easel.db")
    assert not isinstance(caught.value, StoreDamaged)
