"""Samplers that ask once a step and remember earlier answers.

PLMS, LMS, DEIS remember slopes eps = (x - D) / sigma; DPM++ 2M, 2M SDE, 3M SDE and UniPC remember
estimates D. lambda = -ln sigma, h its increment.

## Why fewer than fifteen steps end with a first-order one
Lu et al. 2022b, section 4.2, found that steadier with few steps; diffusers' `lower_order_final`.
It only shows where the last level is above 0, since a step to 0 is of first order anyway.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from diffusion.samplers.coroutine import Noise, Sampling, X
from diffusion.schedules.levels import Levels

FEW_STEPS: Final = 15
ADAMS_BASHFORTH: Final = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
LMS_ORDER: Final = 4


def plms(x: X, levels: Levels, noise: Noise[X]) -> Sampling[X]:
    """Combine up to four slopes by Adams and Bashforth (Liu et al. 2022, equation 12).

    The first step averages its slope with the one at its end, which is then asked for again, as in
    all of the field's code: N + 1 questions. Levels are taken as if evenly spaced.
    """
    del noise
    slopes: list[X] = []
    for i, (sigma, sigma_next) in enumerate(pairwise(levels.sigmas)):
        denoised = yield x, sigma
        slopes = [(x - denoised) * (1 / sigma), *slopes[:3]]
        d = _weighted(ADAMS_BASHFORTH[len(slopes) - 1], slopes)
        if i == 0 and levels.steps > 1:
            ahead = x + d * (sigma_next - sigma)
            denoised = yield ahead, sigma_next
            d = (d + (ahead - denoised) * (1 / sigma_next)) * 0.5
        x = x + d * (sigma_next - sigma)
    return x


def lms(x: X, levels: Levels, noise: Noise[X]) -> Sampling[X]:
    """Integrate the polynomial through up to four slopes (k-diffusion's linear multistep)."""
    del noise
    sigmas, slopes = levels.sigmas, list[X]()
    for i in range(levels.steps):
        denoised = yield x, sigmas[i]
        slopes = [(x - denoised) * (1 / sigmas[i]), *slopes[: LMS_ORDER - 1]]
        known = [sigmas[i - k] for k in range(len(slopes))]
        weights = [_lagrange(known, j, sigmas[i], sigmas[i + 1]) for j in range(len(known))]
        x = x + _weighted(weights, slopes)
    return x


def deis(x: X, levels: Levels, noise: Noise[X]) -> Sampling[X]:
    """Integrate the line through two slopes in ln sigma (Zhang & Chen 2023, log-rho DEIS, order 2).

    With eps(s) = eps + (eps_last - eps) ln(s / sigma) / ln(sigma_last / sigma) between sigma and
    sigma'.
    """
    del noise
    before: X | None = None
    for i, (sigma, sigma_next) in enumerate(pairwise(levels.sigmas)):
        denoised = yield x, sigma
        d = (x - denoised) * (1 / sigma)
        step = d * (sigma_next - sigma)
        if before is not None and not _first_order(levels, i):
            # The integral of ln(s / sigma) ds from sigma to sigma'.
            area = sigma_next * (math.log(sigma_next / sigma) - 1) + sigma
            step = step + (before - d) * (area / math.log(levels.sigmas[i - 1] / sigma))
        x, before = x + step, d
    return x


def dpmpp_2m(x: X, levels: Levels, noise: Noise[X]) -> Sampling[X]:
    """Take second-order multistep steps (Lu et al. 2022b, DPM-Solver++, Algorithm 2).

    With r = h_last / h: x' = (sigma' / sigma) x - (e^-h - 1) [(1 + 1/2r) D - (1/2r) D_last]; plain
    D on the first step and the last.
    """
    del noise
    before: X | None = None
    h_last = 0.0
    for i, (sigma, sigma_next) in enumerate(pairwise(levels.sigmas)):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        h = math.log(sigma / sigma_next)
        estimate = denoised
        if before is not None and not _first_order(levels, i):
            estimate = denoised + (denoised - before) * (h / (2 * h_last))
        x = x * (sigma_next / sigma) - estimate * math.expm1(-h)
        before, h_last = denoised, h
    return x


def dpmpp_2m_sde(x: X, levels: Levels, noise: Noise[X], *, eta: float = 1.0) -> Sampling[X]:
    """Take second-order multistep steps of the SDE (Lu et al. 2022b, section 5; midpoint form).

    x' = (sigma' / sigma) e^-eta h x + (1 - e^-(1 + eta) h) [D + (D - D_last) / 2r]
    + sigma' sqrt(1 - e^-2 eta h) z with the noise of one Brownian path (k-diffusion).
    """
    before: X | None = None
    h_last = 0.0
    for i, (sigma, sigma_next) in enumerate(pairwise(levels.sigmas)):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        h = math.log(sigma / sigma_next)
        estimate = denoised
        if before is not None and not _first_order(levels, i):
            estimate = denoised + (denoised - before) * (h / (2 * h_last))
        x = x * math.exp(-h * (1 + eta)) - estimate * math.expm1(-h * (1 + eta))
        x = _stir(x, noise, sigma, sigma_next, eta * h)
        before, h_last = denoised, h
    return x


def dpmpp_3m_sde(x: X, levels: Levels, noise: Noise[X], *, eta: float = 1.0) -> Sampling[X]:
    """Take third-order multistep steps of the SDE (k-diffusion; Lu et al. 2022b, section 5).

    With k = (1 + eta) h, phi2 = (e^-k - 1) / k + 1 and phi3 = phi2 / k - 1/2, first and second
    divided differences d1, d2 of D: e^-k x + (1 - e^-k) D + phi2 d1 - phi3 d2, and noise.
    """
    past: list[X] = []
    widths: list[float] = []
    for sigma, sigma_next in pairwise(levels.sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        h = math.log(sigma / sigma_next)
        k = (1 + eta) * h
        x = x * math.exp(-k) - denoised * math.expm1(-k)
        if past and h > 0:
            phi2 = math.expm1(-k) / k + 1
            first = (denoised - past[0]) * (h / widths[0])
            if len(past) > 1:
                r0, r1 = widths[0] / h, widths[1] / h
                second = (first - (past[0] - past[1]) * (1 / r1)) * (1 / (r0 + r1))
                x = x - second * (phi2 / k - 0.5)
                first = first + second * r0
            x = x + first * phi2
        x = _stir(x, noise, sigma, sigma_next, eta * h)
        past, widths = [denoised, *past[:1]], [h, *widths[:1]]
    return x


def unipc(x: X, levels: Levels, noise: Noise[X]) -> Sampling[X]:
    """Predict, and with the next answer correct the step behind (Zhao et al. 2023, UniPC-2, B2).

    The network is asked at the predicted point; the corrected one is what the next step leaves
    from. The last step is of first order.
    """
    del noise
    base, order = x, 0
    past: list[tuple[float, X]] = []
    for i, (sigma, sigma_next) in enumerate(pairwise(levels.sigmas)):
        denoised = yield x, sigma
        if past:
            x = _unified(base, past, sigma, order, denoised)
        past = [(sigma, denoised), *past[:1]]
        base, order = x, min(len(past), levels.steps - i)
        x = _unified(base, past, sigma_next, order, None)
    return x


def _unified(x: X, past: Sequence[tuple[float, X]], sigma: float, order: int, found: X | None) -> X:
    """Go from x at the first of `past` to `sigma`; `found` is the answer there, for a corrector.

    Zhao et al. 2023, equations 3 and 8, data prediction, with B(h) = e^-h - 1.
    """
    start, denoised = past[0]
    h = math.log(start / sigma) if sigma > 0 else math.inf
    bend = math.expm1(-h)
    x = x * (sigma / start) - denoised * bend
    if found is None:
        if order == 1:
            return x
        r = -math.log(past[1][0] / start) / h
        return x - (past[1][1] - denoised) * (0.5 * bend / r)
    if order == 1:
        return x - (found - denoised) * (0.5 * bend)
    r = -math.log(past[1][0] / start) / h
    phi2 = bend / -h - 1
    phi3 = phi2 / -h - 0.5
    # Their equation 5: rho_1 + rho_2 = phi2 / B, r rho_1 + rho_2 = 2 phi3 / B.
    rho = (2 * phi3 - phi2) / (r - 1)
    return x - (past[1][1] - denoised) * (rho / r) - (found - denoised) * (phi2 - rho)


def _first_order(levels: Levels, i: int) -> bool:
    """Tell whether step i is a last one that is taken plainly."""
    return i == levels.steps - 1 and (levels.sigmas[-1] == 0 or levels.planned < FEW_STEPS)


def _stir(x: X, noise: Noise[X], sigma: float, sigma_next: float, spread: float) -> X:
    """Add sigma' sqrt(1 - e^-2 spread) of the Brownian path's noise."""
    if spread <= 0:
        return x
    return x + noise.between(sigma, sigma_next) * (sigma_next * math.sqrt(-math.expm1(-2 * spread)))


def _weighted(weights: Sequence[float], terms: Sequence[X]) -> X:
    total = terms[0] * weights[0]
    for weight, term in zip(weights[1:], terms[1:], strict=True):
        total = total + term * weight
    return total


def _lagrange(points: Sequence[float], j: int, start: float, end: float) -> float:
    """Integrate the j-th Lagrange polynomial of up to four points; exact for its degree 3."""
    middle, half = (start + end) / 2, (end - start) / 2
    total = 0.0
    for node in (-1 / math.sqrt(3), 1 / math.sqrt(3)):
        t = middle + node * half
        total += math.prod(
            (t - other) / (points[j] - other) for k, other in enumerate(points) if k != j
        )
    return total * half
