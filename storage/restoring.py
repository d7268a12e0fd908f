"""Putting a backup in the place of a database, so that nothing is lost that still exists.

The backup is copied, looked at, and brought to terms with what happened since: who was forgotten
is forgotten again; a job that may have been posted later is marked, so that its message is looked
for before another is sent; a picture that is gone is gone from the rows too, or painted again if
its job was still open. Then the old database, its logs, and the pictures that only it knew go into
a folder beside, and the copy takes its place. Needs the folder's lock. Blocks where it may: nothing
else runs meanwhile.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import backups, forgetting, oblivion, recovery
from storage.backups import ASIDE
from storage.changes import amend
from storage.database import Database
from storage.errors import StorageError
from storage.failures import translate_os
from storage.files import PictureFiles, flush_folder
from storage.ids import new_job_id
from storage.lock import InstanceLock
from storage.migrate import prepare_database
from storage.opening import DATABASE, LOCK, PICTURES, WITNESS
from storage.queue import in_states
from storage.records import FINAL_STATES, Job, JobState
from storage.retention import drop_files, kept_hashes
from storage.rows import to_micros
from storage.soundness import examine, open_readonly
from storage.tables import fact
from storage.tables import picture as picture_table
from storage.witness import COMMITS, STORE, Mark, Witness

_SIDES: Final = ("", "-wal", "-shm")
_UNPOSTED: Final = (JobState.QUEUED, JobState.RUNNING, JobState.RENDERED)
# A moment of a backup is whole seconds, and clocks are not exact.
_SLACK: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restoring did; `lost` are jobs that the old database still names, where it can."""

    backup: Path
    made_at: datetime
    aside: Path | None
    jobs: int
    open_jobs: int
    lost: int | None
    missing: tuple[str, ...]
    moved_pictures: int
    forgotten: int


def restore(folder: Path, backup: Path, *, now: datetime) -> Restored:
    """Put a backup in the place of a folder's database; a backup that is damaged is refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = InstanceLock(folder / LOCK)
        try:
            return _restore(folder, backup, now)
        finally:
            lock.release()
    except OSError as error:
        raise translate_os(error, folder) from error


def _restore(folder: Path, backup: Path, now: datetime) -> Restored:
    if not backup.is_file():
        raise StorageError(f"there is no backup {backup}")
    found = examine(backup, every_row=True)
    if found.revision is None:
        raise StorageError(f"{backup} is an empty database; it holds nothing to restore")
    fresh = folder / f"{DATABASE}.restoring"
    for side in _SIDES:
        fresh.with_name(fresh.name + side).unlink(missing_ok=True)
    backups.bring_copy(backup, fresh)
    prepare_database(fresh)
    files = PictureFiles(folder / PICTURES)
    files.prepare()
    mark = _next_mark(found.mark, Witness(folder / WITNESS).read())
    made_at = backups.made_at(backup)
    since = oblivion.since(folder, made_at - _SLACK)
    beside = [each / PICTURES for each in (backup.parent, *sorted(folder.glob(f"{ASIDE}-*")))]
    terms = asyncio.run(
        _come_to_terms(fresh, files, beside=beside, since=since, mark=mark, now=now)
    )
    with closing(sqlite3.connect(fresh)) as connection:
        # One file again, so that nothing beside it has to be moved along.
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    done = examine(fresh, every_row=True)
    lost = _lost(folder / DATABASE, fresh)
    aside, moved = _swap(folder, fresh, files, terms.named, now)
    witness = Witness(folder / WITNESS)
    witness.note(mark)
    witness.close()
    return Restored(
        backup=backup,
        made_at=made_at,
        aside=aside,
        jobs=done.jobs,
        open_jobs=done.open_jobs,
        lost=lost,
        missing=terms.missing,
        moved_pictures=moved,
        forgotten=terms.forgotten,
    )


def _next_mark(backup: Mark | None, seen: Mark | None) -> Mark:
    """Return a mark that is further than the backup's, and than what was last seen here."""
    reached = [each.commits for each in (backup, seen) if each is not None]
    store = backup.store if backup is not None else new_job_id()
    return Mark(store=store, commits=max(reached, default=0) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """How a copy stands to what happened since."""

    forgotten: int
    missing: tuple[str, ...]
    named: set[str]


async def _come_to_terms(
    fresh: Path,
    files: PictureFiles,
    *,
    beside: list[Path],
    since: list[oblivion.Line],
    mark: Mark,
    now: datetime,
) -> _Terms:
    database = Database(fresh)
    try:
        forgotten = await _forget_again(database, since, now)
        named = await database.read(kept_hashes)
        for source in beside:
            _bring_pictures(source, files, named)
        stored = frozenset(files.stored())
        missing = await database.write(partial(_settle, stored=stored, mark=mark, now=now))
        named = await database.read(kept_hashes)
    finally:
        await database.close()
    return _Terms(forgotten=forgotten, missing=missing, named=named)


async def _forget_again(database: Database, lines: list[oblivion.Line], now: datetime) -> int:
    if not lines:
        return 0

    async def people(connection: AsyncConnection) -> list[int]:
        statement = " UNION ".join(
            f"SELECT {column} FROM {table}"  # noqa: S608 - names of our own tables
            for table, column in (
                ("job", "requester_id"),
                ("note", "user_id"),
                ("macro", "user_id"),
                ("favourite", "user_id"),
                ("report", "reporter_id"),
                ("sent_message", "user_id"),
            )
        )
        statement += " UNION SELECT scope_id FROM preference WHERE scope = 'user'"
        return list((await connection.exec_driver_sql(statement)).scalars())

    gone = [
        user_id
        for user_id in await database.read(people)
        if any(line.means(user_id) for line in lines)
    ]
    for user_id in gone:
        await database.write(partial(forgetting.forget, user_id=user_id, now=now))
    return len(gone)


async def _settle(
    connection: AsyncConnection, *, stored: frozenset[str], mark: Mark, now: datetime
) -> tuple[str, ...]:
    """Let rows and files agree, and mark what may have been posted since; return who misses."""
    missing = await _settle_pictures(connection, stored, now)
    for job in await in_states(connection, _UNPOSTED):
        if job.post_started_at is None:
            await amend(connection, job, {"post_started_at": to_micros(job.created_at)})
    # Nobody's fault that those were running: this is no crash of theirs.
    await recovery.mark_clean_stop(connection)
    for name, value in ((STORE, mark.store), (COMMITS, str(mark.commits))):
        statement = insert(fact).values(name=name, value=value)
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_={"value": value})
        )
    return missing


async def _settle_pictures(
    connection: AsyncConnection, stored: frozenset[str], now: datetime
) -> tuple[str, ...]:
    statement = select(picture_table.c.job_id, picture_table.c.sha256)
    gone = {
        job_id
        for job_id, sha256 in (await connection.execute(statement)).all()
        if sha256 not in stored
    }
    for job in await _jobs(connection, gone):
        if job.state in FINAL_STATES:
            # As after Delete, which is what most of them are.
            await drop_files(connection, lambda table, its=job.id: table.c.job_id == its)  # type: ignore[misc]
            if job.deleted_at is None:
                await amend(connection, job, {"deleted_at": to_micros(now)})
        else:
            its = picture_table.c.job_id == job.id
            await connection.execute(delete(picture_table).where(its))
            started = job.post_started_at or job.created_at
            again = {"state": JobState.QUEUED.value, "post_started_at": to_micros(started)}
            await amend(connection, job, again)
    return tuple(sorted(gone))


async def _jobs(connection: AsyncConnection, ids: set[str]) -> list[Job]:
    found: list[Job] = []
    for state in JobState:
        found += [job for job in await in_states(connection, [state]) if job.id in ids]
    return found


def _bring_pictures(source: Path, files: PictureFiles, named: set[str]) -> None:
    """Take in pictures that are missing here: an exported backup's, or those once set aside."""
    if not source.is_dir():
        return
    beside, here = PictureFiles(source), set(files.stored())
    for name in sorted((named - here) & set(beside.stored())):
        target = files.path(name)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        backups.bring(beside.path(name), target)
        flush_folder(target.parent)


def _lost(old: Path, fresh: Path) -> int | None:
    """Count the jobs that the old database has and the new one has not; None where it is mute."""
    try:
        with closing(open_readonly(old)) as before, closing(open_readonly(fresh)) as after:
            ids = [
                {row[0] for row in each.execute("SELECT id FROM job")} for each in (before, after)
            ]
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    return len(ids[0] - ids[1])


def _swap(
    folder: Path, fresh: Path, files: PictureFiles, named: set[str], now: datetime
) -> tuple[Path | None, int]:
    """Move the old aside and the new into its place; a crash in between loses neither."""
    old = [folder / f"{DATABASE}{side}" for side in _SIDES]
    orphans = sorted(set(files.stored()) - named)
    backups.flush(fresh)
    aside = None
    if orphans or any(path.exists() for path in old):
        aside = _new_folder(folder, now)
        for name in orphans:
            target = aside / PICTURES / name[:2] / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.path(name).replace(target)
        # The logs first: a log beside another database would be taken for its own.
        for path in reversed(old):
            with suppress(FileNotFoundError):
                path.replace(aside / path.name)
        flush_folder(aside)
    fresh.replace(folder / DATABASE)
    flush_folder(folder)
    return aside, len(orphans)


def _new_folder(folder: Path, now: datetime) -> Path:
    stem = f"{ASIDE}-{now.astimezone(UTC):%Y%m%d-%H%M%S}"
    number = 0
    while True:
        path = folder / (f"{stem}-{number}" if number else stem)
        if not path.exists():
            path.mkdir(mode=0o700)
            return path
        number += 1
