"""The schema: made from nothing, the same as the tables, and never half-way; old jobs go along."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, event

from storage import SentKind, Store, StoreDamaged
from storage.database import begin_immediately, database_url
from storage.errors import StorageError
from storage.files import PictureFiles
from storage.migrate import is_new, migrate, prepare_database, schema_revisions
from storage.tables import metadata
from tests.test_storage_support import sql, stored_files

FIRST_STORE = Path(__file__).parent / "data" / "first_store.sql"
# What the second job there starts from: a picture of the first.
SOURCE = "a20a2ceecbb9e2b31b11df865768a70ea65f1eafff70168ee9658268a649f852"


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


def make_first_store(folder: Path) -> None:
    """Lay out a folder as the first schema left it: jobs with its seals, and their pictures."""
    folder.mkdir(exist_ok=True)
    engine = engine_for(folder / "easel.db")
    begin_immediately(engine)
    with engine.begin() as connection:
        migrate(connection, "0001")
    engine.dispose()
    outside = sqlite3.connect(folder / "easel.db")
    outside.executescript(FIRST_STORE.read_text(encoding="utf-8"))
    outside.close()
    files = PictureFiles(folder / "pictures")
    files.prepare()
    assert files.write([b"grid 1", b"grid 1's tile"])[1] == SOURCE


async def test_jobs_of_the_first_schema_go_on(tmp_path: Path) -> None:
    make_first_store(tmp_path)
    async with await Store.open(tmp_path) as store:
        found = await store.recover()
        assert await store.check() == 3
        (waiting,) = found.queued
        assert (waiting.sources, waiting.details) == ((SOURCE,), "{}")
        parent = await store.job(str(waiting.parent_id))
        assert parent is not None
        assert {one.phash for one in await store.pictures(parent.id)} == {None}
        await store.delete_pictures(parent.id)
        assert stored_files(tmp_path) == {SOURCE}
    async with await Store.open(tmp_path) as store:
        assert await store.read_file(SOURCE) == b"grid 1's tile"
        running = await store.claim(waiting.id)
        assert running is not None
        await store.failed(running, code="odd", text="")
        await store.delete_pictures(waiting.id)
        # The third was deleted before the tables changed; it holds no file.
        assert stored_files(tmp_path) == set()
        assert (await store.forget(7)).jobs == 3
        assert await store.check() == 3


def make_second_store(folder: Path) -> None:
    """Lay out a folder as the second schema left it: the first one's jobs, and what people left."""
    make_first_store(folder)
    engine = engine_for(folder / "easel.db")
    begin_immediately(engine)
    with engine.begin() as connection:
        migrate(connection, "0002")
    engine.dispose()
    sql(folder, "INSERT INTO macro VALUES (7, 'wide', '--ar 3:2')")
    sql(folder, "INSERT INTO fact VALUES ('message:5', '12')")


async def test_people_of_the_second_schema_go_on(tmp_path: Path) -> None:
    make_second_store(tmp_path)
    assert "sent_message" not in tables(tmp_path / "easel.db")
    async with await Store.open(tmp_path) as store:
        assert await store.check() == 3
        assert await store.people.macros(7) == {"wide": "--ar 3:2"}
        (job, *_) = await store.history(requester_id=7)
        # What was sent before is not known; what is sent from now on is.
        assert (await store.export(7)).messages == ()
        await store.sent.note(SentKind.PING, job_id=job.id, user_id=7, channel_id=12, message_id=6)
        assert (12, 6) in (await store.forget(7)).messages
        assert {(12, 5), (12, 6)} <= set(await store.aftermath.messages())
    assert tables(tmp_path / "easel.db") == {*metadata.tables, "alembic_version"}


@pytest.mark.parametrize(("make", "places"), [(make_first_store, 15), (make_second_store, 5)])
async def test_a_crash_while_old_jobs_move_leaves_all_of_them(
    tmp_path: Path, make: Callable[[Path], None], places: int
) -> None:
    make(tmp_path / "live")
    copies: list[Path] = []

    def photograph(connection: Connection, *_rest: object) -> None:
        if connection.engine.url.database == str(tmp_path / "live" / "easel.db"):
            copies.append(tmp_path / f"copy{len(copies)}")
            shutil.copytree(tmp_path / "live", copies[-1])

    event.listen(Engine, "before_cursor_execute", photograph)
    try:
        prepare_database(tmp_path / "live" / "easel.db")
    finally:
        event.remove(Engine, "before_cursor_execute", photograph)
    assert len(copies) > places
    for copy in copies[::3]:
        async with await Store.open(copy) as store:
            assert await store.check() == 3
            assert stored_files(copy) == stored_files(tmp_path / "live")
