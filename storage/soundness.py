"""Whether a database file is what was written: looked at without changing a byte of it.

SQLite's own check sees broken pages but not a changed value inside a sound one; the seals of the
jobs see that, and the witness sees a file that is sound and too old. Every finding is one sentence
that names the file and the command that helps. Everything here blocks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.exc import DBAPIError

from storage.errors import StorageError, StoreBusy, StoreDamaged
from storage.failures import WAY_OUT, damaged, translate
from storage.records import FINAL_STATES
from storage.rows import checksum
from storage.tables import metadata
from storage.witness import COMMITS, STORE, Mark

# Only the full check compares the indexes with the rows, so it is used while it is cheap.
FULL_CHECK_BYTES: Final = 64 * 2**20
# Larger files have all their open jobs checked at a start, and the newest others; a backup all.
EVERY_SEAL_BYTES: Final = 16 * 2**20
NEWEST: Final = 2000
_DIALECT: Final = dialect()
BUSY_SECONDS: Final = 5.0
_NOT_THE_FILES_FAULT: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """What a sound database holds: jobs in all, how far it has come, and its schema."""

    jobs: int
    open_jobs: int
    mark: Mark | None
    revision: str | None


def open_readonly(path: Path) -> sqlite3.Connection:
    """Open a database for reading alone; its write-ahead log stays as it is, too."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    connection.row_factory = sqlite3.Row
    return connection


def examine(path: Path, *, every_row: bool = False) -> Sound:
    """Check a database's structure and its jobs; StoreDamaged says what is wrong with it."""
    with _reading(path) as connection:
        _check_structure(connection, path)
        tables = set(_column(connection, "SELECT name FROM sqlite_master WHERE type='table'"))
        if not tables:
            return Sound(jobs=0, open_jobs=0, mark=None, revision=None)
        if "alembic_version" not in tables or "job" not in tables:
            raise StoreDamaged(
                f"{path} is a database, but not one of Easel's. It was left as it is; {WAY_OUT}"
            )
        _check_seals(connection, path, every_row=every_row)
        return _sound(connection)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to look at it; whatever it does not answer makes it a damaged one."""
    if path.is_dir():
        raise StorageError(f"{path} cannot be opened: it is a folder")
    try:
        with closing(open_readonly(path)) as connection:
            yield connection
    except sqlite3.Error as error:
        told = translate(DBAPIError("", None, error), path)
        known = isinstance(told, StoreBusy) or _cannot_open(error)
        raise (told if known else damaged(path)) from error
    except UnicodeDecodeError as error:
        # The driver fails so when SQLite's own complaint quotes damaged bytes.
        raise damaged(path) from error


def check_age(sound: Sound, seen: Mark | None, path: Path) -> None:
    """Refuse a database that is older than what was last written here, or another store's."""
    if seen is None:
        return
    if sound.mark is None or sound.mark.store != seen.store:
        raise StoreDamaged(
            f"{path} is not the database that was last used here. It was left as it is; put the "
            f"right one back, or {WAY_OUT}"
        )
    if sound.mark.commits < seen.commits:
        raise StoreDamaged(
            f"{path} is older than what was last written here: {seen.commits - sound.mark.commits} "
            "changes are missing. An older copy was put in its place, or its easel.db-wal is gone. "
            f"It was left as it is; put the right one back, or {WAY_OUT}"
        )


def check_columns(path: Path) -> None:
    """See that every table of a database of this version is what the queries expect.

    A changed letter in the name of a column is sound, and noticed only when somebody asks for it.
    """
    with _reading(path) as connection:
        for table in metadata.sorted_tables:
            found = connection.execute(f'PRAGMA table_info("{table.name}")').fetchall()
            expected = {(each.name, each.type.compile(_DIALECT)) for each in table.columns}
            if {(each["name"], each["type"]) for each in found} != expected:
                raise StoreDamaged(
                    f"{path} is damaged: its table {table.name} is not what it was. It was left as "
                    f"it is; {WAY_OUT}"
                )


def _check_structure(connection: sqlite3.Connection, path: Path) -> None:
    check = "integrity_check" if path.stat().st_size <= FULL_CHECK_BYTES else "quick_check"
    findings = _column(connection, f"PRAGMA {check}(3)")
    if findings != ["ok"]:
        raise StoreDamaged(
            f"{path} is damaged: {'; '.join(map(str, findings))}. It was left as it is; {WAY_OUT}"
        )


def _check_seals(connection: sqlite3.Connection, path: Path, *, every_row: bool) -> None:
    if every_row or path.stat().st_size <= EVERY_SEAL_BYTES:
        _check_rows(connection.execute("SELECT * FROM job NOT INDEXED"), path)
        return
    # By the rows and not by an index of states, which may be what is damaged.
    ended = ", ".join("?" * len(FINAL_STATES))
    active = f"SELECT * FROM job NOT INDEXED WHERE state NOT IN ({ended})"  # noqa: S608
    _check_rows(connection.execute(active, [state.value for state in FINAL_STATES]), path)
    newest = f"SELECT * FROM job ORDER BY seq DESC LIMIT {NEWEST}"  # noqa: S608
    _check_rows(connection.execute(newest), path)


def _check_rows(rows: Iterable[sqlite3.Row], path: Path) -> None:
    for row in rows:
        if checksum(dict(row)) != row["checksum"]:
            raise StoreDamaged(
                f"{path} is damaged: job {row['id']!r} (row {row['seq']}) is not what was written, "
                f"its checksum does not fit. It was left as it is; {WAY_OUT}"
            )


def _sound(connection: sqlite3.Connection) -> Sound:
    facts = dict(connection.execute("SELECT name, value FROM fact").fetchall())
    mark = None
    if STORE in facts and COMMITS in facts:
        digits = str(facts[COMMITS])
        number = int(digits) if digits.isascii() and digits.isdigit() else 0
        mark = Mark(store=str(facts[STORE]), commits=number)
    ended = ", ".join("?" * len(FINAL_STATES))
    counting = f"SELECT count(*), count(*) FILTER (WHERE state NOT IN ({ended})) FROM job"  # noqa: S608
    ((jobs, open_jobs),) = connection.execute(counting, [state.value for state in FINAL_STATES])
    revisions = _column(connection, "SELECT version_num FROM alembic_version")
    return Sound(
        jobs=jobs,
        open_jobs=open_jobs,
        mark=mark,
        revision=str(revisions[0]) if revisions else None,
    )


def _column(connection: sqlite3.Connection, statement: str) -> list[Any]:
    return [row[0] for row in connection.execute(statement).fetchall()]


def _cannot_open(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in _NOT_THE_FILES_FAULT
