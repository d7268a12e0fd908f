"""What the Triton kernels share. Importing this imports triton, so only they may do so, and late.

Promises the layout and alignment that the kernels count on. Never launches anything.

## Why alignment is forced
Triton compiles a kernel again for pointers that are not multiples of 16 bytes, with other vector
widths and so another order of sums. A picture's bits would then depend on where in memory it lies.

## Why every launch says enable_fp_fusion=False
Whether a product and a sum become one rounding is a default that Triton 3.10 changes. These kernels
wait for memory, not for arithmetic; so they round as the twins do, whatever Triton is installed.
"""

from collections.abc import Callable
from typing import Final, Protocol, cast

import torch
import triton
from torch import Tensor

_ALIGNMENT: Final = 16


class Kernel(Protocol):
    """A compiled, or interpreted, kernel."""

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        """Return the launch over a grid of programs."""


def jit(kernel: Callable[..., None]) -> Kernel:
    """Compile at the first launch; run in Triton's interpreter under TRITON_INTERPRET=1."""
    return cast(Kernel, triton.jit(kernel))


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is not below a number of at least 1."""
    return 1 << (number - 1).bit_length()


def blocks_of(size: int, block: int) -> int:
    """Return how many blocks cover `size` elements."""
    return -(-size // block)


def dense(x: Tensor, *, like: Tensor | None = None) -> Tensor:
    """Return x aligned and without gaps: channels_last if it is so (or `like` is), else contiguous.

    Copies only what is neither.
    """
    last = is_channels_last(x if like is None else like)
    x = x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    return x if x.data_ptr() % _ALIGNMENT == 0 else x.clone()


def is_channels_last(x: Tensor) -> bool:
    """Tell whether the channels of an N x C x h x w tensor lie side by side."""
    if x.dim() != 4 or x.is_contiguous():
        return False
    return x.is_contiguous(memory_format=torch.channels_last)
