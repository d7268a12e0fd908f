"""Colours as numbers: hue, saturation and value, CIE L*a*b*, and the hues that have names.

Promises: whole arrays at once, sRGB in 0..255 as the input, no state. Formulas: HSV after Smith
1978 ("Color gamut transform pairs"); sRGB to L*a*b* (D65) after IEC 61966-2-1 and CIE 1976.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from diffusion.train.captions import BACKGROUNDS, Colour

Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

# Less saturated or darker pixels have a hue that nobody sees.
LEAST_SATURATION: Final = 0.25
LEAST_VALUE: Final = 0.20
_UNHUED: Final = frozenset({"white", "gray", "black", "light blue"})
# The named colours are those of the backgrounds, so one word means one colour everywhere. Light
# blue is left out (its hue is blue's); brown is dark orange and kept: see `measure`.
HUES: Final[tuple[Colour, ...]] = tuple(c for c in BACKGROUNDS if c.name not in _UNHUED)

_TO_XYZ: Final = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_D65: Final = (0.95047, 1.0, 1.08883)


class ComposeError(ValueError):
    """A colour, count, rate or picture that compositions cannot be made of."""


def named(name: str) -> Colour:
    """Return the hued colour of that name; ComposeError lists the ones there are."""
    for colour in HUES:
        if colour.name == name:
            return colour
    raise ComposeError(f"no hue is called {name!r}; use one of {', '.join(c.name for c in HUES)}.")


def to_hsv(rgb: npt.ArrayLike) -> Floats:
    """Return ... x 3 hue (degrees, 0 to 360), saturation and value (0..1) of sRGB in 0..255."""
    x = np.asarray(rgb, dtype=np.float64) / 255
    value = x.max(axis=-1)
    spread = value - x.min(axis=-1)
    safe = np.where(spread == 0, 1.0, spread)
    red, green, blue = x[..., 0], x[..., 1], x[..., 2]
    sector = np.select(
        [spread == 0, value == red, value == green],
        [np.zeros_like(value), (green - blue) / safe % 6, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )
    saturation = np.where(value == 0, 0.0, spread / np.where(value == 0, 1.0, value))
    return np.stack([sector * 60, saturation, value], axis=-1)


def from_hsv(hsv: Floats) -> Floats:
    """Return ... x 3 sRGB in 0..255 (not rounded) of hue in degrees, saturation and value."""
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    # One formula for all six sectors: each channel is a clipped triangle wave of the hue.
    sector = (np.array([5.0, 3.0, 1.0]) + hue[..., None] / 60) % 6
    wave = np.clip(np.minimum(sector, 4 - sector), 0, 1)
    rgb: Floats = value[..., None] * (1 - saturation[..., None] * wave) * 255
    return rgb


def hue_of(colour: Colour) -> float:
    """Return the hue of a named colour in degrees."""
    return float(to_hsv(colour.rgb)[0])


def hue_offset(hue: Floats, centre: float) -> Floats:
    """Return how far each hue lies from `centre`, in degrees, -180 to 180."""
    return (hue - centre + 180) % 360 - 180


def saturated(hsv: Floats) -> Mask:
    """Say of each pixel (... x 3 HSV) whether its hue can be seen."""
    return (hsv[..., 1] >= LEAST_SATURATION) & (hsv[..., 2] >= LEAST_VALUE)


def to_lab(rgb: npt.ArrayLike) -> Floats:
    """Return ... x 3 L*, a*, b* (D65) of sRGB in 0..255."""
    x = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array(_TO_XYZ).T / np.array(_D65)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x_, y_, z_ = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y_ - 16, 500 * (x_ - y_), 200 * (y_ - z_)], axis=-1)


def difference(one: npt.ArrayLike, other: npt.ArrayLike) -> Floats:
    """Return dE*ab of CIE 1976 between sRGB colours in 0..255 (shapes broadcast)."""
    error: Floats = np.linalg.norm(to_lab(one) - to_lab(other), axis=-1)
    return error
