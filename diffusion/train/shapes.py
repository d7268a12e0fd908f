"""Point sets on a plane that the toy model learns: shapes of our own, drawn by a few formulas.

Promises: `points(name, n, seed)` depends on nothing else; every set has mean 0 and, over both
axes, deviation 1, as a diffusion model likes its data.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]
_TURN: Final = 2 * np.pi


def points(name: str, count: int, seed: int = 0) -> Points:
    """Return `count` x 2 points of a shape; KeyError names the shapes there are."""
    if name not in SHAPES:
        raise KeyError(f"no shape {name!r}; there are {', '.join(SHAPES)}")
    rng = np.random.default_rng(seed)
    found = SHAPES[name](count, rng)
    centred = found - found.mean(axis=0)
    scaled: Points = centred / centred.std()
    return scaled


def _heart(count: int, rng: np.random.Generator) -> Points:
    """A filled heart: the points of a square for which (x^2 + y^2 - 1)^3 <= x^2 y^3."""
    # About four in ten are inside.
    x, y = rng.uniform(-1.3, 1.3, (2, 4 * count + 100))
    inside = (x**2 + y**2 - 1) ** 3 <= x**2 * y**3
    return np.stack([x[inside], y[inside]], axis=1)[:count]


def _spiral(count: int, rng: np.random.Generator) -> Points:
    """Two arms of a galaxy."""
    turn = np.sqrt(rng.uniform(0.02, 1, count)) * 2.5 * np.pi
    arm = rng.integers(0, 2, count) * np.pi
    arms = np.stack([np.cos(turn + arm), np.sin(turn + arm)], axis=1) * turn[:, None]
    return arms + rng.normal(0, 0.15, arms.shape)


def _smile(count: int, rng: np.random.Generator) -> Points:
    """A face: a ring, two eyes, a mouth."""
    part = rng.choice(4, count, p=[0.5, 0.13, 0.13, 0.24])
    ring, mouth = rng.uniform(0, _TURN, count), rng.uniform(-0.8, 0.8, count) * np.pi / 2
    eye = rng.normal(0, 0.07, (count, 2))
    found = np.stack([np.cos(ring), np.sin(ring)], axis=1)
    for number, side in ((1, -0.35), (2, 0.35)):
        found = np.where((part == number)[:, None], eye + np.array([side, 0.3]), found)
    smile = np.stack([0.6 * np.sin(mouth), -0.6 * np.cos(mouth) - 0.02], axis=1)
    found = np.where((part == 3)[:, None], smile, found)
    return found + rng.normal(0, 0.02, (count, 2))


def _star(count: int, rng: np.random.Generator) -> Points:
    """The outline of a star with five points."""
    corners = np.arange(11) * np.pi / 5 + np.pi / 2
    radius = np.where(np.arange(11) % 2 == 0, 1.0, 0.4)
    outline = np.stack([np.cos(corners), np.sin(corners)], axis=1) * radius[:, None]
    side, along = rng.integers(0, 10, count), rng.uniform(0, 1, (count, 1))
    found = outline[side] * (1 - along) + outline[side + 1] * along
    return found + rng.normal(0, 0.015, (count, 2))


def _easel(count: int, rng: np.random.Generator) -> Points:
    """An easel: two legs, a shelf, a canvas."""
    lines = np.array(
        [
            [[-0.15, 1.2], [-0.75, -1.2]],
            [[0.15, 1.2], [0.75, -1.2]],
            [[-0.75, -0.35], [0.75, -0.35]],
            [[-0.6, -0.3], [-0.6, 0.8]],
            [[0.6, -0.3], [0.6, 0.8]],
            [[-0.6, 0.8], [0.6, 0.8]],
            [[-0.6, -0.3], [0.6, -0.3]],
        ]
    )
    lengths = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1)
    chosen = rng.choice(len(lines), count, p=lengths / lengths.sum())
    along = rng.uniform(0, 1, (count, 1))
    found: Points = lines[chosen, 0] * (1 - along) + lines[chosen, 1] * along
    return found + rng.normal(0, 0.015, found.shape)


SHAPES: Final[Mapping[str, Callable[[int, np.random.Generator], Points]]] = MappingProxyType(
    {"heart": _heart, "spiral": _spiral, "smile": _smile, "star": _star, "easel": _easel}
)
