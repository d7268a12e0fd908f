"""What the database and the disk say, in the store's own words.

SQLite and the operating system report by number; here each number that a caller can act on becomes
one class and one sentence. No sentence repeats the statement or its values.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storage.errors import StorageError, StoreBusy, StoreDamaged, StoreFull

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
WAY_OUT: Final = (
    "`easel restore` puts the newest backup in its place and keeps this file beside it."
)
_KEPT: Final = "Everything stored before is still there; free some room and try again."


def is_busy(error: DBAPIError) -> bool:
    """Say whether another connection held a lock."""
    return _code(error) in _BUSY


def translate(error: DBAPIError, path: Path) -> StorageError:
    """Return what a database error means for the caller."""
    code = _code(error)
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"no room left for {path}. {_KEPT}")
    if code in _DAMAGED or "decode to UTF-8" in str(error.orig):
        return damaged(path)
    if code in _BUSY:
        return StoreBusy(f"another program holds {path}; nothing was changed")
    if code == sqlite3.SQLITE_READONLY:
        return StorageError(f"{path} cannot be written; check its owner and permissions")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StorageError(f"{path} cannot be opened; check its owner and permissions")
    name = getattr(error.orig, "sqlite_errorname", type(error.orig).__name__)
    return StorageError(f"the database {path} failed ({name}); nothing was changed")


def damaged(path: Path) -> StoreDamaged:
    """Return the error for a file that SQLite cannot make sense of."""
    return StoreDamaged(f"{path} is damaged. It was left as it is; {WAY_OUT}")


def translate_os(error: OSError, path: Path) -> StorageError:
    """Return what an operating system error means for the caller."""
    if error.errno in _NO_ROOM:
        return StoreFull(f"no room left in {path}. {_KEPT}")
    reason = error.strerror or type(error).__name__
    return StorageError(f"cannot write to {path}: {reason}. Check the path and its permissions.")


def _code(error: DBAPIError) -> int | None:
    # Extended codes carry the kind of error in their lowest byte.
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
