"""What a network is asked to predict, how much each sample counts, and how fast it learns.

x0 is a clean picture or its latents, eps standard normal noise of its shape, and abar in [0, 1] one
number a sample (alphas_cumprod at its timestep): x_t = sqrt(abar) x0 + sqrt(1 - abar) eps (Ho et
al. 2020, equation 4). SNR = abar / (1 - abar). Predictions are named as in `diffusion.denoiser`:
"epsilon", "v_prediction", "sample".

Promises: functions of their arguments alone, on the device and in the dtype of the tensors given;
randomness comes from a generator. Gradients are clipped by torch, elsewhere.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Decay = Literal["cosine", "constant"]


def add_noise(x0: Tensor, eps: Tensor, abar: Tensor) -> Tensor:
    """Return x_t = sqrt(abar) x0 + sqrt(1 - abar) eps, N x ... (Ho et al. 2020, equation 4).

    abar: N, one number a sample.
    """
    a, s = _signal_and_noise(abar, x0)
    return a * x0 + s * eps


def target(prediction_type: str, x0: Tensor, eps: Tensor, abar: Tensor) -> Tensor:
    """Return what the network should answer to x_t, N x ... as x0. ValueError for another type.

    epsilon: eps (Ho et al. 2020, equation 14). sample: x0. v_prediction: v = sqrt(abar) eps -
    sqrt(1 - abar) x0 (Salimans & Ho 2022, section 4 and appendix D). abar: N.
    """
    _check_type(prediction_type)
    if prediction_type == "epsilon":
        return eps
    if prediction_type == "sample":
        return x0
    a, s = _signal_and_noise(abar, x0)
    return a * eps - s * x0


def signal_to_noise(abar: Tensor) -> Tensor:
    """Return SNR = abar / (1 - abar), N; infinite where there is no noise."""
    return abar / (1 - abar)


def min_snr_weights(prediction_type: str, abar: Tensor, gamma: float | None = 5.0) -> Tensor:
    """Return the weight of each sample's squared error, N: min-SNR-gamma (Hang et al. 2023,
    section 3.4). ValueError for another type or a gamma that is not above 0.

    sample: min(SNR, gamma). epsilon: min(SNR, gamma) / SNR. v_prediction: min(SNR, gamma) /
    (SNR + 1). All three are one loss, min(SNR, gamma) |x0 - x0'|^2, in the units of what is
    predicted. None for gamma leaves every weight 1. At SNR 0 (schedules that end in pure noise)
    epsilon counts 1, its limit, and the others 0; at SNR infinity they count 0, sample gamma.
    """
    _check_type(prediction_type)
    if gamma is None:
        return torch.ones_like(abar)
    if not gamma > 0:
        raise ValueError(f"gamma is {gamma}; it must be above 0 (5 is the paper's choice).")
    snr = signal_to_noise(abar)
    if prediction_type == "epsilon":
        # min(SNR, gamma) / SNR, written so that 0 and infinity are no special cases.
        return (gamma / snr).clamp(max=1)
    weights = snr.clamp(max=gamma)
    return weights if prediction_type == "sample" else weights / (snr + 1)


def weighted_loss(predicted: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Return mean_n weights_n mean |predicted_n - wanted_n|^2 of N x ... tensors, in float32.

    weights: N. ValueError for different shapes: broadcasting would hide them.
    """
    if predicted.shape != wanted.shape or weights.shape != wanted.shape[:1]:
        shapes = f"{tuple(predicted.shape)}, {tuple(wanted.shape)} and {tuple(weights.shape)}"
        raise ValueError(f"predicted, wanted and weights have the shapes {shapes}.")
    errors = (predicted.float() - wanted.float()).square().flatten(1).mean(dim=1)
    return (weights.float() * errors).mean()


def learning_rate_factor(
    step: int, total: int, *, warmup: int = 0, decay: Decay = "cosine", floor: float = 0.0
) -> float:
    """Return the factor of the learning rate at a step (from 0) of a run of `total` steps.

    Warm-up (Goyal et al. 2017, section 2.2): (step + 1) / warmup, so that no step is for nothing.
    Then 1 for "constant", or floor + (1 - floor) (1 + cos(pi p)) / 2 with p from 0 after the
    warm-up to 1 at `total` (Loshchilov & Hutter 2017, equation 5), and `floor` beyond.
    ValueError for a warm-up longer than the run.
    """
    if not 0 <= warmup <= total:
        raise ValueError(f"a warm-up of {warmup} steps does not fit a run of {total}.")
    if step < warmup:
        return (step + 1) / warmup
    if decay == "constant":
        return 1.0
    passed = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * (1 + math.cos(math.pi * passed)) / 2


def drop_captions(captions: Sequence[str], rate: float, generator: torch.Generator) -> list[str]:
    """Return a batch's captions, each "" with probability `rate` and independent of the others.

    So one network learns both terms of classifier-free guidance (Ho & Salimans 2022, Algorithm 1).
    A batch takes as many numbers from the generator whatever the rate. ValueError outside 0 to 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"a rate of {rate} is no probability; use 0 to 1.")
    kept = torch.rand(len(captions), generator=generator) >= rate
    return [caption if keep else "" for caption, keep in zip(captions, kept.tolist(), strict=True)]


def _signal_and_noise(abar: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return sqrt(abar) and sqrt(1 - abar), N x 1 x ... to multiply samples with."""
    if abar.shape != like.shape[:1]:
        raise ValueError(f"abar has the shape {tuple(abar.shape)} for {len(like)} samples.")
    shaped = abar.reshape(-1, *[1] * (like.dim() - 1))
    return shaped.sqrt(), (1 - shaped).sqrt()


def _check_type(prediction_type: str) -> None:
    if prediction_type not in ("epsilon", "v_prediction", "sample"):
        raise ValueError(f"unknown prediction type {prediction_type!r}")
