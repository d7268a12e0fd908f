"""The rows of the sheet: the first pictures of every set, and the nearest drawings of a few.

Promises: the first prompts of each set and the first picture of each, chosen by nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from diffusion.train.evaluate import measures
from diffusion.train.evaluate.drawings import Drawings
from diffusion.train.evaluate.likeness import Neighbours
from diffusion.train.evaluate.lines import Answered, counts_well
from diffusion.train.evaluate.measures import Measure, Namer, measured
from diffusion.train.evaluate.sheet import TILES, Section, Tile

_NEAREST: Final = "held-out pictures, each with its nearest training drawings (below 1.0: a copy)"


def make_sections(
    answered: Mapping[str, Answered],
    namer: Namer,
    drawings: Drawings,
    neighbours: Neighbours | None,
) -> Iterator[Section]:
    """Yield a row for every set that holds prompts, and one of nearest drawings."""
    shown: tuple[tuple[str, str, Measure], ...] = (
        ("trained", "trained prompts", namer.name),
        ("held out", "names in styles that were held out", namer.name),
        ("colours", "held-out colours, hue and thing", namer.hue_and_shape),
        ("backgrounds", "background colours", measures.background),
        ("pairs", "held-out pairs, both things", namer.both),
        ("counts", "held-out counts", measures.count),
        ("synonyms", "words that no caption holds", namer.name),
    )
    for name, label, measure in shown:
        each = answered[name]
        if not each.asks or (name == "counts" and not counts_well(each)):
            continue
        values, prompts = measured(measure, each.painted, each.asks)
        tiles = [
            Tile(
                heading=each.asks[i].prompt,
                picture=each.painted[i][0],
                right=bool(values[prompts.index(i)]),
            )
            for i in range(min(TILES, len(each.asks)))
        ]
        yield Section(label=f"{label}: {values.mean():.2f} right", tiles=tuple(tiles))
    if neighbours is not None and answered["held out"].asks:
        yield from _strips(answered["held out"], drawings, neighbours)


def _strips(held_out: Answered, drawings: Drawings, neighbours: Neighbours) -> Iterator[Section]:
    """Yield held-out pictures, each with its three nearest training drawings."""
    tiles: list[Tile] = []
    for ask, pictures in zip(held_out.asks[: TILES // 4], held_out.painted, strict=False):
        tiles.append(Tile(heading=f"painted: {ask.prompt}", picture=pictures[0]))
        for row, apart in neighbours.nearest(pictures[0]):
            heading = f"{row.name}, {row.style}: {apart / neighbours.threshold:.1f}"
            tiles.append(Tile(heading=heading, picture=drawings.picture(row)))
    yield Section(label=_NEAREST, tiles=tuple(tiles))
