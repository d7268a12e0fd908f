"""Whether a picture shows the colour that was asked for, without learned weights.

Promises: numbers from pixels alone. Hue: the share of the saturated pixels within 30 degrees of a
named hue, more than 60 % for a hit. Background: dE*ab (CIE 1976) between the median of the four
corners and the named colour, less than 15 for a hit. The hue cannot tell brown from orange, and
tells pink from red badly (25 degrees): `nearest_hue` names the nearest colour beside it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from diffusion.train.captions import Colour
from diffusion.train.compose.colours import (
    HUES,
    ComposeError,
    Floats,
    difference,
    hue_of,
    hue_offset,
    saturated,
    to_hsv,
)
from diffusion.train.data import Pixels

HUE_WINDOW: Final = 30.0
LEAST_HUE_SHARE: Final = 0.60
MOST_BACKGROUND_ERROR: Final = 15.0
# A few coloured pixels on a gray picture are no colour.
LEAST_SEEN: Final = 0.01
_CORNER: Final = 1 / 16


def _checked(picture: Pixels) -> Pixels:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ComposeError(
            f"a picture is H x W x 3 of uint8, not {picture.shape} of {picture.dtype}."
        )
    return picture


def corner_median(picture: Pixels) -> Floats:
    """Return the median colour (3, sRGB 0..255) of the four corners of an H x W x 3 picture.

    A corner is a sixteenth of each side, at least one pixel.
    """
    height, width = _checked(picture).shape[:2]
    h, w = max(1, int(height * _CORNER)), max(1, int(width * _CORNER))
    corners = [
        picture[rows, columns].reshape(-1, 3)
        for rows in (slice(h), slice(-h, None))
        for columns in (slice(w), slice(-w, None))
    ]
    median: Floats = np.median(np.concatenate(corners), axis=0)
    return median


def background_error(picture: Pixels, colour: Colour) -> float:
    """Return dE*ab between the corners of an H x W x 3 picture and a named colour."""
    return float(difference(corner_median(picture), colour.rgb))


def shows_background(picture: Pixels, colour: Colour) -> bool:
    """Say whether an H x W x 3 picture lies on the named colour."""
    return background_error(picture, colour) < MOST_BACKGROUND_ERROR


def _seen(picture: Pixels) -> Pixels:
    """Return the N x 3 saturated pixels that are not background, none where they are too few."""
    background = difference(picture, corner_median(picture)) < MOST_BACKGROUND_ERROR
    seen = picture[saturated(to_hsv(picture)) & ~background]
    return seen if len(seen) >= LEAST_SEEN * background.size else seen[:0]


def hue_share(picture: Pixels, colour: Colour) -> float:
    """Return the share (0..1) of saturated pixels within 30 degrees of a named hue.

    Pixels like the corners are background and do not count. 0 where hardly a pixel is saturated.
    """
    seen = _seen(picture)
    if len(seen) == 0:
        return 0.0
    offset = hue_offset(to_hsv(seen)[:, 0], hue_of(colour))
    return float((np.abs(offset) <= HUE_WINDOW).mean())


def shows_colour(picture: Pixels, colour: Colour) -> bool:
    """Say whether the thing on an H x W x 3 picture has the named hue."""
    return hue_share(picture, colour) > LEAST_HUE_SHARE


def nearest_hue(picture: Pixels) -> Colour | None:
    """Return the named colour nearest in L*a*b* to most saturated pixels, None without any.

    Each pixel votes, so shading and a leaf do not shift the answer as they shift a mean.
    """
    seen = _seen(picture)
    if len(seen) == 0:
        return None
    errors = np.stack([difference(seen, colour.rgb) for colour in HUES])
    return HUES[int(np.bincount(errors.argmin(axis=0)).argmax())]
