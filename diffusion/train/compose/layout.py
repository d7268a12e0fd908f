"""Where parts go on a canvas: one smaller, two beside or above each other, two to four of one.

Promises: parts lie inside the canvas and never overlap; sizes change on premultiplied colour, so
no dark rim appears; the order of the boxes is the order of the parts. Boxes are whole pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from diffusion.train.compose.colours import ComposeError
from diffusion.train.data import Pixels
from diffusion.train.rasterise import clean

# Of the side of the canvas: what a part of several may take, so that air is left between them.
PART: Final = (0.42, 0.48)
_GRID_PART: Final = 0.46


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A square of `side` pixels with its left top corner at (left, top)."""

    left: int
    top: int
    side: int

    def overlaps(self, other: Box) -> bool:
        """Say whether the two squares share a pixel."""
        return (
            self.left < other.left + other.side
            and other.left < self.left + self.side
            and self.top < other.top + other.side
            and other.top < self.top + self.side
        )


def fit(pixels: Pixels, side: int) -> Pixels:
    """Shrink an S x S x 4 drawing to side x side x 4; ComposeError when it would grow."""
    if pixels.shape[0] != pixels.shape[1] or not 1 <= side <= pixels.shape[0]:
        raise ComposeError(f"a drawing of {pixels.shape[:2]} cannot be shrunk to {side} pixels.")
    picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGBa")
    small = picture.resize((side, side), Image.Resampling.BOX).convert("RGBA")
    return clean(np.asarray(small, dtype=np.uint8))


def lay(parts: Sequence[Pixels], boxes: Sequence[Box], size: int) -> Pixels:
    """Return a size x size x 4 canvas with each drawing shrunk into its box.

    ComposeError when a box leaves the canvas or two overlap.
    """
    for i, box in enumerate(boxes):
        if min(box.left, box.top) < 0 or max(box.left, box.top) + box.side > size:
            raise ComposeError(f"{box} leaves a canvas of {size} pixels.")
        if any(box.overlaps(other) for other in boxes[:i]):
            raise ComposeError(f"{box} overlaps another part.")
    canvas = np.zeros((size, size, 4), dtype=np.uint8)
    for pixels, box in zip(parts, boxes, strict=True):
        place = slice(box.top, box.top + box.side), slice(box.left, box.left + box.side)
        canvas[place] = fit(pixels, box.side)
    return canvas


def centred(size: int, share: float) -> Box:
    """Return a box in the middle that takes `share` of the canvas's side."""
    side = max(1, round(size * share))
    return Box(left=(size - side) // 2, top=(size - side) // 2, side=side)


def beside(size: int, rng: np.random.Generator) -> tuple[Box, Box]:
    """Return two boxes, the first on the left, a little shifted and of not quite equal size."""
    first, second = _along(size, rng), _along(size, rng)
    left = Box(left=size // 2 - first.side - first.gap, top=first.across, side=first.side)
    right = Box(left=size - size // 2 + second.gap, top=second.across, side=second.side)
    return left, right


def stacked(size: int, rng: np.random.Generator) -> tuple[Box, Box]:
    """Return two boxes, the first above the second."""
    left, right = beside(size, rng)
    return (
        Box(left=left.top, top=left.left, side=left.side),
        Box(left=right.top, top=right.left, side=right.side),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Half:
    side: int
    gap: int
    across: int


def _along(size: int, rng: np.random.Generator) -> _Half:
    """Draw one half's size, its distance from the middle line, and its place across."""
    side = max(1, int(size * rng.uniform(*PART)))
    gap = int(rng.integers(0, size // 2 - side + 1))
    middle, slack = (size - side) // 2, size // 10
    return _Half(side=side, gap=gap, across=middle + int(rng.integers(-slack, slack + 1)))


def tidy(size: int, count: int) -> tuple[Box, ...]:
    """Return boxes for two side by side, three as a triangle, four as a square."""
    half, side = size // 2, max(1, int(size * _GRID_PART))
    low, high = (half - side) // 2, size - half + (half - side) // 2
    middle = (size - side) // 2
    places = {
        2: ((low, middle), (high, middle)),
        3: ((middle, low), (low, high), (high, high)),
        4: ((low, low), (high, low), (low, high), (high, high)),
    }
    if count not in places:
        raise ComposeError(f"{count} parts cannot be laid out; use {', '.join(map(str, places))}.")
    return tuple(Box(left=left, top=top, side=side) for left, top in places[count])
