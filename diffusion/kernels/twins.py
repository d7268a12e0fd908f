"""The kernels in plain PyTorch: what every device can run, and what the Triton kernels are held to.

Promises the arithmetic of the networks as they are written without kernels: in float32 on a CPU
`group_norm`, `geglu`, `layer_norm`, `add_rows` and `residual` give the same bits as the modules of
`torch.nn` they stand for. Never chooses between implementations: `dispatch` does.
"""

import torch
from torch import Tensor
from torch.nn import functional


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    silu: bool,
    rows: Tensor | None = None,
) -> Tensor:
    """Normalise N x C x h x w over each of `groups` groups of channels (Wu & He 2018).

    weight, bias: C. rows: N x C, added to every position beforehand. `silu` multiplies the result
    by its sigmoid (Elfwing et al. 2017). Raises RuntimeError when C is no multiple of `groups`.
    """
    if rows is not None:
        x = add_rows(x, rows)
    normed = functional.group_norm(x, groups, weight, bias, eps)
    return functional.silu(normed) if silu else normed


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalise ... x D over its last dimension (Ba et al. 2016); weight, bias: D."""
    return functional.layer_norm(x, (x.shape[-1],), weight, bias, eps)


def geglu(x: Tensor) -> Tensor:
    """Map ... x 2D to ... x D: the first half times the exact GELU of the second (Shazeer 2020)."""
    value, gate = x.chunk(2, dim=-1)
    gate = functional.gelu(gate)
    # Nobody else has the gate: without gradients its memory serves for the product.
    return value * gate if torch.is_grad_enabled() else gate.mul_(value)


def add_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Add N x C numbers to every position of N x C x h x w."""
    return x + rows[:, :, None, None]


def residual(x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return y + bias + x for x and y of one shape.

    bias: C, along dimension 1 of N x C x h x w maps and along the last one of anything else.
    """
    if bias is None:
        return x + y
    return (y + (bias[:, None, None] if x.dim() == 4 else bias)) + x


def combine_and_step(
    output: Tensor,
    table: Tensor,
    weights: Tensor,
    scalings: Tensor,
    registers: Tensor,
    coefficients: Tensor,
) -> tuple[Tensor, Tensor]:
    """Combine rows, estimate and step, for n pictures; both results are n x C x h x w, float32.

    output: R x C x h x w of any precision. table, weights: n x G, which rows a picture combines and
    how much of each: m = sum_g weights[g] output[table[g]]. scalings: n x 2, (c_skip, c_out) of
    D = c_skip x + c_out m, where x is register 0. registers: n x K x C x h x w, float32.
    coefficients: n x (1 + K): x' = coefficients[0] D + sum_k coefficients[1 + k] registers[k].

    A factor of 0 takes its tensor out altogether, NaN and infinity included. Sums start at +0 and
    run in order, so neither n nor padding (weight 0, any valid row) changes a bit.
    """
    combined = torch.zeros_like(registers[:, 0])
    for g in range(table.shape[1]):
        combined = combined + _times(output[table[:, g].long()].float(), weights[:, g])
    denoised = torch.zeros_like(combined)
    denoised = denoised + _times(registers[:, 0], scalings[:, 0])
    denoised = denoised + _times(combined, scalings[:, 1])
    stepped = torch.zeros_like(combined) + _times(denoised, coefficients[:, 0])
    for k in range(registers.shape[1]):
        stepped = stepped + _times(registers[:, k], coefficients[:, 1 + k])
    return denoised, stepped


def gather_scaled(
    x: Tensor, slots: Tensor, scales: Tensor, dtype: torch.dtype, *, channels_last: bool = False
) -> Tensor:
    """Return R x C x h x w rows, scales[r] x[slots[r]], in `dtype`.

    x: S x C x h x w, float32. slots: R whole numbers below S. scales: R, float32; a row of scale 0
    is a row of zeros whatever its slot holds.
    """
    rows = _times(x[slots.long()], scales).to(dtype)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return rows.contiguous(memory_format=layout)


def _times(x: Tensor, factors: Tensor) -> Tensor:
    """Multiply N x C x h x w by N factors, where 0 times anything is 0."""
    factors = factors[:, None, None, None]
    return torch.where(factors != 0, x, 0.0) * factors
