"""Backups of the database, taken while it is in use, and looked at before they count.

A backup is one moment of the database: it is copied in small steps from a transaction that only
reads, so that no writer waits and no change in between is half in it. It is checked whole, flushed
and then renamed, so that what has a backup's name is one. Pictures are not in it: they are files
named by what they hold, written once, and `restoring` puts rows and files together again; `export`
adds them for another disk. Everything here blocks.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError

from storage.errors import StorageError
from storage.failures import translate, translate_os
from storage.files import PictureFiles, flush_folder
from storage.soundness import examine, open_readonly

FOLDER: Final = "backups"
# What begins the name of a folder that a restoring moves the old database to.
ASIDE: Final = "set-aside"
# `/forget-me` promises that nothing older is kept by Easel.
LONGEST_KEPT: Final = timedelta(hours=24)
_NAME: Final = re.compile(r"easel-(\d{8}-\d{6})(?:-(\d+))?\.db", re.ASCII)
_MOMENT: Final = "%Y%m%d-%H%M%S"
_STEP_PAGES: Final = 256
_HALF_DONE: Final = ".new"
_GIVEN_UP: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that is there; `jobs` is known of one that was just made or examined."""

    path: Path
    made_at: datetime
    size: int
    jobs: int = 0


class Stopped(StorageError):  # noqa: N818
    """The backup was given up because the store closes."""


def write(
    source: Path, folder: Path, *, now: datetime, is_stopping: Callable[[], bool] = lambda: False
) -> Backup:
    """Back a database up into a folder; it may be in use meanwhile."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _clear(folder, now)
        target = _free_name(folder, now)
        # Somebody may type `easel backup` while the bot makes its own.
        fresh = target.with_name(f"{target.name}.{os.getpid()}{_HALF_DONE}")
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            _copy(source, fresh, is_stopping)
            jobs = examine(fresh, every_row=True).jobs
            flush(fresh)
            fresh.replace(target)
            flush_folder(folder)
        except BaseException:
            with suppress(OSError):
                _remove(fresh)
            raise
    except OSError as error:
        raise translate_os(error, folder) from error
    return Backup(path=target, made_at=_whole(now), size=target.stat().st_size, jobs=jobs)


def found(folder: Path) -> list[Backup]:
    """Return the backups in a folder, newest first."""
    named: list[tuple[datetime, int, Path]] = []
    for path in folder.iterdir() if folder.is_dir() else ():
        parts = _NAME.fullmatch(path.name)
        if parts is not None and path.is_file():
            with suppress(ValueError):
                made_at = datetime.strptime(parts[1], _MOMENT).replace(tzinfo=UTC)
                named.append((made_at, int(parts[2] or 0), path))
    return [
        Backup(path=path, made_at=made_at, size=path.stat().st_size)
        for made_at, _, path in sorted(named, reverse=True)
    ]


def made_at(path: Path) -> datetime:
    """Return when a backup was made: by its name, or when the file was last changed."""
    parts = _NAME.fullmatch(path.name)
    with suppress(ValueError):
        if parts is not None:
            return datetime.strptime(parts[1], _MOMENT).replace(tzinfo=UTC)
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def prune(folder: Path, *, keep: int, now: datetime, spare_newest: bool = True) -> list[Path]:
    """Remove backups beyond a number or older than a day, but not the newest; return which."""
    gone = []
    for number, backup in enumerate(found(folder)):
        # From the future are those that a clock which was wrong made.
        is_old = abs(now - backup.made_at) >= LONGEST_KEPT
        if (number >= keep or is_old) and (number > 0 or not spare_newest):
            backup.path.unlink(missing_ok=True)
            gone.append(backup.path)
    return gone


def export(backup: Path, pictures: Path, into: Path) -> int:
    """Lay the pictures that a backup names beside it, each once; return how many were added."""
    with closing(open_readonly(backup)) as connection:
        names = named_files(connection)
    source, target = PictureFiles(pictures), PictureFiles(into)
    target.prepare()
    added = 0
    for name in sorted(names):
        to = target.path(name)
        if to.exists() or not source.path(name).exists():
            continue
        to.parent.mkdir(exist_ok=True, mode=0o700)
        bring(source.path(name), to)
        added += 1
    for shard in sorted({name[:2] for name in names}):
        if (into / shard).is_dir():
            flush_folder(into / shard)
    flush_folder(into)
    return added


def named_files(connection: sqlite3.Connection) -> set[str]:
    """Return the hashes of all files that the rows of a database name."""
    known = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    names: set[str] = set()
    for table in ("picture", "source", "state"):
        if table in known:
            names |= {row[0] for row in connection.execute(f"SELECT sha256 FROM {table}")}  # noqa: S608
    return names


def bring(source: Path, target: Path) -> None:
    """Copy a file so that it is there whole or not at all; it never changes, so a link will do."""
    fresh = target.with_name(target.name + _HALF_DONE)
    fresh.unlink(missing_ok=True)
    try:
        os.link(source, fresh)
    except OSError:
        bring_copy(source, fresh)
    fresh.replace(target)


def bring_copy(source: Path, target: Path) -> None:
    """Copy a file that will be written to later, for its owner alone."""
    shutil.copyfile(source, target)
    target.chmod(0o600)
    flush(target)


def flush(path: Path) -> None:
    """Make a file's content survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(source: Path, fresh: Path, is_stopping: Callable[[], bool]) -> None:
    def look(_status: int, _left: int, _total: int) -> None:
        if is_stopping():
            raise Stopped("the backup was given up because Easel stops")

    try:
        with closing(open_readonly(source)) as reading, closing(sqlite3.connect(fresh)) as writing:
            # From within one transaction all steps see the same moment, whoever writes meanwhile.
            reading.isolation_level = None
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
            reading.backup(writing, pages=_STEP_PAGES, progress=look)
            # One file, without a log of its own beside it.
            writing.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.Error as error:
        about = source if not _is_full(error) else fresh.parent
        raise translate(DBAPIError("", None, error), about) from error


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _free_name(folder: Path, now: datetime) -> Path:
    stem = f"easel-{now.astimezone(UTC).strftime(_MOMENT)}"
    taken = {path.name for path in folder.iterdir()}
    number = 0
    name = f"{stem}.db"
    while name in taken:
        number += 1
        name = f"{stem}-{number}.db"
    return folder / name


def _clear(folder: Path, now: datetime) -> None:
    for path in folder.iterdir():
        if path.name.startswith("easel-") and path.name.endswith(_HALF_DONE):
            with suppress(FileNotFoundError):
                if now.timestamp() - path.stat().st_mtime > _GIVEN_UP.total_seconds():
                    _remove(path)


def _remove(path: Path) -> None:
    for side in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)


def _whole(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0)
