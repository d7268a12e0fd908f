"""From what a network predicts to the denoised estimate, and guidance.

In the coordinates x = x0 + sigma eps. Formulas: Karras et al. 2022, section 5 (scalings); Salimans
& Ho 2022, section 4 (velocity); Ho & Salimans 2022, equation 6 (guidance); Liu et al. 2022,
"Compositional visual generation", equation 11 (several conditions); Lin et al. 2024, section 3.4
(rescaling). Promises: works on tensors of any shape, one noise level at a time. All but `clip` and
`rescale_guidance` is linear in the network's output, so guidance may be combined before or after.
"""

import math
from collections.abc import Sequence

from torch import Tensor


def input_scale(sigma: float) -> float:
    """Return c_in = 1 / sqrt(1 + sigma^2): the network was trained on inputs of variance one."""
    return 1 / math.sqrt(1 + sigma**2)


def to_denoised(prediction_type: str, x: Tensor, output: Tensor, sigma: float) -> Tensor:
    """Return the estimate of x0 from x (x0 + sigma eps) and the network's output, all of one shape.

    epsilon: x - sigma out. v_prediction: x / (1 + sigma^2) - out sigma / sqrt(1 + sigma^2).
    sample: out.
    """
    if prediction_type == "epsilon":
        return x - output * sigma
    if prediction_type == "v_prediction":
        return x / (1 + sigma**2) - output * (sigma * input_scale(sigma))
    if prediction_type == "sample":
        return output
    raise ValueError(f"unknown prediction type {prediction_type!r}")


def combine_guidance(positive: Tensor, negative: Tensor, guidance_scale: float) -> Tensor:
    """Return negative + w (positive - negative); w = 1 is no guidance."""
    return negative + (positive - negative) * guidance_scale


def combine(
    negative: Tensor, positives: Sequence[tuple[Tensor, float]], guidance_scale: float
) -> Tensor:
    """Return negative + w sum_i weight_i (positive_i - negative), all of one shape."""
    total = negative
    for positive, weight in positives:
        total = total + (positive - negative) * (guidance_scale * weight)
    return total


def rescale_guidance(guided: Tensor, positive: Tensor, phi: float) -> Tensor:
    """Give a guided prediction the spread of the unguided one, by the part phi (0 to 1).

    Lin et al. 2024, equations 15 and 16: guided (phi std(positive) / std(guided) + 1 - phi), the
    deviation over C x h x w of each sample; both are C x h x w or N x C x h x w. phi = 0 returns
    `guided` itself, and so does a prediction without any spread.
    """
    if phi == 0:
        return guided
    axes = (-3, -2, -1)
    spread = guided.std(dim=axes, keepdim=True)
    ratio = positive.std(dim=axes, keepdim=True) / spread.where(spread > 0, 1.0)
    return guided * (ratio.where(spread > 0, 1.0) * phi + (1 - phi))


def clip(denoised: Tensor, limit: float | None) -> Tensor:
    """Return the estimate clipped to +-limit (Ho et al. 2020 do, to 1); None leaves it alone."""
    return denoised if limit is None else denoised.clamp(-limit, limit)
