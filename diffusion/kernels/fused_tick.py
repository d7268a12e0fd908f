"""Both ends of a tick as Triton kernels: rows for the network, and the step from its answers.

Promises the twins' order of sums, and no fused multiply-add: each multiplication and addition is
rounded by itself, as IEEE 754 has it, so that a GPU should give the bits of the twins.
"""

from typing import Final

import torch
import triton.language as tl
from torch import Tensor

from diffusion.kernels.language import blocks_of, dense, is_channels_last, jit

_BLOCK: Final = 1024


@jit
def _combine_and_step(
    output: tl.tensor,
    table: tl.tensor,
    weights: tl.tensor,
    scalings: tl.tensor,
    registers: tl.tensor,
    coefficients: tl.tensor,
    denoised: tl.tensor,
    stepped: tl.tensor,
    size: tl.tensor,
    channels: tl.tensor,
    positions: tl.tensor,
    blocks: tl.tensor,
    width: tl.constexpr,
    kept: tl.constexpr,
    channels_last: tl.constexpr,
    block: tl.constexpr,
) -> None:
    program = tl.program_id(0)
    picture = (program // blocks).to(tl.int64)
    index = (program % blocks) * block + tl.arange(0, block)
    inside = index < size
    source = index
    if channels_last:
        source = (index % positions) * channels + index // positions
    # A factor of 0 masks the load: what is there, NaN included, is never read.
    combined = tl.zeros([block], tl.float32)
    for g in range(width):
        weight = tl.full([block], tl.load(weights + picture * width + g), tl.float32)
        row = tl.load(table + picture * width + g).to(tl.int64)
        here = output + row * size + source
        value = tl.load(here, mask=inside & (weight != 0), other=0.0).to(tl.float32)
        combined += value * weight
    skip = tl.full([block], tl.load(scalings + picture * 2), tl.float32)
    scale = tl.full([block], tl.load(scalings + picture * 2 + 1), tl.float32)
    present = registers + picture * kept * size + index
    estimate = tl.zeros([block], tl.float32)
    estimate += tl.load(present, mask=inside & (skip != 0), other=0.0) * skip
    estimate += tl.where(scale != 0, combined, 0.0) * scale
    tl.store(denoised + picture * size + index, estimate, mask=inside)
    factors = coefficients + picture * (1 + kept)
    factor = tl.full([block], tl.load(factors), tl.float32)
    total = tl.zeros([block], tl.float32)
    total += tl.where(factor != 0, estimate, 0.0) * factor
    for k in range(kept):
        factor = tl.full([block], tl.load(factors + 1 + k), tl.float32)
        value = tl.load(present + k * size, mask=inside & (factor != 0), other=0.0)
        total += value * factor
    tl.store(stepped + picture * size + index, total, mask=inside)


@jit
def _gather_scaled(
    x: tl.tensor,
    slots: tl.tensor,
    scales: tl.tensor,
    out: tl.tensor,
    size: tl.tensor,
    channels: tl.tensor,
    positions: tl.tensor,
    blocks: tl.tensor,
    channels_last: tl.constexpr,
    block: tl.constexpr,
) -> None:
    program = tl.program_id(0)
    row = (program // blocks).to(tl.int64)
    index = (program % blocks) * block + tl.arange(0, block)
    inside = index < size
    target = index
    if channels_last:
        target = (index % positions) * channels + index // positions
    scale = tl.full([block], tl.load(scales + row), tl.float32)
    slot = tl.load(slots + row).to(tl.int64)
    value = tl.load(x + slot * size + index, mask=inside & (scale != 0), other=0.0) * scale
    tl.store(out + row * size + target, value.to(out.dtype.element_ty), mask=inside)


def combine_and_step(
    output: Tensor,
    table: Tensor,
    weights: Tensor,
    scalings: Tensor,
    registers: Tensor,
    coefficients: Tensor,
) -> tuple[Tensor, Tensor]:
    """Do what `twins.combine_and_step` does; both results are contiguous."""
    pictures, kept = registers.shape[:2]
    output = dense(output)
    denoised = torch.empty_like(registers[:, 0], memory_format=torch.contiguous_format)
    stepped = torch.empty_like(denoised)
    size = denoised[0].numel()
    blocks = blocks_of(size, _BLOCK)
    _combine_and_step[(pictures * blocks,)](
        output,
        table.contiguous(),
        weights.contiguous(),
        scalings.contiguous(),
        dense(registers),
        coefficients.contiguous(),
        denoised,
        stepped,
        size,
        registers.shape[2],
        size // registers.shape[2],
        blocks,
        width=table.shape[1],
        kept=kept,
        channels_last=is_channels_last(output),
        block=_BLOCK,
        enable_fp_fusion=False,
    )
    return denoised, stepped


def gather_scaled(
    x: Tensor, slots: Tensor, scales: Tensor, dtype: torch.dtype, *, channels_last: bool = False
) -> Tensor:
    """Do what `twins.gather_scaled` does."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = dense(x.contiguous())
    shape = (len(slots), *x.shape[1:])
    out = torch.empty(shape, dtype=dtype, device=x.device, memory_format=layout)
    size = x[0].numel()
    blocks = blocks_of(size, _BLOCK)
    _gather_scaled[(len(slots) * blocks,)](
        x,
        slots.contiguous(),
        scales.contiguous(),
        out,
        size,
        x.shape[1],
        x[0, 0].numel(),
        blocks,
        channels_last=channels_last,
        block=_BLOCK,
        enable_fp_fusion=False,
    )
    return out
