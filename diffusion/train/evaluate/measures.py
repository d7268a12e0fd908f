"""What a picture shows of what was asked: one 1 or 0 for each picture.

Promises: pixels alone for colour, background and count; the judge for names and styles; the same
answers for the same pictures. Never: knowledge of the model, or of where a picture comes from.

A measure maps N pictures and N asks to N values, so the same one is used on painted pictures, on
real ones, and on pictures painted for other prompts, which is what chance means here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffusion.train.compose.composition import Relation
from diffusion.train.compose.measure import shows_background, shows_colour
from diffusion.train.data import Pixels
from diffusion.train.evaluate.asks import Ask
from diffusion.train.evaluate.figures import Figure, Values, figure
from diffusion.train.evaluate.things import count_things, halves, in_all_hues
from diffusion.train.judge import Judge
from diffusion.train.judge.measure import DISTRACTORS, Logits

Pictures: TypeAlias = Sequence[Image.Image]
Measure: TypeAlias = Callable[[Pictures, Sequence[Ask]], Values]
Hits: TypeAlias = npt.NDArray[np.bool_]

# How often the pictures are dealt to other prompts to see what chance gives.
SHUFFLES: Final = 5
_BLANK: Final = Image.new("RGB", (64, 64), "white")


class Namer:
    """The measures that ask the judge: names among `distractors` others, styles, two things."""

    def __init__(self, judge: Judge, *, distractors: int = DISTRACTORS, seed: int = 0) -> None:
        self.judge = judge
        # A judge of few names has fewer to choose from.
        self.distractors = min(distractors, len(judge.names) // 2)
        self.seed = seed
        # The picture beside its scores: as long as it is held, nothing else has its id.
        self._in_all_hues: dict[int, tuple[Image.Image, Logits]] = {}

    def name(self, pictures: Pictures, asks: Sequence[Ask]) -> Values:
        """Say whether the thing's name wins; of several right names the best one counts."""
        scores, _ = self.judge.look(pictures)
        return _values(self._right(scores, [ask.names[0] for ask in asks]))

    def style(self, pictures: Pictures, asks: Sequence[Ask]) -> Values:
        """Say whether the style is the one that the prompt names."""
        _, scores = self.judge.look(pictures)
        styles = [self.judge.styles[int(i)] for i in scores.argmax(axis=1)]
        return _values([style == ask.style for style, ask in zip(styles, asks, strict=True)])

    def shape(self, pictures: Pictures, asks: Sequence[Ask]) -> Values:
        """Say whether the thing's name wins whatever its colour.

        The judge knows things by their usual colours: of real drawings recoloured it names about a
        third. So it sees each picture in every named hue, and the best of a name's scores counts,
        for the distractors as for the name that was asked for.
        """
        scores = np.stack([self._best_in_any_hue(picture) for picture in pictures])
        return _values(self._right(scores, [ask.names[0] for ask in asks]))

    def _best_in_any_hue(self, picture: Image.Image) -> Logits:
        if id(picture) not in self._in_all_hues:
            scores, _ = self.judge.look(in_all_hues(_pixels(picture)))
            self._in_all_hues[id(picture)] = picture, scores.max(axis=0)
        return self._in_all_hues[id(picture)][1]

    def hue_and_shape(self, pictures: Pictures, asks: Sequence[Ask]) -> Values:
        """Say whether both the colour and the thing are right."""
        return hue(pictures, asks) * self.shape(pictures, asks)

    def both(self, pictures: Pictures, asks: Sequence[Ask]) -> Values:
        """Say whether each half shows its thing.

        "Next to" says nothing about left and right, so either order is right there.
        """
        parts = [
            half
            for picture, ask in zip(pictures, asks, strict=True)
            for half in halves(_pixels(picture), ask.relation or Relation.BESIDE)
        ]
        # The judge always has an answer; where nothing lies, none is right.
        there = np.array([part is not None for part in parts])
        scores, _ = self.judge.look([_BLANK if p is None else Image.fromarray(p) for p in parts])
        first, second = [ask.names[0] for ask in asks], [ask.names[1] for ask in asks]
        straight = self._right(scores[0::2], first) & self._right(scores[1::2], second)
        crossed = self._right(scores[0::2], second) & self._right(scores[1::2], first)
        free = np.array([ask.relation is not Relation.STACKED for ask in asks])
        return _values((straight | (crossed & free)) & there[0::2] & there[1::2])

    def _right(self, scores: Logits, names: Sequence[tuple[str, ...]]) -> Hits:
        index = self.judge.name_index
        wanted = [[index[name] for name in each if name in index] for each in names]
        return right_among_any(scores, wanted, self.distractors, self.seed)


def right_among_any(
    scores: Logits, wanted: Sequence[Sequence[int]], distractors: int, seed: int
) -> Hits:
    """Say for each row whether the best of its wanted columns beats `distractors` others.

    With one wanted column this is `judge.right_among`, draws included. A tie counts as wrong.
    """
    right = np.zeros(len(wanted), dtype=np.bool_)
    for i, columns in enumerate(wanted):
        others = np.delete(np.arange(scores.shape[1]), columns)
        drawn = np.random.default_rng((seed, i)).choice(len(others), distractors, replace=False)
        right[i] = scores[i, columns].max() > scores[i, others[drawn]].max()
    return right


def hue(pictures: Pictures, asks: Sequence[Ask]) -> Values:
    """Say whether the thing has the named hue (see `compose.measure`)."""
    pairs = zip(pictures, asks, strict=True)
    return _values([a.colour is not None and shows_colour(_pixels(p), a.colour) for p, a in pairs])


def background(pictures: Pictures, asks: Sequence[Ask]) -> Values:
    """Say whether the corners have the named colour (see `compose.measure`)."""
    return _values(
        [
            ask.background is not None and shows_background(_pixels(picture), ask.background)
            for picture, ask in zip(pictures, asks, strict=True)
        ]
    )


def count(pictures: Pictures, asks: Sequence[Ask]) -> Values:
    """Say whether as many things lie on the background as were asked for (see `things`)."""
    pairs = zip(pictures, asks, strict=True)
    return _values([count_things(_pixels(picture)) == ask.count for picture, ask in pairs])


def measured(
    measure: Measure, pictures: Sequence[Pictures], asks: Sequence[Ask]
) -> tuple[Values, list[int]]:
    """Measure the pictures of every ask, in order; return the values and the ask of each."""
    flat, prompts = _flat(pictures)
    return measure(flat, [asks[i] for i in prompts]), prompts


def score_chance(
    measure: Measure, pictures: Sequence[Pictures], asks: Sequence[Ask], seed: int
) -> Figure | None:
    """Measure every ask on the pictures of others; None where there is one ask alone."""
    shifts = range(1, min(SHUFFLES, len(asks) - 1) + 1)
    if not shifts:
        return None
    flat, prompts = _flat(pictures)
    values = [measure(flat, [asks[(i + shift) % len(asks)] for i in prompts]) for shift in shifts]
    return figure(np.concatenate(values), prompts * len(shifts), seed)


def _flat(pictures: Sequence[Pictures]) -> tuple[list[Image.Image], list[int]]:
    flat = [picture for each in pictures for picture in each]
    return flat, [i for i, each in enumerate(pictures) for _ in each]


def _pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def _values(hits: Hits | Sequence[bool]) -> Values:
    return np.asarray(hits, dtype=np.float64)
