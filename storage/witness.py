"""A second hand that counts along, so that a database cannot go back in time unnoticed.

Every transaction raises a number in the database by one; once it is committed the same number is
written here, beside it. A database that has fewer is an older copy, or has lost its write-ahead
log; one of another store has another name. Both are sound to SQLite, whose own checks see nothing.
Never flushed, so it costs microseconds: after a power cut it may be behind, which proves nothing,
but it is never ahead of what is on the disk.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STORE: Final = "store"
COMMITS: Final = "commits"
# In one statement, and only ever upwards.
COUNT: Final = (
    f"INSERT INTO fact (name, value) VALUES ('{COMMITS}', '1') ON CONFLICT (name) DO UPDATE SET "  # noqa: S608
    "value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) RETURNING CAST(value AS INTEGER)"
)
_LINE: Final = re.compile(r"([0-9a-z]{1,32}) ([0-9]{20}) ([0-9a-f]{16})\n", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a store had come: its name, and how many transactions it had committed."""

    store: str
    commits: int


class Witness:
    """The file; opened when first written."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is touched yet."""
        self._path = path
        self._descriptor: int | None = None

    def read(self) -> Mark | None:
        """Return what was last noted; None if there is nothing, or nothing legible."""
        try:
            text = self._path.read_bytes().decode("ascii", "replace")
        except FileNotFoundError:
            return None
        found = _LINE.fullmatch(text)
        if found is None or _digest(found[1], found[2]) != found[3]:
            return None
        return Mark(store=found[1], commits=int(found[2]))

    def note(self, mark: Mark) -> None:
        """Write down how far the store has come; a disk that takes nothing is no matter."""
        number = f"{mark.commits:020}"
        line = f"{mark.store} {number} {_digest(mark.store, number)}\n".encode("ascii")
        with suppress(OSError):
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
                os.ftruncate(self._descriptor, len(line))
            os.pwrite(self._descriptor, line, 0)

    def close(self) -> None:
        """Let go of the file; harmless when done twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _digest(store: str, number: str) -> str:
    return hashlib.blake2b(f"{store} {number}".encode("ascii"), digest_size=8).hexdigest()
