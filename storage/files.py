"""Pictures on disk, named by the hash of what they hold.

A picture is written to a temporary file, flushed, renamed into place, and its folder flushed, all
before any row speaks of it: so a row never names a file that is not wholly there. The reverse, a
file no row names, is what a crash leaves; `sweep` removes those at start. Names come from hashes
alone, never from anything a person typed. Everything here blocks; the store calls it in a thread.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Set
from contextlib import suppress
from pathlib import Path
from typing import Final

from storage.errors import StorageError, StoreDamaged

_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SHARD: Final = re.compile(r"[0-9a-f]{2}", re.ASCII)


class PictureFiles:
    """The folder of pictures, in 256 shards by the first two digits of the hash."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is touched yet."""
        self._folder = folder
        self._arriving = folder / "tmp"

    def prepare(self) -> None:
        """Create the folders."""
        self._arriving.mkdir(parents=True, exist_ok=True, mode=0o700)
        flush_folder(self._folder)
        flush_folder(self._folder.parent)

    def path(self, sha256: str) -> Path:
        """Return where the picture with this hash lies."""
        if _SHA256.fullmatch(sha256) is None:
            raise StoreDamaged(f"{sha256[:80]!r} is not the hash of a picture")
        return self._folder / sha256[:2] / sha256

    def write(self, pictures: Iterable[bytes]) -> list[str]:
        """Put pictures on the disk for good and return their hashes."""
        names: list[str] = []
        shards: set[Path] = set()
        for data in pictures:
            sha256 = hashlib.sha256(data).hexdigest()
            target = self.path(sha256)
            if not target.parent.is_dir():
                target.parent.mkdir(exist_ok=True, mode=0o700)
                flush_folder(self._folder)
            self._write_one(data, target)
            shards.add(target.parent)
            names.append(sha256)
        for shard in shards:
            flush_folder(shard)
        return names

    def read(self, sha256: str) -> bytes:
        """Return a picture, or say that it is missing or not what was written."""
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise StoreDamaged(f"the picture {path} is missing") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreDamaged(f"the picture {path} is not what was written: its hash differs")
        return data

    def remove(self, names: Iterable[str]) -> None:
        """Remove pictures; those already gone are no matter."""
        for shard, name in sorted((name[:2], name) for name in names):
            with suppress(FileNotFoundError):
                (self._folder / shard / name).unlink()

    def sweep(self, keep: Set[str]) -> int:
        """Remove half-written files and pictures that no row names; return how many went.

        While a picture that a row names is missing, none goes: it is not sure then that rows and
        files belong together, and one of these may be the one that a damaged row meant.
        """
        removed, stored = 0, set(self.stored())
        for entry in self._arriving.iterdir():
            if entry.is_file():
                entry.unlink()
                removed += 1
        for name in stored - keep if keep <= stored else ():
            self.path(name).unlink()
            removed += 1
        return removed

    def stored(self) -> Iterable[str]:
        """Yield the hash of every picture there is."""
        if not self._folder.is_dir():
            return
        for shard in sorted(self._folder.iterdir()):
            if _SHARD.fullmatch(shard.name) is None or not shard.is_dir():
                continue
            for entry in sorted(shard.iterdir()):
                if _SHA256.fullmatch(entry.name) is not None:
                    yield entry.name

    def _write_one(self, data: bytes, target: Path) -> None:
        # The name needs no random part: one process writes here, and a leftover is overwritten.
        arriving = self._arriving / target.name
        try:
            descriptor = os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            arriving.replace(target)
        except BaseException:
            with suppress(OSError):
                arriving.unlink()
            raise


def flush_folder(folder: Path) -> None:
    """Make a folder's entries survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Return how many bytes may still be written beside this folder."""
    try:
        state = os.statvfs(folder)
    except OSError as error:
        raise StorageError(f"cannot ask how much room {folder} has: {error.strerror}") from error
    return state.f_bavail * state.f_frsize
