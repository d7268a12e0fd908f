"""Samplers that ask twice a step: Heun, DPM2, DPM2 a, DPM++ 2S a, DPM++ SDE.

The step that ends at 0 asks once: beyond it there is nothing to look at.
"""

import math
from itertools import pairwise

from diffusion.samplers.coroutine import Noise, Sampling, X
from diffusion.samplers.single import ancestral
from diffusion.schedules.levels import Levels


def heun(x: X, levels: Levels, noise: Noise[X]) -> Sampling[X]:
    """Average the slopes at both ends of the step (Karras et al. 2022, Algorithm 1)."""
    del noise
    for sigma, sigma_next in pairwise(levels.sigmas):
        denoised = yield x, sigma
        d = (x - denoised) * (1 / sigma)
        ahead = x + d * (sigma_next - sigma)
        if sigma_next > 0:
            denoised = yield ahead, sigma_next
            d_next = (ahead - denoised) * (1 / sigma_next)
            ahead = x + (d + d_next) * (0.5 * (sigma_next - sigma))
        x = ahead
    return x


def dpm2(x: X, levels: Levels, noise: Noise[X]) -> Sampling[X]:
    """Take the slope at the middle of the step (DPM-Solver-2: Lu et al. 2022a, Algorithm 1).

    The middle is the geometric mean of the levels, as in k-diffusion.
    """
    del noise
    for sigma, sigma_next in pairwise(levels.sigmas):
        denoised = yield x, sigma
        d = (x - denoised) * (1 / sigma)
        if sigma_next > 0:
            middle = math.sqrt(sigma * sigma_next)
            inner = x + d * (middle - sigma)
            denoised = yield inner, middle
            d = (inner - denoised) * (1 / middle)
        x = x + d * (sigma_next - sigma)
    return x


def dpm2_a(x: X, levels: Levels, noise: Noise[X], *, eta: float = 1.0) -> Sampling[X]:
    """Take DPM2's step to a lower level than asked, then add fresh noise (k-diffusion)."""
    for sigma, sigma_next in pairwise(levels.sigmas):
        denoised = yield x, sigma
        down, up = ancestral(sigma, sigma_next, eta)
        d = (x - denoised) * (1 / sigma)
        if down > 0:
            middle = _inner(sigma, down, sigma_next)
            inner = x + d * (middle - sigma)
            denoised = yield inner, middle
            d = (inner - denoised) * (1 / middle)
        x = x + d * (down - sigma)
        if up > 0:
            x = x + noise() * up
    return x


def dpmpp_2s_a(x: X, levels: Levels, noise: Noise[X], *, eta: float = 1.0) -> Sampling[X]:
    """Take singlestep DPM-Solver++ steps to a lower level than asked, then add fresh noise.

    Lu et al. 2022b, Algorithm 1 with the inner point halfway in ln sigma, between sigma and the
    lower level (k-diffusion).
    """
    for sigma, sigma_next in pairwise(levels.sigmas):
        denoised = yield x, sigma
        down, up = ancestral(sigma, sigma_next, eta)
        if down > 0:
            middle = _inner(sigma, down, sigma_next)
            inner = x * (middle / sigma) + denoised * (1 - middle / sigma)
            denoised = yield inner, middle
        x = x * (down / sigma) + denoised * (1 - down / sigma)
        if up > 0:
            x = x + noise() * up
    return x


def dpmpp_sde(x: X, levels: Levels, noise: Noise[X], *, eta: float = 1.0) -> Sampling[X]:
    """Take second-order steps of the diffusion's own SDE (Lu et al. 2022b, section 5).

    Both the inner point, halfway in ln sigma, and the step itself are ancestral, with the noise of
    one Brownian path (k-diffusion, r = 1/2).
    """
    for sigma, sigma_next in pairwise(levels.sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        middle = math.sqrt(sigma * sigma_next)
        down, up = ancestral(sigma, middle, eta)
        inner = x * (down / sigma) + denoised * (1 - down / sigma)
        if up > 0:
            inner = inner + noise.between(sigma, middle) * up
        denoised = yield inner, middle
        down, up = ancestral(sigma, sigma_next, eta)
        x = x * (down / sigma) + denoised * (1 - down / sigma)
        if up > 0:
            x = x + noise.between(sigma, sigma_next) * up
    return x


def _inner(sigma: float, down: float, sigma_next: float) -> float:
    """Return the level halfway in ln sigma, never exactly a level of the run.

    With eta = 1 it is the next level but for rounding. A level of the run is asked at the timestep
    its spacing gives it (a rounded one, perhaps), an inner point at the timestep of its own sigma.
    """
    middle = math.sqrt(sigma * down)
    return math.nextafter(middle, 0.0) if middle == sigma_next else middle
