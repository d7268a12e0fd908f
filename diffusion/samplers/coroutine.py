"""What a sampler is: a coroutine over anything that can be added and scaled.

It yields (x, sigma) and is sent the denoised estimate of x at that noise level; x = x0 + sigma eps.
Promises: types only, no tensors.
"""

from collections.abc import Generator
from typing import Protocol, Self, TypeAlias, TypeVar

from diffusion.schedules.levels import Levels


class Linear(Protocol):
    """What a sampler may do with latents."""

    def __add__(self, other: Self, /) -> Self:
        """Return the sum."""

    def __sub__(self, other: Self, /) -> Self:
        """Return the difference."""

    def __mul__(self, factor: float, /) -> Self:
        """Return a multiple."""


X = TypeVar("X", bound=Linear)
XOut = TypeVar("XOut", bound=Linear, covariant=True)
Sampling: TypeAlias = Generator[tuple[X, float], X, X]


class Noise(Protocol[XOut]):
    """Where a sampler's noise comes from: standard normals of x's shape."""

    def __call__(self) -> XOut:
        """Draw afresh."""

    def between(self, sigma: float, sigma_next: float, /) -> XOut:
        """Return one Brownian path's increment from sigma to sigma_next, scaled to variance one."""


class Start(Protocol):
    """Start a sampler on x of any shape, at the first of `levels`."""

    def __call__(self, x: X, levels: Levels, noise: Noise[X], /) -> Sampling[X]:
        """Return the coroutine."""


class StirredStart(Protocol):
    """Start a sampler that takes the amount of fresh noise, 0 for none."""

    def __call__(self, x: X, levels: Levels, noise: Noise[X], /, *, eta: float) -> Sampling[X]:
        """Return the coroutine."""
