"""`Params`: everything that determines a picture, and nothing else.

Promises: a value that exists is valid, compares by content, and its JSON is canonical (sorted keys,
no spaces, floats always floats), so equal params are equal bytes; what `from_json` reads is checked
as strictly as what code passes. Keys added later take their default when an old row lacks them;
unknown keys are refused. Never imports torch.

## Why NUL and lone surrogates are refused
The prompt travels in UTF-8 through a database and a PNG text chunk; neither can hold them.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Final

from diffusion.errors import ParamsError
from diffusion.names import SAMPLERS, SCHEDULES, nearest

MAX_PROMPT_LENGTH: Final = 6000
MAX_SEED: Final = 2**32 - 1
MAX_STEPS: Final = 1000
MAX_GUIDANCE_SCALE: Final = 100.0
MIN_SIDE: Final = 8
MAX_SIDE: Final = 8192
SIDE_MULTIPLE: Final = 8
MAX_IMAGES: Final = 36
MAX_CHAOS: Final = 100
MAX_MORPH: Final = MAX_IMAGES - 1
MIN_STOP: Final = 10
DEFAULT_STRENGTH: Final = 0.75
DEFAULT_HIRES_STRENGTH: Final = 0.5
MAX_CLIP_SKIP: Final = 12
MAX_CONTROLS: Final = 4
MAX_JSON_LENGTH: Final = 130_000

_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One ControlNet of a job (Zhang et al. 2023) and how it steers.

    `model` is its name, `image` the SHA-256 of the hint. It works from the share `start` of the
    steps to `end`, with residuals times `scale`; `guess` leaves the negative rows alone and ramps
    the residuals down towards the fine levels.
    """

    model: str
    image: str
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0
    guess: bool = False

    def __post_init__(self) -> None:
        for name, check in _CONTROL_CHECKS.items():
            object.__setattr__(self, name, check(f"controls.{name}", getattr(self, name)))
        if self.start >= self.end:
            raise _refuse("controls.start", self.start, f"below controls.end, {self.end:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What to paint. Sides in pixels; image i of a job starts from the noise of seed + i.

    `clip_skip` k leaves out the last k layers of the text encoder (diffusers' count; AUTOMATIC1111
    says k + 1). `guidance_rescale` is phi of Lin et al. 2024, section 3.4. `eta` scales the fresh
    noise of DDIM and the ancestral samplers; None is the sampler's own. `zero_negative` says
    whether an empty negative prompt is zeros instead of the encoded empty text (Stable Diffusion
    XL); None is the checkpoint's own rule. `mask` is the SHA-256 of a picture that is white where
    `init_image` is repainted. `hires` above 1 paints a second pass at that many times the size,
    as image to image at `hires_strength`. `variation_seed` mixes other noise into the start, by
    `variation_strength` of the way on the sphere. `chaos` (0 to 100) says how far the guidance and
    the words of every picture but the first are shaken (see `spread`). `same_seed` lets all
    pictures start from the noise of `seed`. `morph` are further prompts: picture i of n, all from
    one noise, is painted from the point i / (n - 1) of the way from `prompt` through them.
    """

    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    steps: int = 20
    guidance_scale: float = 7.5
    sampler: str = "dpmpp_2m"
    schedule: str = "uniform"
    width: int = 512
    height: int = 512
    images: int = 4
    model: str = "emoji"
    stop: int = 100
    tile: bool = False
    init_image: str | None = None
    strength: float = DEFAULT_STRENGTH
    mask: str | None = None
    clip_skip: int = 0
    guidance_rescale: float = 0.0
    eta: float | None = None
    zero_negative: bool | None = None
    hires: float = 1.0
    hires_strength: float = DEFAULT_HIRES_STRENGTH
    variation_seed: int | None = None
    variation_strength: float = 0.0
    controls: tuple[Control, ...] = ()
    chaos: int = 0
    same_seed: bool = False
    morph: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            # Frozen: the checks return floats for ints so that equal params are equal JSON.
            object.__setattr__(self, name, check(name, getattr(self, name)))
        if self.init_image is None and self.strength != DEFAULT_STRENGTH:
            raise _refuse("strength", self.strength, "left out unless init_image is given")
        if self.init_image is None and self.mask is not None:
            raise _refuse("mask", self.mask, "left out unless init_image is given")
        if self.hires == 1.0 and self.hires_strength != DEFAULT_HIRES_STRENGTH:
            raise _refuse("hires_strength", self.hires_strength, "left out unless hires is above 1")
        if self.variation_seed is None and self.variation_strength != 0.0:
            raise _refuse(
                "variation_strength", self.variation_strength, "0 unless variation_seed is given"
            )
        if self.morph and self.images <= len(self.morph):
            raise ParamsError(
                "images",
                self.images,
                f"morph needs a picture for each of its {len(self.morph) + 1} prompts",
            )

    def seed_of(self, index: int) -> int:
        """Return the seed that picture `index` (from 0) draws its noise from."""
        same = self.same_seed or bool(self.morph)
        return self.seed if same else (self.seed + index) % (MAX_SEED + 1)

    def variation_seed_of(self, index: int) -> int | None:
        """Return the seed of the other noise; a morph has one, so that nothing but words moves."""
        own = self.variation_seed
        return own if own is None or self.morph else (own + index) % (MAX_SEED + 1)

    def alone(self, index: int) -> "Params":
        """Return the params that paint picture `index` (from 0) and no other; these params
        themselves where it is what it is beside others only, in a morph or under chaos.
        """
        if self.morph or (self.chaos and index):
            return self
        return replace(
            self,
            seed=self.seed_of(index),
            variation_seed=self.variation_seed_of(index),
            images=1,
            chaos=0,
            same_seed=False,
        )

    @property
    def steps_run(self) -> int:
        """Number of steps before `stop` ends the job; at least one."""
        return max(1, math.ceil(self.steps * self.stop / 100))

    def to_json(self) -> str:
        """Return the canonical JSON: sorted keys, compact, UTF-8 characters as they are."""
        return json.dumps(
            asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> "Params":
        """Read what `to_json` wrote; anything else is a ParamsError that names the field."""
        values = _read_object(text)
        known = [field.name for field in fields(cls)]
        for key, value in values.items():
            if key not in known:
                hint = nearest(key, known)
                advice = f"did you mean {hint!r}?" if hint else f"known are {', '.join(known)}"
                raise ParamsError(key[:80], value, f"no such parameter; {advice}")
        if "prompt" not in values:
            raise ParamsError("prompt", None, "it is missing, but required")
        # Every value is type-checked in __post_init__, which is what makes this safe.
        return cls(**values)  # type: ignore[arg-type]


def _read_object(text: str) -> dict[str, object]:
    if not isinstance(text, str):
        raise ParamsError("json", text, "must be a string")
    if len(text) > MAX_JSON_LENGTH:
        raise ParamsError("json", text, f"the limit is {MAX_JSON_LENGTH} characters")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except ParamsError:
        raise
    except (ValueError, RecursionError) as error:
        raise ParamsError("json", text, f"not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ParamsError("json", value, "must be an object of parameters")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    seen: dict[str, object] = {}
    for key, value in pairs:
        if key in seen:
            raise ParamsError(key[:80], value, "it is given twice")
        seen[key] = value
    return seen


def _no_constant(name: str) -> object:
    raise ParamsError("json", name, "must hold finite numbers only")


def _refuse(field: str, value: object, wanted: str) -> ParamsError:
    return ParamsError(field, value, f"must be {wanted}")


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refuse(field, value, f"text of at most {MAX_PROMPT_LENGTH} characters")
    if len(value) > MAX_PROMPT_LENGTH:
        raise ParamsError(field, value, f"the limit is {MAX_PROMPT_LENGTH} characters; shorten it")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _refuse(field, value, "text without NUL characters and lone surrogates")
    return value


def _integer(low: int, high: int, multiple: int = 1) -> Callable[[str, object], int]:
    each = f" divisible by {multiple}" if multiple > 1 else ""

    def check(field: str, value: object) -> int:
        # bool is an int to Python, never to us.
        if not isinstance(value, int) or isinstance(value, bool):
            raise _refuse(field, value, f"a whole number from {low} to {high}{each}")
        if not low <= value <= high or value % multiple:
            raise _refuse(field, value, f"from {low} to {high}{each}")
        return value

    return check


def _number(low: float, high: float, *, open_low: bool = False) -> Callable[[str, object], float]:
    wanted = f"above {low:g} and at most {high:g}" if open_low else f"from {low:g} to {high:g}"

    def check(field: str, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _refuse(field, value, f"a number {wanted}")
        # Comparing first keeps integers too large for a float away from float().
        if not low <= value <= high or (open_low and value == low):
            raise _refuse(field, value, wanted)
        return float(value)

    return check


def _one_of(known: tuple[str, ...]) -> Callable[[str, object], str]:
    def check(field: str, value: object) -> str:
        if isinstance(value, str) and value in known:
            return value
        hint = nearest(value, known) if isinstance(value, str) and len(value) < 80 else None
        advice = f"; did you mean {hint!r}?" if hint else ""
        raise _refuse(field, value, f"one of {', '.join(known)}{advice}")

    return check


def _model(field: str, value: object) -> str:
    if isinstance(value, str) and _MODEL_NAME.fullmatch(value):
        return value
    raise _refuse(field, value, "a model's alias: 1 to 64 letters, digits, dots, dashes")


def _flag(field: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _refuse(field, value, "true or false")


def _digest(field: str, value: object) -> str | None:
    return None if value is None else _required_digest(field, value)


def _required_digest(field: str, value: object) -> str:
    if isinstance(value, str) and _SHA256.fullmatch(value):
        return value
    raise _refuse(field, value, "the SHA-256 of the source picture: 64 lower-case hex digits")


def _or_none(check: Callable[[str, object], object]) -> Callable[[str, object], object]:
    def checked(field: str, value: object) -> object:
        return None if value is None else check(field, value)

    return checked


def _controls(field: str, value: object) -> tuple[Control, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_CONTROLS:
        raise _refuse(field, value, f"a list of at most {MAX_CONTROLS} ControlNets")
    known = [f.name for f in fields(Control)]
    controls: list[Control] = []
    for each in value:
        if isinstance(each, Control):
            controls.append(each)
        elif isinstance(each, Mapping) and {"model", "image"} <= set(each) <= set(known):
            # As it stands in JSON; every value is type-checked in __post_init__.
            controls.append(Control(**each))
        else:
            raise _refuse(field, value, f"objects with the keys {', '.join(known)}")
    return tuple(controls)


def _phrases(field: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_MORPH:
        raise _refuse(field, value, f"a list of at most {MAX_MORPH} prompts")
    phrases = tuple(_text(field, each) for each in value)
    if not all(phrase.strip() for phrase in phrases):
        raise ParamsError(field, value, "one of its prompts has no words")
    if sum(map(len, phrases)) > MAX_PROMPT_LENGTH:
        raise ParamsError(
            field, value, f"the limit is {MAX_PROMPT_LENGTH} characters in all; shorten them"
        )
    return phrases


_CONTROL_CHECKS: Final[Mapping[str, Callable[[str, object], object]]] = MappingProxyType(
    {
        "model": _model,
        "image": _required_digest,
        "scale": _number(0.0, 2.0),
        "start": _number(0.0, 1.0),
        "end": _number(0.0, 1.0),
        "guess": _flag,
    }
)

_CHECKS: Final[Mapping[str, Callable[[str, object], object]]] = MappingProxyType(
    {
        "prompt": _text,
        "negative_prompt": _text,
        "seed": _integer(0, MAX_SEED),
        "steps": _integer(1, MAX_STEPS),
        "guidance_scale": _number(1.0, MAX_GUIDANCE_SCALE),
        "sampler": _one_of(SAMPLERS),
        "schedule": _one_of(SCHEDULES),
        "width": _integer(MIN_SIDE, MAX_SIDE, SIDE_MULTIPLE),
        "height": _integer(MIN_SIDE, MAX_SIDE, SIDE_MULTIPLE),
        "images": _integer(1, MAX_IMAGES),
        "model": _model,
        "stop": _integer(MIN_STOP, 100),
        "tile": _flag,
        "init_image": _digest,
        "strength": _number(0.0, 1.0, open_low=True),
        "mask": _digest,
        "clip_skip": _integer(0, MAX_CLIP_SKIP - 1),
        "guidance_rescale": _number(0.0, 1.0),
        "eta": _or_none(_number(0.0, 1.0)),
        "zero_negative": _or_none(_flag),
        "hires": _number(1.0, 4.0),
        "hires_strength": _number(0.0, 1.0, open_low=True),
        "variation_seed": _or_none(_integer(0, MAX_SEED)),
        "variation_strength": _number(0.0, 1.0),
        "controls": _controls,
        "chaos": _integer(0, MAX_CHAOS),
        "same_seed": _flag,
        "morph": _phrases,
    }
)
