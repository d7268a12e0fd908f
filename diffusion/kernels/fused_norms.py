"""GroupNorm and LayerNorm as Triton kernels: one program a (sample, group) or a token.

Promises float32 statistics and that a program reads nothing of other samples: what is in a sample
decides its bits, not how many others there are (engine facts, 6.4 and 6.7). Half-precision results
are rounded once, at the end, where the twins round after every operation. Needs no power of two.
"""

from typing import Final

import torch
import triton.language as tl
from torch import Tensor

from diffusion.kernels.language import dense, is_channels_last, jit, power_of_two

_TILE: Final = 4096


@jit
def _group_norm(
    x: tl.tensor,
    rows: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    channels: tl.tensor,
    positions: tl.tensor,
    channel_stride: tl.tensor,
    position_stride: tl.tensor,
    eps: tl.tensor,
    group_channels: tl.constexpr,
    block_channels: tl.constexpr,
    block_positions: tl.constexpr,
    has_rows: tl.constexpr,
    silu: tl.constexpr,
) -> None:
    sample = tl.program_id(0).to(tl.int64)
    first = tl.program_id(1) * group_channels
    channel = tl.arange(0, block_channels)
    position = tl.arange(0, block_positions)
    in_group = channel < group_channels
    start_of_group = sample * channels * positions + first * channel_stride
    offsets = channel[:, None] * channel_stride + position[None, :] * position_stride
    added = tl.zeros([block_channels], tl.float32)
    if has_rows:
        rows += sample * channels + first
        added = tl.load(rows + channel, mask=in_group, other=0.0).to(tl.float32)

    # Welford's recurrence in every lane: one reading, and no cancellation as in E[x^2] - E[x]^2.
    mean = tl.zeros([block_channels, block_positions], tl.float32)
    squares = tl.zeros([block_channels, block_positions], tl.float32)
    seen = 0.0
    for start in range(0, positions, block_positions):
        inside = in_group[:, None] & (start + position < positions)[None, :]
        shift = start_of_group + start * position_stride + offsets
        value = tl.load(x + shift, mask=inside, other=0.0).to(tl.float32) + added[:, None]
        seen += 1.0
        difference = tl.where(inside, value - mean, 0.0)
        mean += difference / seen
        squares += difference * (value - mean)
    # Lanes met different numbers of elements: Chan et al. 1979 combine them.
    met = (positions - position + block_positions - 1) // block_positions
    weights = tl.where(in_group[:, None], met[None, :], 0).to(tl.float32)
    total = positions * group_channels * 1.0
    centre = tl.sum(tl.sum(mean * weights, 1), 0) / total
    spread = tl.where(weights > 0, mean - centre, 0.0)
    variance = tl.sum(tl.sum(squares + weights * spread * spread, 1), 0) / total
    scale = 1.0 / tl.sqrt(variance + eps)

    factor = tl.load(weight + first + channel, mask=in_group, other=0.0).to(tl.float32) * scale
    offset = tl.load(bias + first + channel, mask=in_group, other=0.0).to(tl.float32)
    for start in range(0, positions, block_positions):
        inside = in_group[:, None] & (start + position < positions)[None, :]
        shift = start_of_group + start * position_stride + offsets
        value = tl.load(x + shift, mask=inside, other=0.0).to(tl.float32) + added[:, None]
        normed = (value - centre) * factor[:, None] + offset[:, None]
        if silu:
            normed = normed / (1.0 + tl.exp(-normed))
        tl.store(out + shift, normed.to(out.dtype.element_ty), mask=inside)


@jit
def _layer_norm(
    x: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    width: tl.tensor,
    eps: tl.tensor,
    block: tl.constexpr,
) -> None:
    start = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, block)
    inside = column < width
    value = tl.load(x + start + column, mask=inside, other=0.0).to(tl.float32)
    centre = tl.sum(value, 0) / width
    centred = tl.where(inside, value - centre, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 0) / width + eps)
    factor = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    offset = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    normed = centred * scale * factor + offset
    tl.store(out + start + column, normed.to(out.dtype.element_ty), mask=inside)


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
    """Do what `twins.group_norm` does, in x's layout. Raises ValueError if groups do not fit."""
    samples, channels = x.shape[:2]
    if channels % groups:
        raise ValueError(f"{channels} channels cannot be split into {groups} groups")
    x = dense(x)
    out = torch.empty_like(x)
    positions = x[0, 0].numel()
    last = is_channels_last(x)
    block_channels = power_of_two(channels // groups)
    _group_norm[samples, groups](
        x,
        x if rows is None else dense(rows.contiguous()),
        dense(weight),
        dense(bias),
        out,
        channels,
        positions,
        1 if last else positions,
        channels if last else 1,
        eps,
        group_channels=channels // groups,
        block_channels=block_channels,
        block_positions=min(power_of_two(positions), max(1, _TILE // block_channels)),
        has_rows=rows is not None,
        silu=silu,
        num_warps=8,
        enable_fp_fusion=False,
    )
    return out


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Do what `twins.layer_norm` does; the result is contiguous."""
    width = x.shape[-1]
    x = dense(x.contiguous())
    out = torch.empty_like(x)
    block = power_of_two(width)
    _layer_norm[(x.numel() // width,)](
        x,
        dense(weight),
        dense(bias),
        out,
        width,
        eps,
        block=block,
        num_warps=4 if block <= 1024 else 8,
        enable_fp_fusion=False,
    )
    return out
