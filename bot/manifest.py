"""The list of trusted files, `models.json` in the data folder, and what files hash to now.

Promises that the list is replaced whole or not at all; that of two processes which change it
neither loses the other's word; and that a hash belongs to the bytes of the file whose stamp it
carries: a stamp is the file's place on the disk, its size and both of its times, and the time of a
change cannot be set back. Never loads torch.
"""

import fcntl
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from errno import EBUSY, EINVAL
from pathlib import Path
from typing import Final, NamedTuple

from bot.config import Config
from diffusion import CheckpointError

MANIFEST: Final = "models.json"
# Two changes within one tick of a file system's clock look like one, and some tick in 2 seconds: a
# younger file is read again each time.
SETTLED_NS: Final = 2_000_000_000
_BLOCK: Final = 1 << 20

log = logging.getLogger(__name__)


class ChangedFileError(CheckpointError):
    """A file of weights is not the one that was trusted; the text says what to do."""


class HaltedError(Exception):
    """Nobody waits for the hash any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """One file as it was: hash, bytes, times of its last change in ns, and the day it was seen."""

    sha256: str
    size: int
    modified: int
    moved: int
    since: str


class Stamp(NamedTuple):
    """What tells a file from every other, and from itself after a change; times in ns."""

    device: int
    inode: int
    size: int
    modified: int
    moved: int


class Seen(NamedTuple):
    """What a file hashed to, and its stamp at that time."""

    sha256: str
    stamp: Stamp

    def trusted(self, since: str) -> Trusted:
        """Return it as it stands in the list."""
        return Trusted(
            sha256=self.sha256,
            size=self.stamp.size,
            modified=self.stamp.modified,
            moved=self.stamp.moved,
            since=since,
        )


# What this process read, by path: no file is read again before it changed.
_seen: dict[Path, Seen] = {}


def today() -> str:
    """Return the day that a file which is trusted now is trusted since."""
    return datetime.now(UTC).date().isoformat()


def stamp_of(path: Path) -> Stamp:
    """Return a file's stamp; OSError where there is none."""
    return _stamp(path.stat())


def is_as(path: Path, before: Trusted) -> bool:
    """Say whether size and times are those of the list. OSError where there is no file."""
    now = stamp_of(path)
    return (now.size, now.modified, now.moved) == (before.size, before.modified, before.moved)


def seen_before(path: Path) -> Seen | None:
    """Return what a file hashed to if this process read it and it is the same since."""
    seen = _seen.get(path)
    return seen if seen is not None and seen.stamp == stamp_of(path) else None


def look(path: Path, halted: Callable[[], bool] = lambda: False) -> Seen:
    """Return what a file hashes to; it is read once, and again after it changed. Blocks.

    OSError where it cannot be read, is no regular file, or is written to meanwhile; HaltedError.
    """
    seen = seen_before(path)
    if seen is not None:
        return seen
    digest, begun = hashlib.sha256(), time.time_ns()
    # Without O_NONBLOCK a pipe that was put into the file's place would hold us for good.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        told = os.fstat(file.fileno())
        if not stat.S_ISREG(told.st_mode):
            raise OSError(EINVAL, "it is no regular file", str(path))
        while block := file.read(_BLOCK):
            digest.update(block)
            if halted():
                raise HaltedError
        stamp = _stamp(os.fstat(file.fileno()))
    if stamp != _stamp(told):
        raise OSError(EBUSY, "it was written to while it was read", str(path))
    seen = Seen(digest.hexdigest(), stamp)
    if begun - stamp.moved > SETTLED_NS:
        _seen[path] = seen
    return seen


def read(config: Config) -> dict[str, Trusted]:
    """Return the list, by path; ChangedFileError when there is one that cannot be read."""
    path = config.storage.folder / MANIFEST
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {name: Trusted(**fields) for name, fields in listed["files"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ChangedFileError(
            f"{path}, which holds the hashes of the trusted files, cannot be read ({error}). If "
            "you know that the files of weights are good, delete it: they are then trusted anew."
        ) from error


def put(config: Config, known: Mapping[str, Trusted], fresh: Mapping[str, Trusted]) -> None:
    """Write into the list what `fresh` has otherwise than `known`, which was read before.

    An entry that somebody else changed since stays as they left it. OSError where nothing can be
    written; ChangedFileError.
    """
    changes = {name: each for name, each in fresh.items() if known.get(name) != each}
    if not changes:
        return
    with _locked(config.storage.folder) as folder:
        listed = read(config)
        mine = {name: each for name, each in changes.items() if listed.get(name) == known.get(name)}
        if mine:
            _write(config.storage.folder / MANIFEST, {**listed, **mine})
            os.fsync(folder)


def keep(config: Config, known: Mapping[str, Trusted], fresh: Mapping[str, Trusted]) -> None:
    """Do as `put`, but only log what cannot be written: what was read is good all the same."""
    try:
        put(config, known, fresh)
    except OSError as error:
        log.warning("the hashes of trusted files cannot be kept: %s", error)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Keep other writers of the list out, of this process and of others, for milliseconds."""
    path.mkdir(parents=True, exist_ok=True)
    # The folder itself: a lock file of the admin's would be closed to the bot's own user.
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _write(path: Path, known: Mapping[str, Trusted]) -> None:
    files = {name: asdict(each) for name, each in sorted(known.items())}
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump({"files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _stamp(told: os.stat_result) -> Stamp:
    return Stamp(told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns)
