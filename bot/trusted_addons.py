"""Files of weights beside the models, trusted on first use like these: LoRAs, ControlNets, textual
inversions, describers and the upscaler.

Promises that such a file is read in full once per process before its first use, held against what
it hashed to when it was trusted, and looked at again when it was loaded: what is kept in memory is
what was checked, unless somebody changed the file and put it back within the loading. A file that
changed, or that a link now leads out of its folder to, is refused alone: the person reads a
sentence, the log has both hashes, the bot goes on. A new file is trusted once it was loaded. The
list is read each time, so an admin's word holds at once. Whoever can make files in the data folder
is trusted. Never loads torch.
"""

import logging
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from bot.config import Config
from bot.manifest import (
    ChangedFileError,
    Seen,
    Trusted,
    is_as,
    keep,
    look,
    read,
    seen_before,
    today,
)
from diffusion import CheckpointError, DiffusionError
from diffusion.addon_files import enumerate_files
from diffusion.vouching import Kind

# The sections of config.toml, which are what an admin knows these files by.
SECTIONS: Final[dict[Kind, str]] = {
    "lora": "loras",
    "controlnet": "controls",
    "embedding": "embeddings",
    "upscaler": "upscale",
}
# Larger files are left to their loading: whoever typed a prompt waits for its answer.
QUICK_BYTES: Final = 256 << 20

log = logging.getLogger(__name__)

# What was logged: a file that is asked for again and again is told of once.
_told: set[str] = set()


class ChangedAddonError(ChangedFileError):
    """A file beside a model is not the one that was trusted; the text is for the admin."""

    def __init__(self, addon: "Addon", text: str) -> None:
        """Keep what the file is, for the sentence that people read."""
        super().__init__(text)
        self.kind, self.name = addon.kind, addon.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Addon:
    """A file of weights, or a ControlNet's folder. `home`: the folder that it may not lead out of.

    `alias` is the model it lies beside, empty for the upscaler; `name` what people call it.
    """

    kind: Kind
    alias: str
    name: str
    path: Path
    home: Path | None = None

    @property
    def label(self) -> str:
        """Return what `easel models trust` takes for it."""
        if self.kind == "describer":
            return self.alias
        return f"{SECTIONS[self.kind]}/{self.name}"

    def files(self) -> tuple[Path, ...]:
        """Return its files, without links. CheckpointError, ChangedAddonError, OSError."""
        found: tuple[Path, ...] = (self.path,)
        if self.path.is_dir():
            from diffusion.checkpoints import open_checkpoint

            found = open_checkpoint(self.path).files
        whole = tuple(each.resolve(strict=True) for each in found)
        for each in whole:
            if self.home is not None and not each.is_relative_to(self.home.resolve()):
                text = f"{self.label}: {self.path} is a link now that leads out of its folder"
                raise ChangedAddonError(self, f"{text}, to {each}. It is not used.")
        return whole


class Standing(NamedTuple):
    """How files beside the models stand: how many are as they were trusted, how many were never
    used, and a sentence for each that changed.
    """

    good: int
    fresh: int
    changed: tuple[str, ...]


def addons_of(config: Config) -> Iterator[Addon]:
    """Yield every file beside the models that the settings let the bot load. Reads folders."""
    from diffusion.info import DESCRIBER_NAME, is_packaged, model_path

    for alias, model in config.models.items():
        folders: dict[Kind, Path | None] = {
            "lora": model.loras,
            "controlnet": model.controls,
            "embedding": model.embeddings,
        }
        try:
            for kind, folder in folders.items():
                for path in enumerate_files(folder).values():
                    yield addon_of(config, alias, kind, path)
            describer = model_path(model.path) / DESCRIBER_NAME
            if describer.is_file() and not is_packaged(describer):
                yield addon_of(config, alias, "describer", describer)
        except (DiffusionError, OSError):
            log.debug("what lies beside %s cannot be listed", model.path, exc_info=True)
    if config.upscale.path is not None and config.upscale.path.is_file():
        yield addon_of(config, "", "upscaler", config.upscale.path)


def addon_of(config: Config, alias: str, kind: Kind, path: Path) -> Addon:
    """Return what a file is, as the settings name it."""
    model = config.models.get(alias)
    homes = {} if model is None else {
        "lora": model.loras, "controlnet": model.controls, "embedding": model.embeddings,
    }  # fmt: skip
    name = alias if kind == "describer" else path.name.removesuffix(".safetensors")
    return Addon(kind=kind, alias=alias, name=name, path=path, home=homes.get(kind))


@contextmanager
def vouched(config: Config, alias: str, kind: Kind, path: Path) -> Iterator[None]:
    """Hold a file against what it was around the block that loads it.

    Reads it in full the first time in this process, and after it changed. Raises ChangedAddonError
    before the block, or after it where the file is another one by then; CheckpointError where it
    cannot be read. A file that was never seen is trusted when the block ends without an error.
    Nothing else comes out of it, so that it may stand in the device's own thread.
    """
    from diffusion.info import is_packaged

    addon = addon_of(config, alias, kind, path)
    if kind == "describer" and is_packaged(path):
        # It comes with Easel, and goes with its next version.
        yield
        return
    known, before = _held(config, addon)
    fresh = {str(each): _entry(known, each, seen) for each, seen in before.items()}
    yield
    if _seen(addon) != before:
        text = f"{addon.label}: {path} was changed while it was loaded, and is not used."
        raise _refusal(addon, text)
    for each in before.keys() - {Path(name) for name in known}:
        log.info("%s: %s is trusted from now on: sha256 %s", addon.label, each, before[each].sha256)
    try:
        keep(config, known, fresh)
    except ChangedFileError as error:
        raise _refusal(addon, str(error)) from error


def refuse_changed(config: Config, alias: str, kind: Kind, path: Path) -> None:
    """Refuse a file that is known to have changed, before a job for it is accepted. Blocks.

    Reads what is not large and has other times than it had; all else is left to the loading.
    """
    addon = addon_of(config, alias, kind, path)
    known = _known(config, addon)
    try:
        for each in addon.files():
            before = known.get(str(each))
            if before is None:
                continue
            seen = seen_before(each)
            if seen is None and not is_as(each, before) and each.stat().st_size <= QUICK_BYTES:
                seen = look(each)
            if seen is not None and seen.sha256 != before.sha256:
                raise _changed(addon, each, before, seen)
    except ChangedAddonError as error:
        raise _logged(error) from None
    except (OSError, DiffusionError):
        log.debug("%s cannot be looked at", path, exc_info=True)


def look_over(
    config: Config, *, thorough: bool = False, halted: Callable[[], bool] = lambda: False
) -> Standing:
    """Hold all files beside the models against the list; nothing is trusted or written. Blocks.

    Without `thorough` only files whose size or times changed are read. Raises ChangedFileError
    where the list cannot be read, and HaltedError.
    """
    known = read(config)
    done: set[Path] = set()
    good = fresh = 0
    changed: list[str] = []
    for addon in addons_of(config):
        try:
            for each in set(addon.files()) - done:
                done.add(each)
                before = known.get(str(each))
                if before is None:
                    fresh += 1
                    continue
                is_same = not thorough and is_as(each, before)
                seen = None if is_same else look(each, halted)
                if seen is None or seen.sha256 == before.sha256:
                    good += 1
                else:
                    changed.append(str(_changed(addon, each, before, seen)))
        except ChangedAddonError as error:
            changed.append(str(error))
        except (OSError, DiffusionError):
            log.debug("%s cannot be looked at", addon.path, exc_info=True)
    return Standing(good=good, fresh=fresh, changed=tuple(changed))


def tell(sentence: str) -> None:
    """Log a refusal for the admin, once for each process."""
    if sentence not in _told:
        _told.add(sentence)
        log.error("%s", sentence)


def _held(config: Config, addon: Addon) -> tuple[dict[str, Trusted], dict[Path, Seen]]:
    """Return the list, and what the file's bytes are; refuse one that is not as it was."""
    known = _known(config, addon)
    before = _seen(addon)
    for each, seen in before.items():
        trusted = known.get(str(each))
        if trusted is not None and trusted.sha256 != seen.sha256:
            raise _logged(_changed(addon, each, trusted, seen))
    return known, before


def _seen(addon: Addon) -> dict[Path, Seen]:
    try:
        return {each: look(each) for each in addon.files()}
    except ChangedAddonError as error:
        raise _logged(error) from None
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"{addon.path} cannot be read: {reason}.") from error


def _known(config: Config, addon: Addon) -> dict[str, Trusted]:
    try:
        return read(config)
    except ChangedFileError as error:
        raise _refusal(addon, str(error)) from error


def _entry(known: dict[str, Trusted], path: Path, seen: Seen) -> Trusted:
    before = known.get(str(path))
    return seen.trusted(today() if before is None else before.since)


def _changed(addon: Addon, path: Path, before: Trusted, seen: Seen) -> ChangedAddonError:
    return ChangedAddonError(
        addon,
        f"{addon.label}: {path} is not the file that was trusted on {before.since}: its SHA-256 "
        f"was {before.sha256}, now it is {seen.sha256}. It is not used. If you replaced it, say so "
        f"with `easel models trust {shlex.quote(addon.label)}`; if you did not, fetch it again "
        "from where it came.",
    )


def _refusal(addon: Addon, text: str) -> ChangedAddonError:
    return _logged(ChangedAddonError(addon, text))


def _logged(error: ChangedAddonError) -> ChangedAddonError:
    tell(str(error))
    return error
