"""Model files are trusted on first use: what each hashed to is kept, and held against it later.

Promises that a file which is no longer what it was is refused with a sentence before any weight of
it is loaded, if its size or times tell, and else soon after the start, by reading all of it in a
thread; that only an admin's word (`easel models trust NAME`) makes another file good; and that the
list of hashes is replaced whole or not at all. Models in the shipped format are not listed: their
own config.json names the hash, which loading checks. Never loads torch.
"""

import asyncio
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bot.config import Config, ModelConfig
from bot.exits import Exit
from diffusion import CheckpointError, DiffusionError

MANIFEST: Final = "models.json"
_BLOCK: Final = 1 << 20

log = logging.getLogger(__name__)


class ChangedFileError(CheckpointError):
    """A file of a model is not the one that was trusted; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """One file as it was: hash, bytes, times of its last change in ns, and the day it was seen."""

    sha256: str
    size: int
    modified: int
    moved: int
    since: str


class _HaltedError(Exception):
    """Nobody waits for the hash any more."""


def check(
    config: Config,
    *,
    only: str | None = None,
    thorough: bool = False,
    halted: Callable[[], bool] = lambda: False,
) -> None:
    """Hold the models' files (or one model's) against what they were when they were trusted.

    Without `thorough` only a file whose size or times changed is read; with it every file is, and
    those that were never seen are trusted from now on. Blocks; raises ChangedFileError.
    """
    known = _read(config)
    fresh = dict(known)
    for alias, model in config.models.items():
        if only in (None, alias):
            for path in files_of(model):
                _check_file(alias, path, fresh, thorough=thorough, halted=halted)
    if fresh != known:
        _write(config, fresh)


async def check_all(config: Config) -> None:
    """Read every model file beside everything else; raise Exit when one was changed."""
    halt = threading.Event()
    try:
        await asyncio.to_thread(check, config, thorough=True, halted=halt.is_set)
    except DiffusionError as error:
        raise Exit(str(error)) from error
    except _HaltedError:
        return
    except OSError as error:
        log.warning("the models' files could not be checked: %s", error)
    finally:
        # The thread would otherwise read gigabytes to their end before the program can.
        halt.set()


def trust(config: Config, alias: str) -> Iterator[tuple[Path, str | None, str]]:
    """Take a model's files as they are now; yield each with its hash before (or None) and now."""
    if alias not in config.models:
        raise Exit(f"no model is called {alias!r:.80}; there are {', '.join(config.models)}.")
    fresh = _read(config)
    for path in files_of(config.models[alias]):
        before = fresh.get(str(path))
        fresh[str(path)] = now = _look(path)
        yield path, None if before is None else before.sha256, now.sha256
    _write(config, fresh)


def files_of(model: ModelConfig) -> tuple[Path, ...]:
    """Return the weight files that a model is made of, without links; none in the shipped format.

    What cannot be opened is left to loading, which says why.
    """
    from diffusion.checkpoints import open_checkpoint
    from diffusion.info import is_shipped_format, model_path

    found: list[Path] = []
    try:
        path = model_path(model.path)
        if not is_shipped_format(path):
            found += open_checkpoint(path).files
        for extra in (model.vae, model.preview):
            if extra is not None:
                found += open_checkpoint(Path(extra)).files
    except DiffusionError:
        log.debug("the files of %s cannot be listed", model.path, exc_info=True)
    return tuple(dict.fromkeys(each.resolve() for each in found))


def _check_file(
    alias: str,
    path: Path,
    known: dict[str, Trusted],
    *,
    thorough: bool,
    halted: Callable[[], bool],
) -> None:
    before = known.get(str(path))
    if not thorough and (before is None or _is_as(path, before)):
        return
    now = _look(path, halted)
    if before is None:
        log.info("[models.%s] %s is trusted from now on: sha256 %s", alias, path, now.sha256)
    elif now.sha256 != before.sha256:
        raise ChangedFileError(
            f"[models.{alias}] {path} is not the file that was trusted on {before.since}: its "
            f"SHA-256 was {before.sha256}, now it is {now.sha256}. If you replaced it, say so with "
            f"`easel models trust {alias}`; if you did not, fetch it again from where it came."
        )
    known[str(path)] = now if before is None else _seen(path, now.sha256, before.since)


def _is_as(path: Path, before: Trusted) -> bool:
    now = path.stat()
    then = before.size, before.modified, before.moved
    return (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == then


def _look(path: Path, halted: Callable[[], bool] = lambda: False) -> Trusted:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if halted():
                raise _HaltedError
    return _seen(path, digest.hexdigest(), datetime.now(UTC).date().isoformat())


def _seen(path: Path, sha256: str, since: str) -> Trusted:
    now = path.stat()
    return Trusted(
        sha256=sha256,
        size=now.st_size,
        modified=now.st_mtime_ns,
        moved=now.st_ctime_ns,
        since=since,
    )


def _read(config: Config) -> dict[str, Trusted]:
    path = config.storage.folder / MANIFEST
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {name: Trusted(**fields) for name, fields in listed["files"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ChangedFileError(
            f"{path}, which holds the hashes of the trusted model files, cannot be read ({error}). "
            "If you know that the models' files are good, delete it: they are then trusted anew."
        ) from error


def _write(config: Config, known: dict[str, Trusted]) -> None:
    path = config.storage.folder / MANIFEST
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {name: asdict(each) for name, each in sorted(known.items())}
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump({"files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
