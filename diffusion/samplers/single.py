"""Samplers that ask once a step and remember nothing: Euler, DDIM, DDPM, LCM, TCD.

## Why Euler ancestral, DDIM with eta 1 and DDPM give the same numbers
Over the same levels they are one algorithm: each draws from the posterior q(x' | x, x0 = D). They
differ in the coordinates of their papers, and here in how the starting noise is scaled.
"""

import math
from itertools import pairwise
from typing import Final

from diffusion.samplers.coroutine import Noise, Sampling, X
from diffusion.schedules.levels import Levels

# Luo et al. 2023, appendix: sigma_data, and what the timestep is multiplied with.
SIGMA_DATA: Final = 0.5
TIMESTEP_SCALING: Final = 10.0


def ancestral(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """Split a step into a lower level than asked and the noise to add there: (down, up).

    up^2 = eta^2 sigma'^2 (sigma^2 - sigma'^2) / sigma^2, down^2 = sigma'^2 - up^2 (k-diffusion).
    """
    part = sigma_next * math.sqrt(max(0.0, 1 - (sigma_next / sigma) ** 2))
    up = min(sigma_next, eta * part)
    return math.sqrt(max(0.0, sigma_next**2 - up**2)), up


def euler(x: X, levels: Levels, noise: Noise[X]) -> Sampling[X]:
    """Take Euler steps of the probability flow (Karras et al. 2022, Algorithm 2 without churn)."""
    del noise
    for sigma, sigma_next in pairwise(levels.sigmas):
        denoised = yield x, sigma
        d = (x - denoised) * (1 / sigma)
        x = x + d * (sigma_next - sigma)
    return x


def euler_a(x: X, levels: Levels, noise: Noise[X], *, eta: float = 1.0) -> Sampling[X]:
    """Take Euler steps to a lower level than asked, then add fresh noise ("ancestral").

    Karras et al. 2022, section 4, tell why more noise than asked is taken away.
    """
    for sigma, sigma_next in pairwise(levels.sigmas):
        denoised = yield x, sigma
        down, up = ancestral(sigma, sigma_next, eta)
        d = (x - denoised) * (1 / sigma)
        x = x + d * (down - sigma)
        if up > 0:
            x = x + noise() * up
    return x


def ddim(x: X, levels: Levels, noise: Noise[X], *, eta: float = 0.0) -> Sampling[X]:
    """Take the step of Song et al. 2021, equation 12; deterministic with eta = 0.

    x_t' = sqrt(abar') D + sqrt(1 - abar' - s^2) eps + s z with eps = (x_t - sqrt(abar) D) /
    sqrt(1 - abar) and s of their equation 16. Divided by sqrt(abar') that is
    D + sqrt(sigma'^2 - s'^2) eps + s' z with eps = (x - D) / sigma and
    s' = eta sigma' sqrt(1 - sigma'^2 / sigma^2).
    """
    for sigma, sigma_next in pairwise(levels.sigmas):
        denoised = yield x, sigma
        eps = (x - denoised) * (1 / sigma)
        fresh = eta * sigma_next * math.sqrt(max(0.0, 1 - (sigma_next / sigma) ** 2))
        x = denoised + eps * math.sqrt(max(0.0, sigma_next**2 - fresh**2))
        if fresh > 0:
            x = x + noise() * fresh
    return x


def ddpm(x: X, levels: Levels, noise: Noise[X]) -> Sampling[X]:
    """Draw from the posterior q(x_t' | x_t, x0 = D): Algorithm 2 of Ho et al. 2020.

    Their equations 6 and 7 with beta = 1 - abar / abar', divided by sqrt(abar'): the mean is
    (sigma'^2 / sigma^2) x + (1 - sigma'^2 / sigma^2) D, the variance
    sigma'^2 (1 - sigma'^2 / sigma^2), the smaller of their two, or with `levels.fixed_large` beta
    itself: (1 + sigma'^2) (sigma^2 - sigma'^2) / (1 + sigma^2). With all the levels of the table it
    is their algorithm to the letter. No noise at the last step.
    """
    for sigma, sigma_next in pairwise(levels.sigmas):
        denoised = yield x, sigma
        keep = (sigma_next / sigma) ** 2
        x = x * keep + denoised * (1 - keep)
        if sigma_next > 0:
            scale = sigma_next
            if levels.fixed_large:
                scale = sigma * math.sqrt((1 + sigma_next**2) / (1 + sigma**2))
            x = x + noise() * (scale * math.sqrt(1 - keep))
    return x


def lcm(x: X, levels: Levels, noise: Noise[X]) -> Sampling[X]:
    """Jump to the consistency function's value and noise it to the next level (Luo et al. 2023).

    Algorithm 3: f = c_skip x_t + c_out D with c_skip = s^2 / ((10 t)^2 + s^2), c_out =
    10 t / sqrt((10 t)^2 + s^2), s = 1/2, x_t = x / sqrt(1 + sigma^2); then x' = f + sigma' z. The
    last value is the picture itself.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(levels.sigmas)):
        denoised = yield x, sigma
        scaled = TIMESTEP_SCALING * levels.timesteps[i]
        c_skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
        c_out = scaled / math.sqrt(scaled**2 + SIGMA_DATA**2)
        x = denoised * c_out + x * (c_skip / math.sqrt(1 + sigma**2))
        if i < levels.steps - 1:
            x = x + noise() * sigma_next
    return x


def tcd(x: X, levels: Levels, noise: Noise[X], *, eta: float = 0.3) -> Sampling[X]:
    """Go below the next level and noise back up to it (Zheng et al. 2024, Algorithm 4).

    From t to s = floor((1 - eta) t') by D + sigma_s eps, then up by sqrt(sigma'^2 - sigma_s^2) z;
    no noise at the last step, whose t' is 0. s is a whole timestep of `levels.table`; eta is the
    paper's gamma.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(levels.sigmas)):
        denoised = yield x, sigma
        eps = (x - denoised) * (1 / sigma)
        if i == levels.steps - 1:
            return denoised + eps * sigma_next
        below = math.floor((1 - eta) * levels.timesteps[i + 1])
        lower = levels.table[below] if eta > 0 else sigma_next
        x = denoised + eps * lower
        if eta > 0:
            x = x + noise() * math.sqrt(max(0.0, sigma_next**2 - lower**2))
    return x
