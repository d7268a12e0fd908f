"""Files of weights are trusted on first use: what each hashed to is kept and held against it.

Promises that a model's file which is no longer what it was is refused with a sentence before any
weight of it is loaded, if its size or times tell, and else soon after the start, by reading all of
it in a thread; that a file which is exchanged while it is loaded is refused too; and that only an
admin's word (`easel models trust NAME`) makes another file good. What lies beside the models is
`bot.trusted_addons`'. Models in the shipped format are not listed where their own config.json names
the hash, which loading checks. Never loads torch.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bot.config import Config, ModelConfig
from bot.exits import Exit
from bot.manifest import (
    MANIFEST,
    ChangedFileError,
    HaltedError,
    Stamp,
    Trusted,
    is_as,
    keep,
    look,
    put,
    read,
    stamp_of,
    today,
)
from bot.trusted_addons import SECTIONS, Addon, addons_of, look_over, tell
from diffusion import DiffusionError

__all__ = ["MANIFEST", "ChangedFileError", "check", "check_all", "files_of", "held", "trust"]

log = logging.getLogger(__name__)


def check(
    config: Config,
    *,
    only: str | None = None,
    thorough: bool = False,
    halted: Callable[[], bool] = lambda: False,
) -> None:
    """Hold the models' files (or one model's) against what they were when they were trusted.

    Without `thorough` only a file whose size or times changed is read; with it every file is, once
    per process, and those that were never seen are trusted from now on. Blocks; raises
    ChangedFileError, OSError.
    """
    known = read(config)
    fresh = dict(known)
    for alias, model in config.models.items():
        if only in (None, alias):
            for path in files_of(model):
                _check_file(alias, path, fresh, thorough=thorough, halted=halted)
    keep(config, known, fresh)


@contextmanager
def held(config: Config, alias: str) -> Iterator[None]:
    """Hold one model's files against the list, and see that they are the same after the block that
    loads them. Blocks; raises ChangedFileError, OSError.
    """
    before = _stamps(config.models[alias])
    check(config, only=alias)
    yield
    if _stamps(config.models[alias]) != before:
        raise ChangedFileError(
            f"[models.{alias}] a file of {config.models[alias].path} was changed while it was "
            "loaded. Start again when nobody writes to it; replace files by renaming."
        )


async def check_all(config: Config) -> None:
    """Read every model file beside everything else; raise Exit when one was changed.

    Of what lies beside the models only the log hears: it is refused when somebody asks for it.
    """
    halt = threading.Event()
    try:
        await asyncio.to_thread(check, config, thorough=True, halted=halt.is_set)
        beside = await asyncio.to_thread(look_over, config, halted=halt.is_set)
        for sentence in beside.changed:
            tell(sentence)
    except DiffusionError as error:
        raise Exit(str(error)) from error
    except HaltedError:
        return
    except OSError as error:
        log.warning("the files of weights could not be checked: %s", error)
    finally:
        # The thread would otherwise read gigabytes to their end before the program can.
        halt.set()


def trust(config: Config, name: str) -> Iterator[tuple[Path, str | None, str]]:
    """Take files as they are now; yield each with its hash before (or None) and now.

    `name` is a model's, whose files these are then, or that of a file beside the models:
    `loras/ink`, or `photo/loras/ink` where models have different files of that name. Raises Exit
    where there is none, or are several; ChangedFileError, OSError.
    """
    files = _files_named(config, name)
    known = read(config)
    fresh: dict[str, Trusted] = {}
    for path in files:
        before, now = known.get(str(path)), look(path)
        fresh[str(path)] = now.trusted(today())
        yield path, None if before is None else before.sha256, now.sha256
    put(config, known, fresh)


def files_of(model: ModelConfig) -> tuple[Path, ...]:
    """Return the weight files that a model is made of, without links; none in the shipped format
    whose own config.json names their hash.

    What cannot be opened is left to loading, which says why.
    """
    from diffusion.checkpoints import open_checkpoint
    from diffusion.files import checkpoint_file
    from diffusion.info import describe_model, is_shipped_format, model_path

    found: list[Path] = []
    try:
        path = model_path(model.path)
        if not is_shipped_format(path):
            found += open_checkpoint(path).files
        elif describe_model(path).sha256 is None:
            found.append(checkpoint_file(path))
        for extra in (model.vae, model.preview):
            if extra is not None:
                found += open_checkpoint(Path(extra)).files
    except DiffusionError:
        log.debug("the files of %s cannot be listed", model.path, exc_info=True)
    return tuple(dict.fromkeys(each.resolve() for each in found))


def _files_named(config: Config, name: str) -> tuple[Path, ...]:
    """Return the files that an admin means; Exit where that is not to be told."""
    addons = list(addons_of(config))
    if name in config.models:
        beside = [each for each in addons if (each.kind, each.alias) == ("describer", name)]
        return files_of(config.models[name]) + tuple(f for each in beside for f in each.files())
    found = {each.files(): each for each in addons if name in _names(each)}
    if len(found) > 1:
        told = ", ".join(_names(each)[-1] for each in found.values())
        raise Exit(f"{name!r:.80} is the name of several files: say which one, of {told}.")
    if found:
        return next(iter(found))
    labels = dict.fromkeys(each.label for each in addons if each.kind in SECTIONS)
    if "/" in name and labels:
        raise Exit(f"nothing is called {name!r:.80}; there are {', '.join([*labels][:20])}.")
    raise Exit(f"no model is called {name!r:.80}; there are {', '.join(config.models)}.")


def _names(addon: Addon) -> tuple[str, ...]:
    """Return what an admin may call a file, the longest last; a describer goes by its model."""
    if addon.kind == "describer":
        return ()
    return (addon.label, f"{addon.alias}/{addon.label}") if addon.alias else (addon.label,)


def _check_file(
    alias: str,
    path: Path,
    known: dict[str, Trusted],
    *,
    thorough: bool,
    halted: Callable[[], bool],
) -> None:
    before = known.get(str(path))
    if not thorough and (before is None or is_as(path, before)):
        return
    now = look(path, halted)
    if before is None:
        log.info("[models.%s] %s is trusted from now on: sha256 %s", alias, path, now.sha256)
    elif now.sha256 != before.sha256:
        raise ChangedFileError(
            f"[models.{alias}] {path} is not the file that was trusted on {before.since}: its "
            f"SHA-256 was {before.sha256}, now it is {now.sha256}. If you replaced it, say so with "
            f"`easel models trust {alias}`; if you did not, fetch it again from where it came."
        )
    known[str(path)] = now.trusted(today() if before is None else before.since)


def _stamps(model: ModelConfig) -> dict[Path, Stamp]:
    """Return the stamps of all that is loaded, of the shipped format's weights too."""
    from diffusion.files import checkpoint_file
    from diffusion.info import is_shipped_format, model_path

    paths = list(files_of(model))
    with suppress(DiffusionError):
        folder = model_path(model.path)
        if is_shipped_format(folder):
            paths.append(checkpoint_file(folder))
    return {path: stamp_of(path) for path in paths}
