"""Who was forgotten since the oldest backup, so that no restored backup remembers them.

A line for each: when, and a salted hash of the id, which tells nothing to those who do not know
the id already. Written before anything is forgotten, and dropped once no backup is older. Blocks.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from storage.files import flush_folder
from storage.rows import to_micros

NAME: Final = "easel.forgotten"
_SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One forgotten person."""

    moment: int
    salt: str
    digest: str

    def means(self, user_id: int) -> bool:
        """Say whether this is about somebody."""
        return self.digest == _digest(self.salt, user_id)


def note(folder: Path, user_id: int, *, now: datetime) -> None:
    """Write down that somebody is to be forgotten."""
    salt = secrets.token_hex(_SALT_BYTES)
    line = f"{to_micros(now)} {salt} {_digest(salt, user_id)}\n".encode("ascii")
    descriptor = os.open(
        folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    flush_folder(folder)


def since(folder: Path, moment: datetime) -> list[Line]:
    """Return who was forgotten since a moment; a line that a crash cut short says nothing."""
    return [line for line in _lines(folder) if line.moment >= to_micros(moment)]


def prune(folder: Path, *, before: datetime) -> None:
    """Drop what is from before the oldest backup."""
    kept = since(folder, before)
    if len(kept) == len(list(_lines(folder))):
        return
    path, fresh = folder / NAME, folder / f"{NAME}.new"
    text = "".join(f"{line.moment} {line.salt} {line.digest}\n" for line in kept)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    flush_folder(folder)


def _lines(folder: Path) -> Iterable[Line]:
    path = folder / NAME
    if not path.exists():
        return
    for text in path.read_text(encoding="ascii", errors="replace").splitlines():
        parts = text.split(" ")
        if len(parts) == 3 and parts[0].isdigit():
            yield Line(moment=int(parts[0]), salt=parts[1], digest=parts[2])


def _digest(salt: str, user_id: int) -> str:
    return hashlib.blake2b(str(user_id).encode("ascii"), key=salt.encode("ascii")).hexdigest()
