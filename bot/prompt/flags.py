"""The table of flags: the parser, `/help` and the documentation are all made from it.

Promises that a flag exists exactly if it stands here, and that every flag of Midjourney or A1111
that people bring along and this version lacks stands in `LATER` with a sentence. Never parses.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Kind(StrEnum):
    """What kind of value a flag takes."""

    RATIO = "ratio"
    TEXT = "text"
    WHOLE = "whole"
    DECIMAL = "decimal"
    QUALITY = "quality"
    SAMPLER = "sampler"
    SCHEDULE = "schedule"
    WORD = "word"
    TOGGLE = "toggle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag: its names, the value it takes, its range and its line in the help."""

    name: str
    kind: Kind
    help: str
    example: str
    aliases: tuple[str, ...] = ()
    default: str = ""
    minimum: float | None = None
    maximum: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every spelling, the main one first."""
        return (self.name, *self.aliases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A flag people know from elsewhere and that this version does not have yet."""

    names: tuple[str, ...]
    about: str
    takes_value: bool = True


QUALITIES: Final = (0.25, 0.5, 1.0, 2.0)
MAX_SEED: Final = 2**32 - 1

FLAGS: Final[tuple[Flag, ...]] = (
    Flag(
        name="ar",
        aliases=("aspect",),
        kind=Kind.RATIO,
        default="1:1",
        minimum=1,
        maximum=9999,
        example="3:2",
        help="Shape of the pictures, width to height; the area stays the model's own.",
    ),
    Flag(
        name="no",
        aliases=("negative",),
        kind=Kind.TEXT,
        default="nothing",
        example="text, frame",
        help="What to keep out of the pictures, separated by commas.",
    ),
    Flag(
        name="seed",
        kind=Kind.WHOLE,
        default="random",
        minimum=0,
        maximum=MAX_SEED,
        example="7",
        help="Start noise; picture i of a grid uses seed + i. The same seed gives the same grid.",
    ),
    Flag(
        name="steps",
        kind=Kind.WHOLE,
        default="the model's",
        minimum=1,
        maximum=1000,
        example="20",
        help="Sampler steps; more take longer.",
    ),
    Flag(
        name="cfg",
        aliases=("guidance",),
        kind=Kind.DECIMAL,
        default="the model's",
        minimum=1,
        maximum=100,
        example="7.5",
        help="How strictly the words are followed; 1 switches guidance off.",
    ),
    Flag(
        name="sampler",
        kind=Kind.SAMPLER,
        default="the model's",
        example="Euler a",
        help="Sampler by its name here or in A1111, as in `DPM++ 2M Karras`.",
    ),
    Flag(
        name="schedule",
        aliases=("scheduler",),
        kind=Kind.SCHEDULE,
        default="the model's",
        example="karras",
        help="Spacing of the steps.",
    ),
    Flag(
        name="quality",
        aliases=("q",),
        kind=Kind.QUALITY,
        default="1",
        minimum=QUALITIES[0],
        maximum=QUALITIES[-1],
        example="0.5",
        help="Multiplies the steps: 0.25, 0.5, 1 or 2.",
    ),
    Flag(
        name="stop",
        kind=Kind.WHOLE,
        default="100",
        minimum=10,
        maximum=100,
        example="60",
        help="Ends at that percent of the steps, for softer, unfinished pictures.",
    ),
    Flag(
        name="tile",
        kind=Kind.TOGGLE,
        default="off",
        example="",
        help="Pictures that repeat without a seam.",
    ),
    Flag(
        name="repeat",
        aliases=("r",),
        kind=Kind.WHOLE,
        default="once",
        minimum=2,
        maximum=10,
        example="3",
        help="Runs the prompt several times, each run with seeds of its own.",
    ),
    Flag(
        name="model",
        aliases=("v", "version"),
        kind=Kind.WORD,
        default="the server's",
        example="emoji",
        help="Model by the name it has on this server.",
    ),
)

LATER: Final[tuple[Later, ...]] = (
    Later(names=("chaos", "c"), about="a wider spread of the grid"),
    Later(names=("stylize", "s"), about="the house style"),
    Later(names=("style",), about="style templates"),
    Later(names=("preset",), about="style templates"),
    Later(names=("raw",), about="switching the house style off", takes_value=False),
    Later(names=("weird",), about="stranger pictures"),
    Later(names=("iw",), about="the weight of a picture in the prompt"),
    Later(names=("strength",), about="the strength of a picture in the prompt"),
    Later(names=("sref", "sw"), about="style references"),
    Later(names=("cref", "cw"), about="character references"),
    Later(names=("oref", "ow"), about="object references"),
    Later(names=("hires",), about="a second, larger pass"),
    Later(names=("video",), about="a film of the picture being made", takes_value=False),
    Later(names=("sameseed",), about="one start noise for all four pictures", takes_value=False),
    Later(names=("draft",), about="drafts", takes_value=False),
    Later(names=("fast", "relax", "turbo"), about="speed classes", takes_value=False),
    Later(names=("niji",), about="the niji models; `--model` chooses a model"),
    Later(names=("clip",), about="skipping layers of the text encoder"),
    Later(names=("vae",), about="another autoencoder"),
    Later(names=("profile", "p"), about="personal styles"),
    Later(names=("public", "private", "stealth"), about="private pictures", takes_value=False),
)

FLAG_BY_NAME: Final = MappingProxyType({name: flag for flag in FLAGS for name in flag.names})
LATER_BY_NAME: Final = MappingProxyType({name: later for later in LATER for name in later.names})
