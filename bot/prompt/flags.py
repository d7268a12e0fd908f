"""The table of flags: the parser, `/help` and the documentation are all made from it.

Promises that a flag exists exactly if it stands here, and that every flag of Midjourney or A1111
that people bring along and this version lacks stands in `LATER` with a sentence. Never parses.

Flags that share a `group` say the same thing in different words, so that only one of them may
stand in a prompt. `carries` says which a variation or a remix takes over.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from bot.language import mark


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
    OPTIONAL = "optional"
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
    group: str = ""
    carries: bool = True

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
SHARES: Final = ("draft", "fast", "relax", "turbo")
RAW: Final = "raw"
MAX_SEED: Final = 2**32 - 1
MAX_STYLIZE: Final = 1000
DEFAULT_STYLIZE: Final = 100

_OFF, _NONE, _OF_THE_MODEL = mark("off"), mark("none"), mark("the model's")

FLAGS: Final[tuple[Flag, ...]] = (
    Flag(
        name="ar",
        aliases=("aspect",),
        kind=Kind.RATIO,
        default="1:1",
        minimum=1,
        maximum=9999,
        example="3:2",
        help=mark("Shape of the pictures, width to height; the area stays the model's own."),
    ),
    Flag(
        name="no",
        aliases=("negative",),
        kind=Kind.TEXT,
        default=mark("nothing"),
        example="text, frame",
        help=mark("What to keep out, separated by commas. Beside `a::2 b` it weighs -0.5."),
    ),
    Flag(
        name="seed",
        kind=Kind.WHOLE,
        default=mark("random"),
        minimum=0,
        maximum=MAX_SEED,
        example="7",
        carries=False,
        help=mark("Start noise; picture i of a grid uses seed + i. Equal seeds, equal grids."),
    ),
    Flag(
        name="sameseed",
        kind=Kind.TOGGLE,
        default=_OFF,
        example="",
        carries=False,
        help=mark("All pictures of the grid start from the same noise."),
    ),
    Flag(
        name="chaos",
        aliases=("c",),
        kind=Kind.WHOLE,
        default="0",
        minimum=0,
        maximum=100,
        example="30",
        carries=False,
        help=mark("How far the pictures of a grid differ; the first one never changes."),
    ),
    Flag(
        name="stylize",
        aliases=("s",),
        kind=Kind.WHOLE,
        default=str(DEFAULT_STYLIZE),
        minimum=0,
        maximum=MAX_STYLIZE,
        example="250",
        carries=False,
        help=mark("Weight of this server's house style in percent, where it has one; 0 is off."),
    ),
    Flag(
        name="style",
        kind=Kind.WORD,
        default=_NONE,
        example="raw",
        help=mark("`raw` leaves the house style out; any other name is one of `--preset`."),
    ),
    Flag(
        name="raw",
        kind=Kind.TOGGLE,
        default=_OFF,
        example="",
        help=mark("The same as `--style raw`."),
    ),
    Flag(
        name="preset",
        kind=Kind.WORD,
        default=_NONE,
        example="sticker",
        help=mark("Puts your words into a style template of this server."),
    ),
    Flag(
        name="quality",
        aliases=("q",),
        kind=Kind.QUALITY,
        default="1",
        minimum=QUALITIES[0],
        maximum=QUALITIES[-1],
        example="0.5",
        carries=False,
        help=mark("Multiplies the steps: 0.25, 0.5, 1 or 2."),
    ),
    Flag(
        name="stop",
        kind=Kind.WHOLE,
        default="100",
        minimum=10,
        maximum=100,
        example="60",
        help=mark("Ends at that percent of the steps, for softer, unfinished pictures."),
    ),
    Flag(
        name="iw",
        kind=Kind.DECIMAL,
        default="1",
        minimum=0,
        maximum=3,
        example="2",
        group="image",
        carries=False,
        help=mark(
            "Weight of the picture given as `image`: 1 is `--strength` 0.75, 2 is 0.5, 3 is 0.25, "
            "so more keeps more of it; at 0 only its rough layout can be left."
        ),
    ),
    Flag(
        name="strength",
        kind=Kind.DECIMAL,
        default="0.75",
        minimum=0,
        maximum=1,
        example="0.6",
        group="image",
        carries=False,
        help=mark("How much of the picture given as `image` is painted anew; less keeps more."),
    ),
    Flag(
        name="sref",
        kind=Kind.WORD,
        default=_NONE,
        example="#0abc1def2ghij",
        carries=False,
        help=mark("A picture whose style is taken, for models with an image adapter."),
    ),
    Flag(
        name="sw",
        kind=Kind.WHOLE,
        default="100",
        minimum=0,
        maximum=1000,
        example="200",
        carries=False,
        help=mark("Weight of `--sref`."),
    ),
    Flag(
        name="cref",
        kind=Kind.WORD,
        default=_NONE,
        example="#0abc1def2ghij",
        carries=False,
        help=mark("A picture whose character is taken, for models with an image adapter."),
    ),
    Flag(
        name="cw",
        kind=Kind.WHOLE,
        default="100",
        minimum=0,
        maximum=100,
        example="50",
        carries=False,
        help=mark("Weight of `--cref`."),
    ),
    Flag(
        name="tile",
        kind=Kind.TOGGLE,
        default=_OFF,
        example="",
        help=mark("Pictures that repeat without a seam."),
    ),
    Flag(
        name="repeat",
        aliases=("r",),
        kind=Kind.WHOLE,
        default=mark("once"),
        minimum=2,
        maximum=10,
        example="3",
        carries=False,
        help=mark("Runs the prompt several times, each run with seeds of its own."),
    ),
    Flag(
        name="model",
        aliases=("v", "version"),
        kind=Kind.WORD,
        default=mark("the server's"),
        example="emoji",
        group="model",
        help=mark("Model by a name it has on this server; `/models` lists them."),
    ),
    Flag(
        name="niji",
        kind=Kind.OPTIONAL,
        default=mark("the server's"),
        example="6",
        group="model",
        help=mark("The model that this server calls `niji` (or `niji-6`)."),
    ),
    Flag(
        name="hires",
        kind=Kind.DECIMAL,
        default="1",
        minimum=1,
        maximum=2,
        example="1.5",
        help=mark("Paints a second pass at that many times the size."),
    ),
    Flag(
        name="draft",
        kind=Kind.TOGGLE,
        default=_OFF,
        example="",
        group="share",
        carries=False,
        help=mark("Half the steps, and first in line."),
    ),
    Flag(
        name="fast",
        kind=Kind.TOGGLE,
        default=mark("on"),
        example="",
        group="share",
        carries=False,
        help=mark("All the steps, in line with everybody."),
    ),
    Flag(
        name="relax",
        kind=Kind.TOGGLE,
        default=_OFF,
        example="",
        group="share",
        carries=False,
        help=mark("Waits until nobody else does."),
    ),
    Flag(
        name="turbo",
        kind=Kind.TOGGLE,
        default=_OFF,
        example="",
        group="share",
        carries=False,
        help=mark("The same as `--fast`: one device has no faster lane."),
    ),
    Flag(
        name="video",
        kind=Kind.TOGGLE,
        default=_OFF,
        example="",
        help=mark("A film of the pictures being made, beside the grid."),
    ),
    Flag(
        name="weird",
        kind=Kind.WHOLE,
        default="0",
        minimum=0,
        maximum=3000,
        example="0",
        carries=False,
        help=mark("Known from Midjourney and not supported; only 0 is taken."),
    ),
    Flag(
        name="sampler",
        kind=Kind.SAMPLER,
        default=_OF_THE_MODEL,
        example="Euler a",
        help=mark("Sampler by its name here or in A1111, as in `DPM++ 2M Karras`."),
    ),
    Flag(
        name="schedule",
        aliases=("scheduler",),
        kind=Kind.SCHEDULE,
        default=_OF_THE_MODEL,
        example="karras",
        help=mark("Spacing of the steps."),
    ),
    Flag(
        name="steps",
        kind=Kind.WHOLE,
        default=_OF_THE_MODEL,
        minimum=1,
        maximum=1000,
        example="20",
        help=mark("Sampler steps; more take longer."),
    ),
    Flag(
        name="cfg",
        aliases=("guidance", "cfg-scale"),
        kind=Kind.DECIMAL,
        default=_OF_THE_MODEL,
        minimum=1,
        maximum=100,
        example="7.5",
        help=mark("How strictly the words are followed; 1 switches guidance off."),
    ),
    Flag(
        name="clip",
        aliases=("clip-skip", "clipskip"),
        kind=Kind.WHOLE,
        default="1",
        minimum=1,
        maximum=12,
        example="2",
        help=mark("The text encoder's layer to stop at, counted from the last, as in A1111."),
    ),
    Flag(
        name="vae",
        kind=Kind.WORD,
        default="auto",
        example="auto",
        help=mark("Autoencoder; each model has one here, so only `auto` is taken."),
    ),
)

LATER: Final[tuple[Later, ...]] = (
    Later(names=("oref", "ow", "sv"), about=mark("other kinds of references")),
    Later(names=("exp",), about=mark("experimental detail")),
    Later(names=("profile", "p"), about=mark("personal styles")),
    Later(names=("width", "height"), about=mark("sizes in pixels; `--ar` chooses a shape")),
    Later(names=("hd",), about=mark("a larger model; `--hires` paints larger"), takes_value=False),
    Later(names=("motion", "bs", "loop"), about=mark("moving pictures")),
    Later(
        names=("public", "private", "stealth"),
        about=mark("private pictures; `/settings` has a switch"),
        takes_value=False,
    ),
)

FLAG_BY_NAME: Final = MappingProxyType({name: flag for flag in FLAGS for name in flag.names})
LATER_BY_NAME: Final = MappingProxyType({name: later for later in LATER for name in later.names})
KNOWN: Final = frozenset(FLAG_BY_NAME) | frozenset(LATER_BY_NAME)
