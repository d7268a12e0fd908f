"""What a picture looks like, in 64 bits: near for pictures that look the same.

The perceptual hash by cosine transform (Zauner 2010, section 3.2): grey, small, transformed, and
every low frequency above or below their median. Promises: the number survives JPEG and resizing by
a few bits, and lies far from that of other pictures; numpy alone, the same everywhere. Never
imports torch; never proves that two pictures are one.
"""

from functools import cache
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS: Final = 64
_SIDE: Final = 32
_BLOCK: Final = 9
# Above the median by less than this part of the mean is noise: symmetric drawings have many zeros.
_NOISE: Final = 0.01
# Of squared grey levels: what varies less is a plain field and a coder's traces.
_BLANK: Final = 4.0


def phash(picture: Image.Image) -> int:
    """Return a picture's 64 bits as a number from 0 to 2**64 - 1; transparency lies on white."""
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    small = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    waves, rows, columns = _table()
    grey = np.asarray(small, dtype=np.float64)
    low = (waves @ grey @ waves.T)[rows, columns]
    # And what is zero but for rounding is zero on every machine.
    bits = low > np.median(low) + _NOISE * np.abs(low).mean() + 1e-6
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return how far two pictures differ at a glance, from 0: the mean square between their small
    copies in colour, as a part of how much the plainer of the two varies.

    A picture that is all but blank is like no other, not even like itself: endless.
    """
    here, there = (_glance(each) for each in (one, other))
    varies = min(float(np.square(each - each.mean(axis=(0, 1))).mean()) for each in (here, there))
    return float(np.square(here - there).mean()) / varies if varies >= _BLANK else inf


def _glance(picture: Image.Image) -> NDArray[np.float64]:
    small = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64)


def bits_apart(one: int, other: int) -> int:
    """Return in how many bits two likenesses differ."""
    return (one ^ other).bit_count()


@cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.int_], NDArray[np.int_]]:
    """Return the lowest waves of the cosine transform (II), and where its 64 lowest frequencies
    are: the mean, which says how bright the picture is, left out.
    """
    places = np.arange(_SIDE) + 0.5
    waves = np.cos(np.pi / _SIDE * np.outer(np.arange(_BLOCK), places))
    both = [(row, column) for row in range(_BLOCK) for column in range(_BLOCK)]
    lowest = sorted(both, key=lambda pair: (sum(pair), pair))[1 : BITS + 1]
    rows, columns = zip(*lowest, strict=True)
    return waves, np.array(rows), np.array(columns)
