"""What a model is, read from its description alone.

Promises: `describe_model` reads JSON files and the heads of weight files and nothing else, so the
bot can resolve sizes and defaults while the weights are not loaded (or cannot be). Never imports
torch, never runs what it reads.

## The description of the shipped model
`<folder>/config.json` is an object. This module reads `name` (else the folder's), `family`,
`native_width`, `native_height`, `size_multiple`, `display_scale`, `defaults`, `sha256` and
`credits` (whose work it was trained on: at most 64 short texts) and leaves every other key (the
networks' sizes, the noise schedule) to the loader.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diffusion.checkpoints.header import read_header
from diffusion.errors import CheckpointError, ParamsError, UnknownModelError
from diffusion.names import nearest
from diffusion.params import MAX_SIDE, Params

CONFIG_NAME: Final = "config.json"
DESCRIBER_NAME: Final = "describer.safetensors"
MAX_CONFIG_BYTES: Final = 1_000_000
MAX_DISPLAY_SCALE: Final = 16
MAX_CREDITS: Final = 64
MAX_CREDIT: Final = 300

_ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefaults:
    """The settings a model looks best with."""

    steps: int
    guidance_scale: float
    sampler: str
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model as the bot knows it.

    Sizes in pixels; pictures are posted enlarged `display_scale` times; `path` is its folder or
    file. `credits` names authors and licences of what it was trained on, where it says so, and
    `describer_credits` those of what its describer was trained on, where one lies beside it.
    """

    name: str
    family: str
    path: str
    native_width: int
    native_height: int
    size_multiple: int
    display_scale: int
    defaults: ModelDefaults
    sha256: str | None
    credits: tuple[str, ...] = ()
    describer_credits: tuple[str, ...] = ()

    @property
    def native_area(self) -> int:
        """Pixels of the native size, which other aspect ratios keep."""
        return self.native_width * self.native_height


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models that come with Easel."""
    root = _models_root()
    if not root.is_dir():
        return ()
    return tuple(sorted(path.parent.name for path in root.glob(f"*/{CONFIG_NAME}")))


def model_path(name_or_path: str | Path) -> Path:
    """Return the folder of a shipped model by its name, or any model's folder or file."""
    text = str(name_or_path)
    if isinstance(name_or_path, str) and _ALIAS.fullmatch(text):
        shipped = _models_root() / text
        if (shipped / CONFIG_NAME).is_file():
            return shipped
    path = _existing(text)
    if path is not None:
        return path
    known = shipped_models()
    hint = nearest(text, known) if len(text) < 80 else None
    advice = f"did you mean {hint!r}?" if hint else f"shipped models: {', '.join(known) or 'none'}"
    raise UnknownModelError(
        f"model {text[:200]!r}: neither a shipped model nor an existing folder or file; {advice}"
    )


def is_packaged(path: Path) -> bool:
    """Whether a file belongs to a model that comes and goes with Easel's own code."""
    return path.resolve().is_relative_to(_models_root().resolve())


def is_shipped_format(path: Path) -> bool:
    """Whether a model is a folder in the shipped model's own format, not in a hub's."""
    return path.is_dir() and not (path / "model_index.json").is_file()


def describe_model(name_or_path: str | Path) -> ModelInfo:
    """Describe a shipped model, a folder of components, or a .safetensors file.

    Raises UnknownModelError when there is nothing of that name, CheckpointError when what is there
    is damaged or no model.
    """
    path = model_path(name_or_path)
    if is_shipped_format(path):
        return parse_info(read_config(path), folder=path, source=path / CONFIG_NAME)
    from diffusion.foreign import describe_checkpoint

    return describe_checkpoint(path)


def read_config(folder: Path) -> dict[str, object]:
    """Return the whole of `<folder>/config.json`; CheckpointError when it is not an object."""
    source = folder / CONFIG_NAME
    try:
        size = source.stat().st_size
        if size > MAX_CONFIG_BYTES:
            raise CheckpointError(f"{source}: {size} bytes, the limit is {MAX_CONFIG_BYTES}")
        value = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{source}: missing; a model's folder needs it to say what the weights are"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{source}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{source}: must hold one object, not {type(value).__name__}")
    return value


def parse_info(config: Mapping[str, object], *, folder: Path, source: Path) -> ModelInfo:
    """Check the part of a description that the bot needs."""
    read = _Reader(config, source)
    multiple = read.integer("size_multiple", 1, 512, default=8)
    digest = config.get("sha256")
    if digest is not None and not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise read.error("sha256", digest, "64 lower-case hex digits")
    width = read.integer("native_width", 8, MAX_SIDE)
    height = read.integer("native_height", 8, MAX_SIDE)
    for key, side in (("native_width", width), ("native_height", height)):
        if side % multiple:
            raise read.error(key, side, f"divisible by size_multiple, which is {multiple}")
    return ModelInfo(
        name=read.text("name", default=folder.resolve().name),
        family=read.text("family"),
        path=str(folder),
        native_width=width,
        native_height=height,
        size_multiple=multiple,
        display_scale=read.integer("display_scale", 1, MAX_DISPLAY_SCALE, default=1),
        defaults=_defaults(read),
        sha256=digest,
        credits=read.lines("credits"),
        describer_credits=_describer_credits(folder),
    )


def _describer_credits(folder: Path) -> tuple[str, ...]:
    """Return whom the describer beside a model learned from; a damaged one says nothing here."""
    try:
        listed = read_header(folder / DESCRIBER_NAME).metadata.get("credits", "")
    except CheckpointError:
        return ()
    return tuple(line[:MAX_CREDIT] for line in listed.splitlines()[:MAX_CREDITS])


def _defaults(read: "_Reader") -> ModelDefaults:
    given = read.config.get("defaults", {})
    names = ("steps", "guidance_scale", "sampler", "schedule")
    if not isinstance(given, dict) or not set(given) <= set(names):
        raise read.error("defaults", given, f"an object with the keys {', '.join(names)}")
    try:
        # Params owns the limits; a description may not default to what a person may not type.
        checked = Params(prompt="", **given)
    except ParamsError as error:
        raise CheckpointError(f"{read.source}: defaults.{error}") from error
    return ModelDefaults(
        steps=checked.steps,
        guidance_scale=checked.guidance_scale,
        sampler=checked.sampler,
        schedule=checked.schedule,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    config: Mapping[str, object]
    source: Path

    def error(self, key: str, value: object, wanted: str) -> CheckpointError:
        shown = "missing" if value is None else f"{value!r:.80}"
        return CheckpointError(f"{self.source}: {key} is {shown}, must be {wanted}")

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.config.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.error(key, value, f"a whole number from {low} to {high}")
        return value

    def lines(self, key: str) -> tuple[str, ...]:
        value = self.config.get(key, [])
        wanted = f"a list of at most {MAX_CREDITS} texts of at most {MAX_CREDIT} characters"
        if not isinstance(value, list) or len(value) > MAX_CREDITS:
            raise self.error(key, value, wanted)
        if not all(isinstance(line, str) and len(line) <= MAX_CREDIT for line in value):
            raise self.error(key, value, wanted)
        return tuple(value)

    def text(self, key: str, default: str | None = None) -> str:
        if key not in self.config and default is not None:
            return default
        value = self.config.get(key)
        if not isinstance(value, str) or not _ALIAS.fullmatch(value):
            raise self.error(key, value, "a short name of letters and digits")
        return value


def _existing(text: str) -> Path | None:
    try:
        path = Path(text).expanduser()
        return path if text and path.exists() else None
    # No such home, a NUL, a name too long: none of them is there.
    except (OSError, RuntimeError, ValueError):
        return None


def _models_root() -> Path:
    return Path(__file__).parent / "models"
