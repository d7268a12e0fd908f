"""One function for each operation: the Triton kernel where it can run, its twin everywhere else.

A kernel runs for CUDA tensors in float32, float16 or bfloat16, when gradients are off, nothing is
being compiled, triton is installed and a sample's elements can be counted in 32 bits. The rules
look at shapes and precisions only, never at how many samples there are or at any value, so a
picture does not change sides with its neighbours. Promises not to import triton before that.

## What ran where
The twins run on CPUs. The kernels ran in Triton's interpreter
(`tests/test_diffusion_kernels_interpreted.py`) and were compiled, not run, for compute capability
9.0, Hopper (`tests/test_diffusion_kernels_compiled.py`). No GPU has run them yet, so nothing is
claimed here about speed.
"""

from functools import cache
from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor

from diffusion.kernels import twins

_DTYPES: Final = (torch.float32, torch.float16, torch.bfloat16)
# Offsets inside a sample are 32-bit in the kernels.
_LARGEST: Final = 2**31 - 2**16
# One program holds a whole token in registers.
_WIDEST: Final = 8192


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

    weight, bias: C. rows: N x C, added to every position beforehand (the time embedding). `silu`
    multiplies the result by its sigmoid (Elfwing et al. 2017). Keeps the layout, NCHW or
    channels_last. Raises RuntimeError or ValueError when C is no multiple of `groups`.
    """
    if x.dim() == 4 and _fits(x, x.numel() // max(1, len(x))):
        from diffusion.kernels import fused_norms

        return fused_norms.group_norm(x, groups, weight, bias, eps, silu=silu, rows=rows)
    return twins.group_norm(x, groups, weight, bias, eps, silu=silu, rows=rows)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalise ... x D over its last dimension (Ba et al. 2016); weight, bias: D."""
    if x.shape[-1] <= _WIDEST and _fits(x, x.shape[-1]):
        from diffusion.kernels import fused_norms

        return fused_norms.layer_norm(x, weight, bias, eps)
    return twins.layer_norm(x, weight, bias, eps)


def geglu(x: Tensor) -> Tensor:
    """Map ... x 2D to ... x D: the first half times the exact GELU of the second (Shazeer 2020).

    Raises RuntimeError or ValueError for an odd last dimension.
    """
    if _fits(x, x.shape[-1]):
        from diffusion.kernels import fused_maps

        return fused_maps.geglu(x)
    return twins.geglu(x)


def add_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Add N x C numbers to every position of N x C x h x w."""
    if _fits(x, x.numel() // max(1, len(x))):
        from diffusion.kernels import fused_maps

        return fused_maps.add_rows(x, rows)
    return twins.add_rows(x, rows)


def residual(x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return y + bias + x for x and y of one shape, in the layout of x.

    bias: C, along dimension 1 of N x C x h x w maps and along the last one of anything else.
    """
    if x.dim() > 1 and x.shape == y.shape and _fits(x, x.numel() // max(1, len(x))):
        from diffusion.kernels import fused_maps

        return fused_maps.residual(x, y, bias)
    return twins.residual(x, y, bias)


def combine_and_step(
    output: Tensor,
    table: Tensor,
    weights: Tensor,
    scalings: Tensor,
    registers: Tensor,
    coefficients: Tensor,
) -> tuple[Tensor, Tensor]:
    """End a tick for n pictures: guidance, denoised estimate D, sampler step x' (float32).

    output: R x C x h x w, the network's rows. table, weights: n x G; a picture's prediction is
    m = sum_g weights[g] output[table[g]]. scalings: n x 2, (c_skip, c_out): D = c_skip x + c_out m
    (Karras et al. 2022, section 5), x being register 0. registers: n x K x C x h x w, float32.
    coefficients: n x (1 + K): x' = coefficients[0] D + sum_k coefficients[1 + k] registers[k].

    Returns (D, x'), both n x C x h x w. A factor of 0 takes its tensor out altogether, NaN and
    infinity included; sums run in order, so that neither n nor padding (weight 0, any valid row)
    changes a bit. Numbers outside the tables are not checked: that would wait for the device.
    """
    tensors = (table, weights, scalings, registers, coefficients)
    if registers.dtype == torch.float32 and _fits(output, registers[:1].numel(), *tensors):
        from diffusion.kernels import fused_tick

        return fused_tick.combine_and_step(
            output, table, weights, scalings, registers, coefficients
        )
    return twins.combine_and_step(output, table, weights, scalings, registers, coefficients)


def gather_scaled(
    x: Tensor, slots: Tensor, scales: Tensor, dtype: torch.dtype, *, channels_last: bool = False
) -> Tensor:
    """Begin a tick: return R x C x h x w rows, scales[r] x[slots[r]], in `dtype`.

    x: S x C x h x w, float32. slots: R whole numbers below S. scales: R, float32; a row of scale 0
    is a row of zeros whatever its slot holds.
    """
    if dtype in _DTYPES and _fits(x, x.numel() // max(1, len(x)), slots, scales):
        from diffusion.kernels import fused_tick

        return fused_tick.gather_scaled(x, slots, scales, dtype, channels_last=channels_last)
    return twins.gather_scaled(x, slots, scales, dtype, channels_last=channels_last)


def _fits(x: Tensor, elements: int, *others: Tensor) -> bool:
    """Tell whether a kernel can take x, whose samples have so many elements."""
    return (
        x.is_cuda
        and x.dtype in _DTYPES
        and not torch.is_grad_enabled()
        and x.numel() > 0
        and elements <= _LARGEST
        and all(other.is_cuda for other in others)
        and not torch.compiler.is_compiling()
        and _has_triton()
    )


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
