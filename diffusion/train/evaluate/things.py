"""The things of a picture apart from its background: halves, their number, other colours.

Promises: numbers from pixels alone, no learned weights. Background is what lies within dE*ab 15
(CIE 1976) of the median of the four corners, as in `compose.measure`.

Counting: connected regions (8 neighbours) that are not background, on the picture shrunk to 64
pixels; regions below `LEAST_PART` of the largest one are crumbs of a thing (a spark, a drop) and
do not count.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffusion.train.compose.colours import HUES, Mask, difference
from diffusion.train.compose.composition import Relation
from diffusion.train.compose.measure import MOST_BACKGROUND_ERROR, corner_median
from diffusion.train.compose.recolour import dominant_hue, recolour
from diffusion.train.data import Pixels

LEAST_PART: Final = 0.25
_SIDE: Final = 64
# Air around a thing that is cut out, as a share of its longer side.
_MARGIN: Final = 0.06


def foreground(picture: Pixels) -> Mask:
    """Say of each pixel of an H x W x 3 picture whether it is not background."""
    return np.asarray(difference(picture, corner_median(picture)) >= MOST_BACKGROUND_ERROR)


def halves(picture: Pixels, relation: Relation) -> tuple[Pixels | None, Pixels | None]:
    """Return what lies left and right, or above and below, each cut out as a square.

    The cut is the thing's own bounding square, filled up with background, so that the judge sees
    it as large as it sees drawings. None for a half where nothing lies.
    """
    middle = picture.shape[1] // 2 if relation is Relation.BESIDE else picture.shape[0] // 2
    axis = 1 if relation is Relation.BESIDE else 0
    first, second = np.split(picture, [middle], axis=axis)
    seen, other = np.split(foreground(picture), [middle], axis=axis)
    ground = np.rint(corner_median(picture)).astype(np.uint8)
    return _cut(first, seen, ground), _cut(second, other, ground)


def _cut(part: Pixels, seen: Mask, ground: Pixels) -> Pixels | None:
    if not seen.any():
        return None
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    part = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = part.shape[:2]
    side = round(max(height, width) * (1 + 2 * _MARGIN))
    square = np.broadcast_to(ground, (side, side, 3)).copy()
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = part
    return np.asarray(Image.fromarray(square).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))


def in_all_hues(picture: Pixels) -> list[Image.Image]:
    """Return a picture as it is, then with its thing in each named hue.

    As it is alone where no single hue rules the thing (see `compose.recolour`).
    """
    seen = foreground(picture)
    thing = np.dstack([picture, np.where(seen, 255, 0).astype(np.uint8)])
    if dominant_hue(thing) is None:
        return [Image.fromarray(picture)]
    turned = [np.where(seen[..., None], recolour(thing, hue)[..., :3], picture) for hue in HUES]
    return [Image.fromarray(each) for each in (picture, *turned)]


def count_things(picture: Pixels) -> int:
    """Return how many things lie on the background of an H x W x 3 picture."""
    if max(picture.shape[:2]) > _SIDE:
        small = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BOX)
        picture = np.asarray(small, dtype=np.uint8)
    areas = region_areas(foreground(picture))
    return int((areas >= LEAST_PART * areas.max()).sum()) if len(areas) else 0


def region_areas(mask: Mask) -> npt.NDArray[np.int64]:
    """Return the number of pixels of each region of a mask that hangs together (8 neighbours)."""
    height, width = mask.shape
    # Every pixel carries a number of its own; the largest spreads over its region.
    labels = np.where(mask, np.arange(1, height * width + 1).reshape(height, width), 0)
    while True:
        padded = np.pad(labels, 1)
        around = np.maximum.reduce([padded[:-2], padded[1:-1], padded[2:]])
        spread = np.maximum.reduce([around[:, :-2], around[:, 1:-1], around[:, 2:]])
        spread = np.where(mask, spread, 0)
        if np.array_equal(spread, labels):
            break
        labels = spread
    return np.unique(labels[mask], return_counts=True)[1]
