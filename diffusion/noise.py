"""The noise of one picture: fresh draws, and one Brownian path over the noise levels.

Promises: both depend on the seed and the shape alone. Fresh draws come from the picture's own CPU
generator in float32 whatever the device: half precision would draw other numbers. The path is the
same however many steps look at it, and in whatever order.

## Why a tree of octaves
The path W(sigma) is cut at the powers of two; every octave [2^k, 2^(k+1)] has an independent
increment and is halved again and again (a Brownian bridge: Lévy's construction), each halving from
a generator keyed by seed, octave and position. So any W(sigma) is found by walking down one branch,
nothing is stored that another question would change, and the resolution is relative to sigma.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

# 2^-20 of an octave is far below any step; below 2^-10 lies no table's lowest level.
DEPTH: Final = 20
LOWEST_OCTAVE: Final = -10
REMEMBERED: Final = 4


class PictureNoise:
    """Standard normal noise of one shape (C x h x w), float32 on the CPU, from a seed."""

    def __init__(self, shape: Sequence[int], *, seed: int) -> None:
        self.shape = tuple(shape)
        self.seed = seed
        self.generator = torch.Generator("cpu").manual_seed(seed)
        self._octaves: dict[int, Tensor] = {}
        self._points: dict[float, Tensor] = {}

    def __call__(self) -> Tensor:
        """Draw afresh from the picture's generator."""
        return torch.randn(self.shape, generator=self.generator)

    def between(self, sigma: float, sigma_next: float, /) -> Tensor:
        """Return (W(sigma') - W(sigma)) / sqrt(|sigma' - sigma|), of variance one.

        As k-diffusion's BrownianTreeNoiseSampler scales it. ValueError for a step of no length or
        a negative level.
        """
        if sigma == sigma_next or min(sigma, sigma_next) < 0:
            raise ValueError(f"no noise between the levels {sigma} and {sigma_next}")
        increment = self._at(sigma_next) - self._at(sigma)
        return (increment / math.sqrt(abs(sigma_next - sigma))).float()

    def _at(self, sigma: float) -> Tensor:
        """Return W(sigma), W(0) = 0, in float64."""
        if sigma not in self._points:
            while len(self._points) >= REMEMBERED:
                del self._points[next(iter(self._points))]
            self._points[sigma] = self._walk(sigma)
        return self._points[sigma]

    def _walk(self, sigma: float) -> Tensor:
        if sigma == 0:
            return torch.zeros(self.shape, dtype=torch.float64)
        # math.frexp: sigma = fraction * 2^exponent with the fraction from 1/2.
        octave = max(math.frexp(sigma)[1] - 1, LOWEST_OCTAVE - 1)
        total = torch.zeros(self.shape, dtype=torch.float64)
        for below in range(LOWEST_OCTAVE - 1, octave):
            total += self._octave(below)
        start, width = _interval(octave)
        return total + self._part(octave, (sigma - start) / width, width)

    def _octave(self, octave: int) -> Tensor:
        """Return the increment over a whole octave; the lowest reaches down to 0."""
        if octave not in self._octaves:
            width = _interval(octave)[1]
            self._octaves[octave] = self._draw(octave, "") * math.sqrt(width)
        return self._octaves[octave]

    def _part(self, octave: int, place: float, width: float) -> Tensor:
        """Return the increment from an octave's start to `place` (0 to 1) in it."""
        increment, passed, path = self._octave(octave), torch.zeros(()).double(), "."
        for _ in range(DEPTH):
            if place == 0:
                return passed
            # Of an interval of width w the left half has mean I / 2 and variance w / 4.
            left = increment / 2 + self._draw(octave, path) * (math.sqrt(width) / 2)
            width, place = width / 2, place * 2
            if place >= 1:
                passed, increment, place, path = (
                    passed + left,
                    increment - left,
                    place - 1,
                    path + "1",
                )
            else:
                increment, path = left, path + "0"
        return passed + increment * place

    def _draw(self, octave: int, path: str) -> Tensor:
        key = hashlib.blake2b(f"{self.seed}/{octave}/{path}".encode(), digest_size=8).digest()
        generator = torch.Generator("cpu").manual_seed(int.from_bytes(key, "big") >> 1)
        return torch.randn(self.shape, generator=generator).double()


def _interval(octave: int) -> tuple[float, float]:
    """Return where an octave starts and how wide it is."""
    if octave < LOWEST_OCTAVE:
        return 0.0, 2.0**LOWEST_OCTAVE
    return 2.0**octave, 2.0**octave
