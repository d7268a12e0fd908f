"""How near pictures lie to each other: copies of drawings, variety over seeds, reconstructions.

Promises: plain pixels. The distance is the root mean square over 16 x 16 x 3 values in 0..1, so
that it is about shapes and colours and not about a line's edge; a drawing that may be mirrored is
compared both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffusion.train.data import Row
from diffusion.train.evaluate.drawings import Drawings

Thumbnails = npt.NDArray[np.float64]

SIDE: Final = 16
# Nearer than this share of the usual distance between real neighbours is a copy.
COPY: Final = 0.5


def thumbnails(pictures: Sequence[Image.Image]) -> Thumbnails:
    """Return N x 768 values in 0..1: the pictures averaged to 16 x 16."""
    small = [
        np.asarray(each.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
        for each in pictures
    ]
    return np.stack(small).reshape(len(small), -1) / 255


def distances(one: Thumbnails, other: Thumbnails) -> Thumbnails:
    """Return the N x M root mean squares between N and M thumbnails."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    # Rounding may leave a little less than nothing between equal pictures.
    apart: Thumbnails = np.sqrt(np.clip(squares, 0, None) / one.shape[1])
    return apart


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbours:
    """Training drawings to find the nearest of. threshold: nearer ones are copies."""

    rows: tuple[Row, ...]
    plain: Thumbnails
    mirrored: Thumbnails
    threshold: float

    @classmethod
    def among(cls, drawings: Drawings) -> Neighbours:
        """Look at the drawings that were trained; ValueError for fewer than two."""
        rows = drawings.trained
        if len(rows) < 2:
            raise ValueError("fewer than two training drawings: there is no distance between them")
        plain = thumbnails([drawings.picture(row) for row in rows])
        turned = plain.reshape(-1, SIDE, SIDE, 3)[:, :, ::-1].reshape(len(plain), -1)
        flips = np.array([row.flip for row in rows])
        mirrored = np.where(flips[:, None], turned, plain)
        apart = np.minimum(distances(plain, plain), distances(plain, mirrored))
        # A drawing is no neighbour of itself, nor of its own mirror image.
        np.fill_diagonal(apart, np.inf)
        threshold = COPY * float(np.median(apart.min(axis=1)))
        return cls(rows=rows, plain=plain, mirrored=mirrored, threshold=threshold)

    def apart(self, pictures: Sequence[Image.Image]) -> Thumbnails:
        """Return the distances of N pictures to each of the drawings."""
        seen = thumbnails(pictures)
        return np.minimum(distances(seen, self.plain), distances(seen, self.mirrored))

    def copies(self, pictures: Sequence[Image.Image]) -> Thumbnails:
        """Say of each picture (1 or 0) whether it is a copy of a training drawing."""
        near: Thumbnails = (self.apart(pictures).min(axis=1) < self.threshold).astype(np.float64)
        return near

    def nearest(self, picture: Image.Image, count: int = 3) -> list[tuple[Row, float]]:
        """Return the nearest drawings with their distances, the nearest first."""
        apart = self.apart([picture])[0]
        return [(self.rows[int(i)], float(apart[i])) for i in np.argsort(apart)[:count]]


def variety(pictures: Sequence[Sequence[Image.Image]]) -> list[float]:
    """Return the mean distance between the pictures of each group of two or more."""
    found = []
    for group in pictures:
        if len(group) > 1:
            apart = distances(thumbnails(group), thumbnails(group))
            pairs = combinations(range(len(group)), 2)
            found.append(float(np.mean([apart[i, j] for i, j in pairs])))
    return found


def across_styles(drawings: Drawings) -> list[list[Image.Image]]:
    """Return the trained drawings of each name that is drawn in several styles."""
    groups: dict[str, dict[str, Row]] = {}
    for row in drawings.trained:
        groups.setdefault(row.name, {}).setdefault(row.style, row)
    several = [group for group in groups.values() if len(group) > 1]
    return [[drawings.picture(row) for row in group.values()] for group in several]


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Return the peak signal-to-noise ratio of two pictures of one size in dB."""
    first, second = (np.asarray(each.convert("RGB"), np.float64) / 255 for each in (one, other))
    error = float(((first - second) ** 2).mean())
    # Equal pictures: as near as 8 bits can tell.
    return -10 * float(np.log10(max(error, 1 / 255**2 / first.size)))
