"""What a model is asked to paint, and the real picture of each.

Promises: the same prompts for the same drawings and seed, a longer list beginning with the shorter
one; every ask carries a real picture of just what it asks for, put together from drawings where
none exists. An empty set says why it is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from diffusion.train.captions import BACKGROUNDS, Colour, full_caption
from diffusion.train.compose.colours import named
from diffusion.train.compose.composition import Relation
from diffusion.train.compose.draw import Stock
from diffusion.train.compose.layout import beside, lay, stacked, tidy
from diffusion.train.compose.recolour import recolour
from diffusion.train.compose.split import (
    Combination,
    held_out_colours,
    held_out_counts,
    held_out_pairs,
)
from diffusion.train.data import Row
from diffusion.train.evaluate.drawings import Drawings, on_colour
from diffusion.train.synonyms import Synonym


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ask:
    """A prompt and what its picture must show.

    names: for each thing, left or upper first, the names that are right. real: a real picture of
    it. Whatever is None is not asked for.
    """

    prompt: str
    names: tuple[tuple[str, ...], ...]
    real: Image.Image
    style: str | None = None
    colour: Colour | None = None
    background: Colour | None = None
    count: int = 1
    relation: Relation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSet:
    """Prompts of one kind; `images` pictures are painted of each. lacking: why there is none."""

    name: str
    asks: tuple[Ask, ...]
    images: int = 1
    lacking: str = ""


def ask_drawings(
    name: str, drawings: Drawings, rows: Sequence[Row], limit: int, seed: int, images: int
) -> AskSet:
    """Ask for at most `limit` of the rows by name and style."""
    asks = tuple(
        Ask(
            prompt=full_caption(row.name, row.style),
            names=((row.name,),),
            style=row.style,
            real=drawings.picture(row),
        )
        for row in _shuffled(rows, seed)[:limit]
    )
    return _set(name, asks, "the data set holds no such drawing that the judge knows", images)


def ask_backgrounds(drawings: Drawings, limit: int, seed: int) -> AskSet:
    """Ask for trained drawings on each of the named colours in turn."""
    asks = []
    for i, row in enumerate(_shuffled(drawings.trained, seed + 1)[:limit]):
        colour = BACKGROUNDS[i % len(BACKGROUNDS)]
        asks.append(
            Ask(
                prompt=full_caption(row.name, row.style, colour),
                names=((row.name,),),
                style=row.style,
                background=colour,
                real=drawings.picture(row, colour),
            )
        )
    return _set("backgrounds", asks, "the data set holds no drawing that the judge knows")


def ask_colours(stock: Stock, limit: int, seed: int) -> AskSet:
    """Ask for held-out (colour, thing) combinations; real ones are drawings recoloured."""
    asks = []
    for i, each in enumerate(held_out_colours(stock.colour_pairs, limit)):
        colour = named(str(each.colour))
        rows = [
            row
            for row, colours in zip(stock.rows, stock.colours, strict=True)
            if row.name in each.names[0] and colour.name in colours
        ]
        drawing = recolour(stock.drawing(_one(rows, seed, i)), colour)
        asks.append(
            Ask(prompt=each.prompt, names=each.names, colour=colour, real=on_colour(drawing))
        )
    return _set("colours", asks, "no drawing can be given a colour that is held out")


def ask_pairs(stock: Stock, limit: int, seed: int) -> AskSet:
    """Ask for held-out pairs; real ones are two drawings of one style on one canvas."""
    by_style: dict[tuple[str, str], Row] = {(row.style, row.name): row for row in stock.rows}
    styles = sorted({row.style for row in stock.rows})

    def make(each: Combination, i: int) -> Ask | None:
        names = [names[0] for names in each.names]
        drawn = [style for style in styles if all((style, name) in by_style for name in names)]
        if not drawn:
            return None
        rng = np.random.default_rng((seed, i))
        style = drawn[int(rng.integers(len(drawn)))]
        boxes = (beside if each.relation is Relation.BESIDE else stacked)(stock.size, rng)
        parts = [stock.drawing(by_style[style, name]) for name in names]
        return Ask(
            prompt=each.prompt,
            names=each.names,
            relation=each.relation,
            real=on_colour(lay(parts, boxes, stock.size)),
        )

    # Not every pair is drawn in one style: ask for more than are wanted.
    found = held_out_pairs((row.name for row in stock.rows), 4 * limit)
    return _set("pairs", _made(make, found, limit), "no two drawings of one style are held out")


def ask_counts(stock: Stock, limit: int, seed: int) -> AskSet:
    """Ask for held-out counts; real ones are a drawing laid out two to four times."""

    def make(each: Combination, i: int) -> Ask | None:
        rows = [row for row in stock.rows if row.name in each.names[0]]
        boxes = tidy(stock.size, each.count)
        parts = [stock.drawing(_one(rows, seed, i))] * each.count
        return Ask(
            prompt=each.prompt,
            names=each.names,
            count=each.count,
            real=on_colour(lay(parts, boxes, stock.size)),
        )

    found = held_out_counts((row.name for row in stock.rows), limit)
    return _set("counts", _made(make, found, limit), "no countable thing has a count held out")


def ask_synonyms(
    drawings: Drawings, words: Sequence[Synonym], limit: int, seed: int
) -> tuple[AskSet, AskSet]:
    """Ask for words that no caption holds, and for the same things by their names."""
    rows: dict[str, list[Row]] = {}
    for row in drawings.trained:
        rows.setdefault(row.name, []).append(row)
    by_word, by_name = [], []
    for i, word in enumerate(word for word in words if any(n in rows for n in word.names)):
        names = tuple(name for name in word.names if name in rows)
        real = drawings.picture(_one(rows[names[0]], seed, i))
        by_word.append(Ask(prompt=word.word, names=(names,), real=real))
        by_name.append(Ask(prompt=names[0], names=(names,), real=real))
    # The words stand in groups; a short list should not be all faces.
    order = [int(i) for i in np.random.default_rng(seed).permutation(len(by_word))[:limit]]
    lacking = "the data set holds nothing that the list of synonyms names"
    return (
        _set("synonyms", [by_word[i] for i in order], lacking),
        _set("names", [by_name[i] for i in order], lacking),
    )


def _set(name: str, asks: Iterable[Ask], lacking: str, images: int = 1) -> AskSet:
    made = tuple(asks)
    return AskSet(name=name, asks=made, images=images, lacking="" if made else lacking)


def _made(
    make: Callable[[Combination, int], Ask | None], found: Sequence[Combination], limit: int
) -> list[Ask]:
    asks = [make(each, i) for i, each in enumerate(found)]
    return [ask for ask in asks if ask is not None][:limit]


def _shuffled(rows: Sequence[Row], seed: int) -> list[Row]:
    return [rows[int(i)] for i in np.random.default_rng(seed).permutation(len(rows))]


def _one(rows: Sequence[Row], seed: int, number: int) -> Row:
    return rows[int(np.random.default_rng((seed, number)).integers(len(rows)))]
