"""From what a network predicts to the denoised estimate, and guidance.

In the coordinates x = x0 + sigma eps. Formulas: Karras et al. 2022, section 5 (scalings); Salimans
& Ho 2022, section 4 (velocity); Ho & Salimans 2022, equation 6 (guidance). Promises: works on
tensors of any shape, one noise level at a time, and is linear in the network's output, so guidance
may be combined before or after it.
"""

import math

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
