"""The schema: made from nothing, the same as the tables, and never half-way."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, event

from storage.database import database_url
from storage.errors import StorageError, StoreDamaged
from storage.migrate import is_new, prepare_database, schema_revisions
from storage.tables import metadata


def engine_for(path: Path) -> Engine:
    return create_engine(database_url(path, driver="sqlite"))


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in found if not name.startswith("sqlite_")}
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["easel.db", "100%s of? odd #names.db"])
def test_an_empty_path_becomes_exactly_the_tables(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert is_new(path)
    prepare_database(path)
    prepare_database(path)
    assert not is_new(path)
    engine = engine_for(path)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        current, newest = schema_revisions(connection)
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    engine.dispose()
    assert differences == []
    assert current == newest is not None
    assert mode == "wal"
    assert tables(path) == {*metadata.tables, "alembic_version"}


def test_a_crash_at_any_statement_leaves_the_old_schema_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "live" / "easel.db"
    path.parent.mkdir()
    copies: list[Path] = []

    def photograph(connection: Connection, *_rest: object) -> None:
        # What is on the disk at this moment is what a process killed here would leave.
        if connection.engine.url.database == str(path):
            copies.append(tmp_path / f"copy{len(copies)}")
            shutil.copytree(path.parent, copies[-1])

    event.listen(Engine, "before_cursor_execute", photograph)
    event.listen(Engine, "after_cursor_execute", photograph)
    try:
        prepare_database(path)
    finally:
        event.remove(Engine, "before_cursor_execute", photograph)
        event.remove(Engine, "after_cursor_execute", photograph)
    complete = {*metadata.tables, "alembic_version"}
    assert len(copies) > 25
    for copy in copies:
        assert tables(copy / "easel.db") in (set(), complete)
        prepare_database(copy / "easel.db")
        assert tables(copy / "easel.db") == complete


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "easel.db"
    prepare_database(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="newer version"):
        prepare_database(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("offset", [0, 4096])
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "easel.db"
    prepare_database(path)
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + 3000] = b"\xa5" * 3000
    path.write_bytes(damaged)
    with pytest.raises(StoreDamaged, match="damaged"):
        prepare_database(path)
    assert path.read_bytes() == bytes(damaged)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "easel.db"
    path.write_text("these are my holiday notes, " * 100)
    with pytest.raises(StoreDamaged):
        prepare_database(path)
    assert path.read_text().startswith("these are my holiday notes")


def test_a_folder_in_the_place_of_the_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "easel.db").mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        prepare_database(tmp_path / "easel.db")
