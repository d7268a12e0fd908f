"""The connections: their settings, one writer, and cancellation that breaks nothing."""

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import StorageError, StoreBusy, StoreClosed, StoreDamaged
from storage import database as database_module
from storage.database import Database
from storage.migrate import prepare_database
from storage.tables import fact


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    prepare_database(tmp_path / "easel.db")
    found = Database(tmp_path / "easel.db")
    yield found
    await found.close()


async def put(connection: AsyncConnection, name: str) -> None:
    await connection.execute(fact.insert().values(name=name, value=""))


async def names(connection: AsyncConnection) -> list[str]:
    return list((await connection.execute(select(fact.c.name).order_by(fact.c.name))).scalars())


async def test_every_connection_has_its_settings(database: Database) -> None:
    async def settings(connection: AsyncConnection) -> dict[str, int]:
        found = {}
        for name in ("synchronous", "foreign_keys", "secure_delete", "busy_timeout", "query_only"):
            result = await connection.exec_driver_sql(f"PRAGMA {name}")
            found[name] = result.scalar_one()
        return found

    expected = {"synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 5000}
    assert await database.write(settings) == {**expected, "query_only": 0}
    everyone = await asyncio.gather(*(database.read(settings) for _ in range(12)))
    assert everyone == [{**expected, "query_only": 1}] * 12


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        await database.read(lambda connection: put(connection, "a"))


async def test_writers_take_turns_and_none_is_lost(database: Database) -> None:
    async def add_one(connection: AsyncConnection) -> None:
        number = len(await names(connection))
        await asyncio.sleep(0)
        await put(connection, f"{number:03}")

    await asyncio.gather(*(database.write(add_one) for _ in range(40)))
    assert await database.read(names) == [f"{number:03}" for number in range(40)]


async def test_an_error_undoes_the_whole_transaction(database: Database) -> None:
    async def fail(connection: AsyncConnection) -> None:
        await put(connection, "a")
        raise LookupError("halfway")

    with pytest.raises(LookupError):
        await database.write(fail)
    assert await database.read(names) == []


async def test_a_cancelled_caller_breaks_no_transaction(database: Database) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: AsyncConnection) -> None:
        await put(connection, "a")
        begun.set()
        await go_on.wait()
        await put(connection, "b")

    caller = asyncio.create_task(database.write(slow))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    await database.write(lambda connection: put(connection, "c"))
    assert await database.read(names) == ["a", "b", "c"]


async def test_closing_waits_for_what_has_begun(tmp_path: Path) -> None:
    prepare_database(tmp_path / "easel.db")
    database = Database(tmp_path / "easel.db")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: AsyncConnection) -> None:
        begun.set()
        await go_on.wait()
        await put(connection, "a")

    caller = asyncio.create_task(database.write(slow))
    await begun.wait()
    closing = asyncio.create_task(database.close())
    go_on.set()
    await caller
    await closing
    await database.close()
    with pytest.raises(StoreClosed):
        await database.read(names)
    assert not (tmp_path / "easel.db-wal").exists()
    outside = sqlite3.connect(tmp_path / "easel.db")
    assert outside.execute("SELECT name FROM fact").fetchall() == [("a",)]
    outside.close()


async def test_a_foreign_writer_is_waited_for(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PRAGMAS", ("PRAGMA busy_timeout=20",))
    impatient = Database(tmp_path / "easel.db")
    foreign = sqlite3.connect(tmp_path / "easel.db", isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="another program"):
        await impatient.write(lambda connection: put(connection, "a"))
    assert await impatient.read(names) == []
    foreign.execute("COMMIT")
    foreign.close()
    await impatient.write(lambda connection: put(connection, "a"))
    assert await impatient.read(names) == ["a"]
    await impatient.close()


async def test_text_that_is_no_text_is_damage(database: Database, tmp_path: Path) -> None:
    outside = sqlite3.connect(tmp_path / "easel.db")
    outside.execute("INSERT INTO fact VALUES (CAST(x'ff41' AS TEXT), '')")
    outside.commit()
    outside.close()
    with pytest.raises(StoreDamaged):
        await database.read(names)


async def test_the_log_is_emptied_unless_somebody_reads_it(
    database: Database, tmp_path: Path
) -> None:
    log = tmp_path / "easel.db-wal"
    await database.write(lambda connection: put(connection, "a"))
    assert log.stat().st_size > 0
    assert await database.empty_log()
    assert log.stat().st_size == 0
    assert await database.read(names) == ["a"]


async def test_a_foreign_reader_keeps_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_database(tmp_path / "easel.db")
    monkeypatch.setattr(database_module, "PRAGMAS", ("PRAGMA busy_timeout=20",))
    impatient = Database(tmp_path / "easel.db")
    await impatient.write(lambda connection: put(connection, "a"))
    foreign = sqlite3.connect(tmp_path / "easel.db", isolation_level=None)
    foreign.execute("BEGIN")
    foreign.execute("SELECT * FROM fact").fetchall()
    await impatient.write(lambda connection: put(connection, "b"))
    assert not await impatient.empty_log()
    foreign.execute("COMMIT")
    foreign.close()
    assert await impatient.empty_log()
    assert await impatient.read(names) == ["a", "b"]
    await impatient.close()


async def test_a_write_holds_the_lock_from_its_first_moment(
    database: Database, tmp_path: Path
) -> None:
    foreign = sqlite3.connect(tmp_path / "easel.db", isolation_level=None, timeout=0)

    async def nothing_yet(_connection: AsyncConnection) -> None:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            foreign.execute("BEGIN IMMEDIATE")

    await database.write(nothing_yet)
    foreign.execute("BEGIN IMMEDIATE")
    foreign.execute("ROLLBACK")
    foreign.close()


async def test_an_error_after_its_caller_left_is_not_called_lost(database: Database) -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what["message"]))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def fails(_: AsyncConnection) -> None:
        begun.set()
        await go_on.wait()
        raise StorageError("late")

    caller = asyncio.create_task(database.write(fails))
    await begun.wait()
    caller.cancel()
    await asyncio.wait([caller])
    # A cancelled task remembers where it stood, and with that the one that goes on.
    del caller
    go_on.set()
    await database.close()
    gc.collect()
    assert not told
