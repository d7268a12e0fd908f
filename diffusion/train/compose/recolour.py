"""Drawings in another colour: "purple apple" from a red one.

Promises: only the dominant hue moves; its shading, the alpha, the unsaturated parts (outlines,
highlights, teeth) and other hues (a leaf) stay. Never: a drawing without one dominant hue.

Rule for "one dominant hue": of the pixels that are more than half opaque at least `LEAST_COVER`
are saturated; at least `LEAST_SHARE` of those, weighted by chroma, lie within `WINDOW` degrees of
the strongest hue; and the median chroma (saturation x value) there is at least `LEAST_CHROMA`:
less is the bluish black of a spider, which turns into blotches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from diffusion.train.captions import Colour
from diffusion.train.compose.colours import (
    HUES,
    ComposeError,
    Floats,
    difference,
    from_hsv,
    hue_of,
    hue_offset,
    saturated,
    to_hsv,
)
from diffusion.train.compose.measure import HUE_WINDOW
from diffusion.train.data import Pixels

LEAST_COVER: Final = 0.40
LEAST_SHARE: Final = 0.80
LEAST_CHROMA: Final = 0.20
WINDOW: Final = 25.0
# A drawing whose usual colour is nearer than this to a named one already has that colour.
SAME_COLOUR: Final = 30.0
# Full effect up to the window's edge, none from here on: no seams in gradients.
_FADE_END: Final = 45.0
# Hues around the dominant one are drawn together, or a yellow-orange flame turns teal and purple.
_HUE_SPREAD: Final = 0.5
# Without a bound, a drawing that is nearly as bright as can be gets its noise blown up.
_STEEPEST: Final = 1.5
_BINS: Final = 72
_FADE_CHROMA: Final = (0.06, 0.18)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dominant:
    """The one hue of a drawing: degrees, the median saturation and value (0..1) of its pixels."""

    hue: float
    saturation: float
    value: float

    @property
    def rgb(self) -> Floats:
        """The usual colour of the drawing, sRGB in 0..255."""
        return from_hsv(np.array([self.hue, self.saturation, self.value]))


def dominant_hue(pixels: Pixels) -> Dominant | None:
    """Return the hue that rules an S x S x 4 drawing, None where no single one does."""
    opaque = pixels[..., 3] > 127
    hsv = to_hsv(pixels[..., :3])[opaque]
    seen = hsv[saturated(hsv)]
    if len(seen) == 0 or len(seen) < LEAST_COVER * len(hsv):
        return None
    chroma = seen[:, 1] * seen[:, 2]
    bins = np.bincount((seen[:, 0] * _BINS / 360).astype(int) % _BINS, chroma, minlength=_BINS)
    # Whole bins that fit into the window around the middle of the central one.
    reach = int(WINDOW * _BINS / 360 - 0.5)
    sums = sum(np.roll(bins, shift) for shift in range(-reach, reach + 1))
    peak = (float(np.argmax(sums)) + 0.5) * 360 / _BINS
    offset = hue_offset(seen[:, 0], peak)
    near = np.abs(offset) <= WINDOW
    hue = peak + float(np.average(offset[near], weights=chroma[near]))
    near = np.abs(hue_offset(seen[:, 0], hue)) <= WINDOW
    if chroma[near].sum() < LEAST_SHARE * chroma.sum():
        return None
    saturation, value = np.median(seen[near, 1:], axis=0)
    if saturation * value < LEAST_CHROMA:
        return None
    return Dominant(hue=hue % 360, saturation=float(saturation), value=float(value))


def targets(dominant: Dominant) -> tuple[Colour, ...]:
    """Return the named colours that a drawing can be given: all but the one it has."""
    return tuple(c for c in HUES if difference(dominant.rgb, c.rgb) >= SAME_COLOUR)


def has_hue(dominant: Dominant, colour: Colour) -> bool:
    """Say whether `measure.shows_colour` would be content with the drawing as it is."""
    return bool(abs(hue_offset(np.array(dominant.hue), hue_of(colour))) <= HUE_WINDOW)


def recolour(pixels: Pixels, colour: Colour) -> Pixels:
    """Return an S x S x 4 drawing with its dominant hue turned to a named colour's.

    ComposeError where the drawing has no dominant hue.
    """
    dominant = dominant_hue(pixels)
    if dominant is None:
        raise ComposeError(f"no single hue rules this drawing; it cannot be made {colour.name}.")
    hsv = to_hsv(pixels[..., :3])
    goal = to_hsv(colour.rgb)
    offset = hue_offset(hsv[..., 0], dominant.hue)
    turned = np.stack(
        [
            (hue_of(colour) + _HUE_SPREAD * np.clip(offset, -WINDOW, WINDOW)) % 360,
            _bend(hsv[..., 1], dominant.saturation, float(goal[1])),
            _bend(hsv[..., 2], dominant.value, float(goal[2])),
        ],
        axis=-1,
    )
    near = _ramp(_FADE_END - np.abs(offset), 0.0, _FADE_END - WINDOW)
    weight = (near * _ramp(hsv[..., 1] * hsv[..., 2], *_FADE_CHROMA))[..., None]
    mixed = weight * from_hsv(turned) + (1 - weight) * pixels[..., :3]
    out = np.concatenate([np.rint(np.clip(mixed, 0, 255)), pixels[..., 3:]], axis=-1)
    return out.astype(np.uint8)


def _bend(x: Floats, usual: float, goal: float) -> Floats:
    """Map 0..1 to 0..1, rising, with `usual` becoming `goal`: shading keeps its order."""
    above = goal + np.minimum((1 - goal) / max(1 - usual, 1e-6), _STEEPEST) * (x - usual)
    return np.where(x <= usual, goal * x / usual, above)


def _ramp(x: Floats, low: float, high: float) -> Floats:
    return np.clip((x - low) / (high - low), 0.0, 1.0)
