"""What a composition is, how often each kind is drawn, and its caption.

Promises: a caption says only what the picture shows; style and background are joined as in
`captions`. Never: pixels changed here, or randomness of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

import numpy as np

from diffusion.train import captions
from diffusion.train.captions import DEFAULT_RATES, WHITE, Colour, Rates, full_caption
from diffusion.train.compose.colours import ComposeError
from diffusion.train.compose.layout import Box
from diffusion.train.compose.words import with_article
from diffusion.train.data import Pixels, Row


class Kind(StrEnum):
    """How a picture was put together."""

    PLAIN = "plain"
    RECOLOURED = "recoloured"
    PAIR = "pair"
    COUNTED = "counted"
    SIZED = "sized"


class Relation(StrEnum):
    """How the two parts of a pair lie."""

    BESIDE = "beside"
    STACKED = "stacked"


class Size(StrEnum):
    """The word for a scale; the normal size is not mentioned."""

    TINY = "tiny"
    SMALL = "small"
    NORMAL = ""

    @property
    def share(self) -> float:
        """What the drawing takes of the canvas's side."""
        return {"tiny": 0.28, "small": 0.55, "": 1.0}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How often each kind is drawn; the rates are probabilities and sum to 1."""

    plain: float = 0.50
    recoloured: float = 0.20
    pair: float = 0.15
    counted: float = 0.10
    sized: float = 0.05

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ComposeError(f"rate {name}={value} is not a probability; use 0 to 1.")
        total = math.fsum(self.values())
        if abs(total - 1) > 1e-6:
            raise ComposeError(f"the rates sum to {total:g}; make them sum to 1.")

    def values(self) -> tuple[float, ...]:
        """Return the rates in the order of `Kind`."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def composed(self) -> Mix:
        """Return the same proportions without plain drawings."""
        rest = 1 - self.plain
        if rest <= 0:
            raise ComposeError("a mix of nothing but plain drawings composes nothing.")
        shares = {field.name: getattr(self, field.name) / rest for field in fields(self)}
        return Mix(**{**shares, "plain": 0.0})


DEFAULT_MIX: Final = Mix()


# No comparison by value: arrays have none that is a single bool.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Composition:
    """A picture put together from drawings of one style.

    canvas: S x S x 4 uint8, straight alpha. subject: what captions call it, without article where
    there is one thing. rows: the drawings, in the order of `boxes`; `count` copies share one row
    and have a box each. flip: it may be mirrored and the caption stays true.
    """

    canvas: Pixels
    kind: Kind
    subject: str
    rows: tuple[Row, ...]
    boxes: tuple[Box, ...]
    flip: bool
    colour: str | None = None
    count: int = 1
    size: Size = Size.NORMAL
    relation: Relation | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names drawn, left or upper part first."""
        return tuple(row.name for row in self.rows)

    @property
    def style(self) -> str:
        """The style that all parts share."""
        return self.rows[0].style


def sample_caption(
    composition: Composition,
    rng: np.random.Generator,
    background: Colour = WHITE,
    rates: Rates = DEFAULT_RATES,
) -> str:
    """Draw one caption for a composition on `background`; "" for training without text.

    Plain drawings are captioned by `captions.sample_caption`; the others have no keywords.
    """
    if composition.kind is Kind.PLAIN:
        return captions.sample_caption(composition.rows[0], rng, background, rates)
    draws = rng.random(3)
    if draws[0] < rates.empty:
        return ""
    subject = composition.subject
    if composition.kind in {Kind.RECOLOURED, Kind.SIZED} and draws[1] < rates.article:
        subject = with_article(composition.rows[0].name, subject)
    style = "" if draws[2] < rates.no_style else composition.style
    return full_caption(subject, style, background)
