import errno
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from storage.errors import StorageError, StoreBusy, StoreDamaged, StoreFull
from storage.failures import is_busy, translate, translate_os

PATH = Path("/data/easel.db")


def reported(code: int, text: str = "what SQLite says") -> DBAPIError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return DBAPIError("SELECT secret", {"prompt": "secret"}, error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_CORRUPT, StoreDamaged),
        (sqlite3.SQLITE_CORRUPT_VTAB, StoreDamaged),
        (sqlite3.SQLITE_NOTADB, StoreDamaged),
        (sqlite3.SQLITE_BUSY, StoreBusy),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreBusy),
        (sqlite3.SQLITE_READONLY, StorageError),
        (sqlite3.SQLITE_CANTOPEN, StorageError),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageError),
    ],
)
def test_each_code_has_its_class_and_no_statement_leaks(
    code: int, kind: type[StorageError]
) -> None:
    error = translate(reported(code), PATH)
    assert type(error) is kind
    assert str(PATH) in str(error)
    assert "secret" not in str(error)
    assert is_busy(reported(code)) == (kind is StoreBusy)


def test_text_that_is_no_text_is_damage() -> None:
    error = reported(sqlite3.SQLITE_ERROR, "Could not decode to UTF-8 column 'prompt'")
    assert type(translate(error, PATH)) is StoreDamaged


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_is_said_so(number: int) -> None:
    assert type(translate_os(OSError(number, "x"), PATH)) is StoreFull


def test_other_trouble_names_the_reason() -> None:
    error = translate_os(OSError(errno.EROFS, "Read-only file system"), PATH)
    assert type(error) is StorageError
    assert "Read-only file system" in str(error)
