"""Samplers, each written as in its paper: a coroutine that yields where it needs the network.

It yields (x, sigma) and is sent the denoised estimate of x at that noise level. x = x0 + sigma eps;
sigmas decrease and end with 0; `noise` draws what standard normal noise is needed. Promises: the
numbers beside x live on the host, so no device is waited for; a sampler knows nothing of batches,
guidance or prompts, and touches x only by sums and multiples: every one is a linear map of latents,
estimates and noise, and runs on anything that can be added and scaled.

## Why Euler ancestral, DDIM with eta 1 and DDPM give the same numbers
Over the same levels they are one algorithm: each draws from the posterior q(x' | x, x0 = D). They
differ in the coordinates of their papers, and here in how the starting noise is scaled.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final, Protocol, Self, TypeAlias, TypeVar


class Linear(Protocol):
    """What a sampler may do with latents."""

    def __add__(self, other: Self, /) -> Self:
        """Return the sum."""

    def __sub__(self, other: Self, /) -> Self:
        """Return the difference."""

    def __mul__(self, factor: float, /) -> Self:
        """Return a multiple."""


X = TypeVar("X", bound=Linear)
Sampling: TypeAlias = Generator[tuple[X, float], X, X]


class Start(Protocol):
    """Start a sampler on x of any shape: sigmas decrease to 0, `noise` draws standard normals."""

    def __call__(self, x: X, sigmas: Sequence[float], noise: Callable[[], X], /) -> Sampling[X]:
        """Return the coroutine."""


def euler(x: X, sigmas: Sequence[float], noise: Callable[[], X]) -> Sampling[X]:
    """Take Euler steps of the probability flow (Karras et al. 2022, Algorithm 2 without churn)."""
    del noise
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield x, sigma
        d = (x - denoised) * (1 / sigma)
        x = x + d * (sigma_next - sigma)
    return x


def euler_a(x: X, sigmas: Sequence[float], noise: Callable[[], X]) -> Sampling[X]:
    """Take Euler steps to a lower level than asked, then add fresh noise ("ancestral").

    sigma_up^2 = sigma'^2 (sigma^2 - sigma'^2) / sigma^2 and sigma_down^2 = sigma'^2 - sigma_up^2
    (k-diffusion; Karras et al. 2022, section 4, tell why more noise than asked is taken away).
    """
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield x, sigma
        sigma_up = sigma_next * math.sqrt(max(0.0, 1 - (sigma_next / sigma) ** 2))
        sigma_down = sigma_next**2 / sigma
        d = (x - denoised) * (1 / sigma)
        x = x + d * (sigma_down - sigma)
        if sigma_next > 0:
            x = x + noise() * sigma_up
    return x


def ddim(x: X, sigmas: Sequence[float], noise: Callable[[], X], *, eta: float = 0.0) -> Sampling[X]:
    """Take the step of Song et al. 2021, equation 12; deterministic with eta = 0.

    x_t' = sqrt(abar') D + sqrt(1 - abar' - s^2) eps + s z with eps = (x_t - sqrt(abar) D) /
    sqrt(1 - abar) and s of their equation 16. Divided by sqrt(abar') that is
    D + sqrt(sigma'^2 - s'^2) eps + s' z with eps = (x - D) / sigma and
    s' = eta sigma' sqrt(1 - sigma'^2 / sigma^2).
    """
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield x, sigma
        eps = (x - denoised) * (1 / sigma)
        fresh = eta * sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2)
        x = denoised + eps * math.sqrt(sigma_next**2 - fresh**2)
        if fresh > 0:
            x = x + noise() * fresh
    return x


def ddpm(x: X, sigmas: Sequence[float], noise: Callable[[], X]) -> Sampling[X]:
    """Draw from the posterior q(x_t' | x_t, x0 = D): Algorithm 2 of Ho et al. 2020.

    Their equations 6 and 7 with beta = 1 - abar / abar', divided by sqrt(abar'): the mean is
    (sigma'^2 / sigma^2) x + (1 - sigma'^2 / sigma^2) D, the variance
    sigma'^2 (1 - sigma'^2 / sigma^2), the smaller of their two. With all the levels of the table
    it is their algorithm to the letter. No noise at the last step.
    """
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield x, sigma
        keep = (sigma_next / sigma) ** 2
        x = x * keep + denoised * (1 - keep)
        if sigma_next > 0:
            x = x + noise() * (sigma_next * math.sqrt(1 - keep))
    return x


def dpmpp_2m(x: X, sigmas: Sequence[float], noise: Callable[[], X]) -> Sampling[X]:
    """Take second-order multistep steps (Lu et al. 2022, DPM-Solver++, Algorithm 2).

    With lambda = -ln sigma, h its increment and r = h_last / h:
    x' = (sigma' / sigma) x - (e^-h - 1) [(1 + 1/2r) D - (1/2r) D_last]; plain D on the first and
    the last step, where h is infinite.
    """
    del noise
    denoised_last: X | None = None
    h_last = 0.0
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        h = math.log(sigma / sigma_next)
        estimate = denoised
        if denoised_last is not None:
            weight = h / (2 * h_last)
            estimate = denoised * (1 + weight) - denoised_last * weight
        x = x * (sigma_next / sigma) - estimate * math.expm1(-h)
        denoised_last, h_last = denoised, h
    return x


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """A sampler and the conventions it comes with.

    variance_preserving: it starts from x_t as pure noise; multistep: it spaces its timesteps as
    DPM++ does; whole_timesteps: it visits whole timesteps only; needs_noise: it draws on its way.
    """

    name: str
    start: Start
    variance_preserving: bool
    multistep: bool = False
    whole_timesteps: bool = False
    needs_noise: bool = False


SAMPLERS: Final[Mapping[str, Sampler]] = MappingProxyType(
    {
        sampler.name: sampler
        for sampler in (
            Sampler(
                name="ddpm",
                start=ddpm,
                variance_preserving=True,
                whole_timesteps=True,
                needs_noise=True,
            ),
            Sampler(name="ddim", start=ddim, variance_preserving=True, whole_timesteps=True),
            Sampler(name="euler", start=euler, variance_preserving=False),
            Sampler(name="euler_a", start=euler_a, variance_preserving=False, needs_noise=True),
            Sampler(name="dpmpp_2m", start=dpmpp_2m, variance_preserving=True, multistep=True),
        )
    }
)
