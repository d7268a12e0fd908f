"""Taking a folder: everything that must be true before the first question is asked of it.

In this order: the folder exists, it is ours alone, the database is sound and of this version, and
the pictures belong to it. A folder that fails is left as it was found. All of it blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import aiosqlite

from storage.errors import StorageError, StoreDamaged
from storage.failures import translate_os
from storage.files import PictureFiles
from storage.lock import InstanceLock
from storage.witness import Witness

# The names of what lies in a store's folder.
DATABASE: Final = "easel.db"
LOCK: Final = "easel.lock"
WITNESS: Final = "easel.witness"
PICTURES: Final = "pictures"
# The first with UPDATE … RETURNING.
_OLDEST_SQLITE: Final = (3, 35, 0)


def require_free(folder: Path) -> None:
    """Raise StoreLocked at once where another process has the folder; otherwise change nothing.

    For a start that has much to do before it opens the store: `open_folder` decides all the same.
    """
    try:
        if (folder / LOCK).exists():
            InstanceLock(folder / LOCK).release()
    except OSError as error:
        raise translate_os(error, folder) from error


def look_beside(folder: Path) -> int:
    """Check the database of a folder that another process has, and change nothing.

    Its structure and the checksum of every job are looked at; returns how many jobs there are.
    Raises StoreDamaged or StoreBusy.
    """
    from storage.soundness import examine

    return examine(folder / DATABASE, every_row=True).jobs


def open_folder(folder: Path) -> InstanceLock:
    """Prepare a folder for use and return the lock that holds it."""
    if aiosqlite.sqlite_version_info < _OLDEST_SQLITE:
        raise StorageError(
            f"this Python has SQLite {aiosqlite.sqlite_version}; Easel needs 3.35 or newer. Use a "
            "Python built with one."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = InstanceLock(folder / LOCK)
    except OSError as error:
        raise translate_os(error, folder) from error
    try:
        _prepare(folder)
    except OSError as error:
        lock.release()
        raise translate_os(error, folder) from error
    except BaseException:
        lock.release()
        raise
    return lock


def _prepare(folder: Path) -> None:
    # Alembic is needed for a moment at start only; importing it here keeps `import storage` quick.
    from storage.migrate import is_new, prepare_database

    path = folder / DATABASE
    files = PictureFiles(folder / PICTURES)
    seen = Witness(folder / WITNESS).read()
    # An empty database beside pictures is a lost database, and sweeping would lose the rest.
    if is_new(path) and (seen or next(iter(files.stored()), None) is not None):
        raise StoreDamaged(
            f"{path} is missing or empty, but {folder} was in use before. `easel restore` brings "
            "the newest backup back; to begin anew, give Easel an empty folder."
        )
    prepare_database(path, seen)
    files.prepare()
