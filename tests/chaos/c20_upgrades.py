"""C20: upgrades from every older schema, killed at every statement, before it and after it.

A child process is killed in the middle; what it leaves must open as the old schema or the new one,
with every row there and every seal intact, and a second upgrade must end what the first began.
"""

import os
import shutil
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event

from storage import Store
from storage.database import begin_immediately
from storage.migrate import SCRIPTS, migrate, prepare_database
from storage.soundness import examine
from tests.chaos.suite import Run, Suite
from tests.test_storage_migrate import engine_for, make_first_store

WHEN = ("before", "after")
# Rows of each table that an older schema has besides the jobs.
ROWS = 7


@dataclass(frozen=True, slots=True)
class Cell:
    """One place to die at: coming from a schema, at a statement, before or after it."""

    revision: str
    number: int
    when: str


async def run(run: Run) -> None:
    """Die at every place, over and over until there were enough deaths."""
    old = older_revisions()
    stores = {revision: _make(run.folder / revision, revision) for revision in old}
    cells = [
        Cell(revision, number, when)
        for revision, folder in stores.items()
        # One more than there are statements: right after the commit.
        for number in range(1, _statements(folder, run.folder / "counting") + 2)
        for when in WHEN
    ]
    run.random().shuffle(cells)
    run.figures["schemas"], run.figures["places"] = len(old), len(cells)
    run.must(old, "there is no older schema")
    if run.count >= SUITE.commit:
        run.must(len(cells) <= run.count, f"{len(cells)} places, and only {run.count} deaths")
    for number in range(run.count):
        await _die_and_go_on(run, stores, cells[number % len(cells)])
        run.passed()
    for outcome in ("left old", "left new"):
        must_be = run.count >= len(cells)
        run.must(run.figures.get(outcome) or not must_be, f"no death ever {outcome}")


def older_revisions() -> list[str]:
    """Return every revision but the newest, oldest first."""
    found = [script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions()]
    return found[:0:-1]


async def _die_and_go_on(run: Run, stores: dict[str, Path], cell: Cell) -> None:
    work = run.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(stores[cell.revision], work)
    path = work / "easel.db"
    before = content(path)
    was_killed = _upgrade_and_die(path, cell)
    run.must(was_killed, f"{cell}: the process did not die there")
    sound = examine(path, every_row=True)
    is_old = sound.revision == cell.revision
    run.must(is_old or sound.revision == _newest(), f"{cell}: left as {sound.revision}")
    run.add("left old" if is_old else "left new")
    now = content(path)
    # Whole tables where it is old; where it is new, the same rows in the columns there were.
    run.must(now == before if is_old else _holds(now, before), f"{cell}: rows differ")
    run.add("rows", sum(len(rows) for _, rows in now.values()))
    async with await Store.open(work) as store:
        run.must(await store.check() == len(before["job"][1]), f"{cell}: jobs are missing")
    run.must(_holds(content(path), before), f"{cell}: rows differ after the second upgrade")
    run.must(examine(path, every_row=True).revision == _newest(), f"{cell}: not upgraded")


def _upgrade_and_die(path: Path, cell: Cell) -> bool:
    """Upgrade in a child that is killed at a statement; return whether it was."""
    child = os.fork()
    if child == 0:
        passed = 0

        def reach(when: str) -> None:
            nonlocal passed
            passed += when == "before"
            if (passed, when) == (cell.number, cell.when):
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            event.listen(Engine, "before_cursor_execute", lambda *_: reach("before"))
            event.listen(Engine, "after_cursor_execute", lambda *_: reach("after"))
            prepare_database(path)
            for when in WHEN:
                reach(when)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _statements(store: Path, scratch: Path) -> int:
    """Count the statements of a store's upgrade."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(store, scratch)
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        prepare_database(scratch / "easel.db")
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    return seen


def _make(folder: Path, revision: str) -> Path:
    """Lay out a store as an older version left it: jobs, pictures, and rows in all its tables."""
    make_first_store(folder)
    engine = engine_for(folder / "easel.db")
    begin_immediately(engine)
    with engine.begin() as connection:
        migrate(connection, revision)
    engine.dispose()
    with closing(sqlite3.connect(folder / "easel.db")) as connection:
        jobs = [row[0] for row in connection.execute("SELECT id FROM job")]
        for table in _tables(connection):
            if table not in ("job", "picture", "source", "alembic_version"):
                _fill(connection, table, jobs)
        connection.commit()
    return folder


def _fill(connection: sqlite3.Connection, table: str, jobs: Sequence[str]) -> None:
    """Fill a table of which only its columns are known."""
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    for number in range(ROWS):
        values: dict[str, Any] = {}
        for _, name, kind, _, _, _ in columns:
            if name == "job_id":
                values[name] = jobs[number % len(jobs)]
            elif kind.startswith(("VARCHAR", "TEXT")):
                values[name] = f"{name} {number}"
            else:
                values[name] = number + 1
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" * len(values))
        connection.execute(
            f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
            list(values.values()),
        )


Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]


def content(path: Path) -> dict[str, Table]:
    """Return every table's columns and rows."""
    with closing(sqlite3.connect(path)) as connection:
        found: dict[str, Table] = {}
        for table in _tables(connection):
            cursor = connection.execute(f"SELECT * FROM {table}")  # noqa: S608
            rows = sorted(cursor.fetchall(), key=repr)
            found[table] = tuple(each[0] for each in cursor.description), rows
        return found


def _holds(now: dict[str, Table], before: dict[str, Table]) -> bool:
    """Say whether all earlier rows are there, no more and no fewer, in the columns there were."""
    for table, (columns, rows) in before.items():
        if table in ("alembic_version", "source", "fact"):
            continue
        names, found = now[table]
        places = [names.index(column) for column in columns]
        if sorted((tuple(row[place] for place in places) for row in found), key=repr) != rows:
            return False
    # What the upgrade and the store itself add to: nothing of it may be gone.
    return all(
        set(before[table][1]) <= set(now[table][1])
        for table in ("source", "fact")
        if table in before
    )


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return sorted(name for (name,) in found if not name.startswith("sqlite_"))


def _newest() -> str | None:
    return ScriptDirectory(str(SCRIPTS)).get_current_head()


SUITE = Suite(
    name="C20",
    about="upgrade from every schema, killed at each statement",
    commit=120,
    night=600,
    run=run,
)
