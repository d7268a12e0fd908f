"""Random compositions for training, drawn from the drawings a generator may see.

Promises: the same composition for the same stock and generator; both parts of a pair have one
style. Never: a held-out drawing, or a held-out combination (see `split`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from diffusion.train.compose import split
from diffusion.train.compose.colours import HUES, ComposeError, named
from diffusion.train.compose.composition import (
    DEFAULT_MIX,
    Composition,
    Kind,
    Mix,
    Relation,
    Size,
)
from diffusion.train.compose.layout import Box, beside, centred, lay, stacked, tidy
from diffusion.train.compose.phrases import RELATIONS, count_phrase, sample_pair_phrase
from diffusion.train.compose.recolour import Dominant, dominant_hue, has_hue, recolour, targets
from diffusion.train.compose.words import (
    COUNTS,
    coloured,
    coloured_nouns,
    is_countable,
    noun,
    split_colour,
    spoken,
)
from diffusion.train.data import Pixels, Row, is_held_out

_SIZES: Final = (Size.TINY, Size.SMALL)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stock:
    """Drawings that compositions are made of.

    pixels: N x S x S x 4, indexed by `Row.row`. dominants[i]: the hue that rules `rows[i]`, None
    where no single one does. colours[i]: the names of the colours it can be given.
    """

    pixels: Pixels
    rows: tuple[Row, ...]
    dominants: tuple[Dominant | None, ...]
    colours: tuple[tuple[str, ...], ...]

    @property
    def size(self) -> int:
        """The side of the drawings and of the canvas in pixels."""
        return int(self.pixels.shape[1])

    @property
    def colour_pairs(self) -> frozenset[tuple[str, str]]:
        """The (colour, name) pairs that only recolouring shows: no drawing has that hue already."""
        pairs = zip(self.rows, self.colours, strict=True)
        added = {(colour, row.name) for row, colours in pairs for colour in colours}
        shown = {
            (hue.name, row.name)
            for row, dominant in zip(self.rows, self.dominants, strict=True)
            for hue in HUES
            if dominant is not None and has_hue(dominant, hue)
        }
        return frozenset(added - shown)

    def drawing(self, row: Row) -> Pixels:
        """Return the S x S x 4 pixels of a row."""
        return np.asarray(self.pixels[row.row])


def make_stock(pixels: Pixels, rows: Iterable[Row]) -> Stock:
    """Look at the drawings once; held-out rows are dropped. ComposeError when none is left."""
    kept = tuple(row for row in rows if not row.held_out and not is_held_out(row.style, row.name))
    if not kept:
        raise ComposeError("there is no drawing to compose with; give rows that are not held out.")
    dominants = tuple(dominant_hue(np.asarray(pixels[row.row])) for row in kept)
    colours = tuple(_colours(*each) for each in zip(kept, dominants, strict=True))
    return Stock(pixels=pixels, rows=kept, dominants=dominants, colours=colours)


def _colours(row: Row, dominant: Dominant | None) -> tuple[str, ...]:
    if dominant is None:
        return ()
    own = split_colour(row.name)[0]
    return tuple(colour.name for colour in targets(dominant) if colour.name != own)


def draw(stock: Stock, rng: np.random.Generator, mix: Mix = DEFAULT_MIX) -> Composition:
    """Draw one composition; ComposeError when the stock cannot make a kind that was asked for."""
    kind = tuple(Kind)[int(rng.choice(len(Kind), p=mix.values()))]
    made = _MAKERS[kind](stock, rng)
    if made is None:
        raise ComposeError(
            f"none of {len(stock.rows)} drawings can be {kind.value}; set its rate to 0."
        )
    return made


def _order(stock: Stock, rng: np.random.Generator) -> list[int]:
    """Draw all rows without return by weight: the first that fits is taken."""
    keys = rng.exponential(size=len(stock.rows)) / [row.weight for row in stock.rows]
    return [int(i) for i in np.argsort(keys)]


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _plain(stock: Stock, rng: np.random.Generator) -> Composition:
    row = stock.rows[_order(stock, rng)[0]]
    return Composition(
        canvas=stock.drawing(row).copy(),
        kind=Kind.PLAIN,
        subject=row.name,
        rows=(row,),
        boxes=(Box(left=0, top=0, side=stock.size),),
        flip=row.flip,
    )


def trained_colours(row: Row, colours: Iterable[str]) -> list[str]:
    """Return those colours in which training may show a row.

    A colour that makes another emoji ("blue heart") is out where that drawing is held out.
    """
    return [
        colour
        for colour in colours
        if not split.is_colour_held_out(colour, row.name)
        and not (
            (colour, noun(row.name)) in coloured_nouns()
            and is_held_out(row.style, coloured(row.name, colour))
        )
    ]


def _recoloured(stock: Stock, rng: np.random.Generator) -> Composition | None:
    for i in _order(stock, rng):
        row = stock.rows[i]
        allowed = trained_colours(row, stock.colours[i])
        if not allowed:
            continue
        colour = _pick(allowed, rng)
        return Composition(
            canvas=recolour(stock.drawing(row), named(colour)),
            kind=Kind.RECOLOURED,
            subject=coloured(row.name, colour),
            rows=(row,),
            boxes=(Box(left=0, top=0, side=stock.size),),
            flip=row.flip,
            colour=colour,
        )
    return None


def _pair(stock: Stock, rng: np.random.Generator) -> Composition | None:
    order = _order(stock, rng)
    for i, number in enumerate(order):
        first = stock.rows[number]
        for other in order[i + 1 :]:
            if _go_together(first, stock.rows[other]):
                return _laid_pair(stock, (first, stock.rows[other]), rng)
    return None


def _go_together(one: Row, other: Row) -> bool:
    return (
        one.style == other.style
        and noun(one.name) != noun(other.name)
        and not split.is_pair_held_out(one.name, other.name)
    )


def _laid_pair(stock: Stock, rows: tuple[Row, Row], rng: np.random.Generator) -> Composition:
    relation = RELATIONS[int(rng.integers(len(RELATIONS)))]
    boxes = (beside if relation is Relation.BESIDE else stacked)(stock.size, rng)
    first, second = rows
    return Composition(
        canvas=lay([stock.drawing(row) for row in rows], boxes, stock.size),
        kind=Kind.PAIR,
        subject=sample_pair_phrase(first.name, second.name, relation, rng),
        rows=rows,
        boxes=boxes,
        flip=first.flip and second.flip,
        relation=relation,
    )


def _counted(stock: Stock, rng: np.random.Generator) -> Composition | None:
    for i in _order(stock, rng):
        row = stock.rows[i]
        allowed = [n for n in COUNTS if not split.is_count_held_out(n, row.name)]
        if not allowed or not is_countable(row.name):
            continue
        count = allowed[int(rng.integers(len(allowed)))]
        boxes = tidy(stock.size, count)
        return Composition(
            canvas=lay([stock.drawing(row)] * count, boxes, stock.size),
            kind=Kind.COUNTED,
            subject=count_phrase(count, row.name),
            rows=(row,),
            boxes=boxes,
            flip=row.flip,
            count=count,
        )
    return None


def _sized(stock: Stock, rng: np.random.Generator) -> Composition:
    row = stock.rows[_order(stock, rng)[0]]
    size = _SIZES[int(rng.integers(len(_SIZES)))]
    box = centred(stock.size, size.share)
    return Composition(
        canvas=lay([stock.drawing(row)], [box], stock.size),
        kind=Kind.SIZED,
        subject=f"{size.value} {spoken(row.name)}",
        rows=(row,),
        boxes=(box,),
        flip=row.flip,
        size=size,
    )


_MAKERS: Final[Mapping[Kind, Callable[[Stock, np.random.Generator], Composition | None]]] = (
    MappingProxyType(
        {
            Kind.PLAIN: _plain,
            Kind.RECOLOURED: _recoloured,
            Kind.PAIR: _pair,
            Kind.COUNTED: _counted,
            Kind.SIZED: _sized,
        }
    )
)
