"""GEGLU and additions as Triton kernels: every element on its own, computed in float32.

Promises that an element depends on nothing but its own inputs; half-precision results are rounded
once, at the end.
"""

from typing import Final

import torch
import triton.language as tl
from torch import Tensor

from diffusion.kernels.language import blocks_of, dense, is_channels_last, jit

_BLOCK: Final = 1024


@jit
def _geglu(
    x: tl.tensor, out: tl.tensor, width: tl.tensor, blocks: tl.tensor, block: tl.constexpr
) -> None:
    program = tl.program_id(0)
    row = (program // blocks).to(tl.int64)
    column = (program % blocks) * block + tl.arange(0, block)
    inside = column < width
    value = tl.load(x + row * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(x + row * 2 * width + width + column, mask=inside, other=0.0).to(tl.float32)
    # 1 / sqrt(2): the exact GELU is x Phi(x), Phi the normal distribution.
    gated = value * (gate * 0.5 * (1.0 + tl.erf(gate * 0.7071067811865476)))
    tl.store(out + row * width + column, gated.to(out.dtype.element_ty), mask=inside)


@jit
def _add(
    x: tl.tensor,
    y: tl.tensor,
    table: tl.tensor,
    out: tl.tensor,
    size: tl.tensor,
    channels: tl.tensor,
    inner: tl.tensor,
    table_stride: tl.tensor,
    blocks: tl.tensor,
    has_y: tl.constexpr,
    has_table: tl.constexpr,
    block: tl.constexpr,
) -> None:
    program = tl.program_id(0)
    sample = (program // blocks).to(tl.int64)
    index = (program % blocks) * block + tl.arange(0, block)
    inside = index < size
    total = tl.zeros([block], tl.float32)
    if has_y:
        total = tl.load(y + sample * size + index, mask=inside, other=0.0).to(tl.float32)
    if has_table:
        channel = (index // inner) % channels
        here = table + sample * table_stride + channel
        added = tl.load(here, mask=inside, other=0.0).to(tl.float32)
        total = total + added if has_y else added
    total = total + tl.load(x + sample * size + index, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + sample * size + index, total.to(out.dtype.element_ty), mask=inside)


def geglu(x: Tensor) -> Tensor:
    """Do what `twins.geglu` does. Raises ValueError for an odd last dimension."""
    if x.shape[-1] % 2:
        raise ValueError(f"GEGLU halves its last dimension, and {x.shape[-1]} is odd")
    width = x.shape[-1] // 2
    x = dense(x.contiguous())
    out = x.new_empty((*x.shape[:-1], width))
    blocks = blocks_of(width, _BLOCK)
    _geglu[(out.numel() // width * blocks,)](
        x, out, width, blocks, block=_BLOCK, enable_fp_fusion=False
    )
    return out


def add_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Do what `twins.add_rows` does, in x's layout."""
    return _sum(dense(x), None, dense(rows.contiguous()), table_stride=x.shape[1])


def residual(x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """Do what `twins.residual` does, in x's layout. Raises ValueError when shapes differ."""
    if x.shape != y.shape:
        raise ValueError(f"a residual adds one shape, not {tuple(x.shape)} and {tuple(y.shape)}")
    x = dense(x)
    return _sum(x, dense(y, like=x), None if bias is None else dense(bias), table_stride=0)


def _sum(x: Tensor, y: Tensor | None, table: Tensor | None, *, table_stride: int) -> Tensor:
    """Launch y + table + x for tensors of one layout."""
    out = torch.empty_like(x)
    size = x[0].numel()
    blocks = blocks_of(size, _BLOCK)
    planar = x.dim() == 4 and not is_channels_last(x)
    _add[(len(x) * blocks,)](
        x,
        x if y is None else y,
        x if table is None else table,
        out,
        size,
        x.shape[1] if x.dim() == 4 else x.shape[-1],
        x[0, 0].numel() if planar else 1,
        table_stride,
        blocks,
        has_y=y is not None,
        has_table=table is not None,
        block=_BLOCK,
        enable_fp_fusion=False,
    )
    return out
