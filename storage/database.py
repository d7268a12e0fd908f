"""The connections: one that writes, a few that read.

All writes go through one connection, one transaction at a time, each opened with BEGIN IMMEDIATE so
that what it reads stays true until it commits; the same connection also carries the write-ahead log
back into the database. Each is counted, in the database and by a witness beside it. Readers are
separate and cannot write. A transaction that has begun runs to
its end even when the coroutine that asked for it is cancelled: it is in the table or it is not.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, event, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from storage.errors import StoreBusy, StoreClosed
from storage.failures import damaged, is_busy, translate
from storage.ids import new_job_id
from storage.tables import fact
from storage.witness import COUNT, STORE, Mark, Witness

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 5
# With the five seconds that SQLite itself waits each time: half a minute in all.
BUSY_ATTEMPTS: Final = 6
READERS: Final = 4
PRAGMAS: Final = (
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
    "PRAGMA synchronous=FULL",
)
_ALL_BITS: Final = 2**64 - 1
_EMPTY_LOG: Final = "PRAGMA wal_checkpoint(TRUNCATE)"


class Database:
    """An open database file."""

    def __init__(self, path: Path, witness: Witness | None = None) -> None:
        """Make the engines; connections open when first used."""
        self._path = path
        self._witness = witness
        self._store: str | None = None
        self._writer = _async_engine(path, size=1)
        self._readers = _async_engine(path, size=READERS)
        set_pragmas(self._writer.sync_engine, PRAGMAS)
        set_pragmas(self._readers.sync_engine, (*PRAGMAS, "PRAGMA query_only=ON"))
        begin_immediately(self._writer.sync_engine)
        event.listen(self._readers.sync_engine, "connect", _teach_bits_apart)
        self._turn = asyncio.Lock()
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._is_open = True

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run the work alone in one transaction; it may run again if the database was busy."""
        return await self.finish(self._write(work))

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run the work on a reading connection; each statement sees what was committed before."""
        return await self.finish(self._read(work))

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the work to its end even if the caller is cancelled meanwhile."""
        if not self._is_open:
            work.close()
            raise StoreClosed(f"the store at {self._path.parent} is closed")
        task = asyncio.create_task(work)
        self._unfinished.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._unfinished.discard(task)
        # Looked at, so that asyncio does not call it lost: a caller that was cancelled has left.
        if not task.cancelled():
            task.exception()

    async def count_along(self) -> None:
        """Let the witness hear of every transaction from this one on."""

        async def name(connection: AsyncConnection) -> str:
            statement = insert(fact).values(name=STORE, value=new_job_id())
            await connection.execute(statement.on_conflict_do_nothing())
            found = await connection.execute(select(fact.c.value).where(fact.c.name == STORE))
            return str(found.scalar_one())

        self._store = await self.write(name)
        await self.write(_nothing)

    async def empty_log(self) -> bool:
        """Carry the write-ahead log into the file and cut it to nothing; False if readers held it.

        Until then the log has pages as they were, and with them what has been deleted since.
        """
        return await self.finish(self._empty_log())

    async def close(self) -> None:
        """Finish what has begun, empty the write-ahead log, and let go of the file."""
        if not self._is_open:
            return
        while self._unfinished:
            await asyncio.wait(self._unfinished)
        self._is_open = False
        # The last connection to leave empties the log, so the writer goes last.
        await self._readers.dispose()
        await self._writer.dispose()

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._turn:
            for _ in range(BUSY_ATTEMPTS):
                try:
                    async with self._writer.begin() as connection:
                        result = await work(connection)
                        commits = await self._count(connection)
                    self._note(commits)
                    return result
                except DBAPIError as error:
                    if not is_busy(error):
                        raise translate(error, self._path) from error
                except UnicodeDecodeError as error:
                    raise damaged(self._path) from error
            raise StoreBusy(
                f"another program has been writing to {self._path} for "
                f"{BUSY_ATTEMPTS * BUSY_TIMEOUT_S} seconds; nothing was changed"
            )

    async def _count(self, connection: AsyncConnection) -> int:
        if self._witness is None or self._store is None:
            return 0
        return int((await connection.exec_driver_sql(COUNT)).scalar_one())

    def _note(self, commits: int) -> None:
        if self._witness is not None and self._store is not None and commits:
            self._witness.note(Mark(store=self._store, commits=commits))

    async def _empty_log(self) -> bool:
        try:
            async with self._turn, self._writer.connect() as connection:
                # Below SQLAlchemy, which would begin a transaction that the checkpoint waits for.
                driver: Any = (await connection.get_raw_connection()).driver_connection
                ((was_busy, _, _),) = await driver.execute_fetchall(_EMPTY_LOG)
                return not was_busy
        except sqlite3.Error as error:
            raise translate(DBAPIError(_EMPTY_LOG, None, error), self._path) from error

    async def _read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with self._readers.connect() as connection:
                return await work(connection)
        except DBAPIError as error:
            raise translate(error, self._path) from error
        except UnicodeDecodeError as error:
            raise damaged(self._path) from error
        except PoolTimeout as error:
            raise StoreBusy(f"all {READERS} readers of {self._path} are taken") from error


async def _nothing(_connection: AsyncConnection) -> None:
    """Stand for work where only the count is wanted."""


def database_url(path: Path, *, driver: str) -> URL:
    """Return the address of a database file, whatever characters its name has."""
    return URL.create(driver, database=str(path))


def set_pragmas(engine: Engine, pragmas: Iterable[str]) -> None:
    """Run these on every connection as it opens."""
    statements = tuple(pragmas)

    def on_connect(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()

    event.listen(engine, "connect", on_connect)


def begin_immediately(engine: Engine) -> None:
    """Open every transaction of this engine as a writing one.

    Python's driver would begin late and for reading only; two transactions that read and then
    write could both believe in what they read.
    """

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "begin", on_begin)


def _async_engine(path: Path, *, size: int) -> AsyncEngine:
    return create_async_engine(
        database_url(path, driver="sqlite+aiosqlite"),
        # The driver must never begin a transaction by itself, and no error may show a prompt.
        connect_args={"isolation_level": None},
        hide_parameters=True,
        pool_size=size,
        max_overflow=0,
        pool_reset_on_return=None,
    )


def _teach_bits_apart(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # SQLite cannot count bits; taught to, it need not send the whole table to Python.
    driver: Any = connection
    driver.create_function("bits_apart", 2, _bits_apart, deterministic=True)


def _bits_apart(one: int | None, other: int) -> int | None:
    # The columns are signed; a negative number would count the bits of its absolute value.
    return None if one is None else ((one ^ other) & _ALL_BITS).bit_count()
