"""The one convolution of backbone and autoencoder, with seamless borders on demand, and the one
linear layer, both in the form that is fastest where they run.

Seamless tiling is a property of a job, not of a model: circular padding is switched on for the
forward passes of one thread and never for its neighbours'. Promises: the form is chosen by the
layer, the height and the width, never by the number of rows; weights stay as they were loaded.

## Why not always PyTorch's own
On a CPU in float32 the products of PyTorch's linear layers come from a library that is slow on half
of all processors, and its convolutions sort their weights anew at every call, which takes longer
than using them where there are many weights and few positions. oneDNN's product, which PyTorch
carries for its compiler, needs no sorted weights (AMD Zen 5: 2.2 times the speed for linear layers,
2 to 20 times for the convolutions taken apart here).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_SEAMLESS: ContextVar[bool] = ContextVar("seamless", default=False)
# More weights than a cache holds, and fewer positions than make up for sorting them.
_MANY_WEIGHTS: Final = 2**22
_FEW_POSITIONS: Final = 64


@contextmanager
def borders(*, seamless: bool) -> Iterator[None]:
    """Pad circularly (seamless) or with zeros in every convolution below, in this thread only."""
    token = _SEAMLESS.set(seamless)
    try:
        yield
    finally:
        _SEAMLESS.reset(token)


class Linear(nn.Linear):
    """A linear layer over the last dimension."""

    def reset_parameters(self) -> None:
        """Draw weights anew. Layers without memory have none to draw, and are many in a model."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """Map ... x in to ... x out."""
        if is_plain(input, self.weight):
            return product(input, self.weight, self.bias)
        return super().forward(input)


class Conv2d(nn.Conv2d):
    """A convolution whose picture meets itself at opposite borders when that is asked for."""

    def reset_parameters(self) -> None:
        """Draw weights anew, unless the layer is without memory."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """Map N x in x h x w to N x out x h' x w'."""
        padding = cast(tuple[int, int], self.padding)
        if _SEAMLESS.get() and any(padding):
            down, across = padding
            input = functional.pad(input, (across, across, down, down), mode="circular")
            padding = (0, 0)
        if self.groups == 1 and self.dilation == (1, 1) and is_plain(input, self.weight):
            if self.kernel_size == (1, 1) and self.stride == (1, 1) and not any(padding):
                return self._by_position(input)
            height, width = (
                (size + 2 * pad - kernel) // step + 1
                for size, pad, kernel, step in zip(
                    input.shape[2:], padding, self.kernel_size, self.stride, strict=True
                )
            )
            if height * width <= _FEW_POSITIONS and self.weight.numel() >= _MANY_WEIGHTS:
                return self._taken_apart(input, padding, height)
        return functional.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation,
                                 self.groups)  # fmt: skip

    def _by_position(self, input: Tensor) -> Tensor:
        """A 1 x 1 convolution is a linear layer over channels."""
        rows = product(input.movedim(1, -1), self.weight.flatten(1), self.bias)
        return rows.movedim(-1, 1).contiguous()

    def _taken_apart(self, input: Tensor, padding: tuple[int, int], height: int) -> Tensor:
        """Every position's window becomes a row, and the convolution one product."""
        windows = functional.unfold(input, self.kernel_size, padding=padding, stride=self.stride)
        rows = product(windows.transpose(1, 2), self.weight.flatten(1), self.bias)
        maps = rows.transpose(1, 2).contiguous()
        return maps.view(*maps.shape[:2], height, -1)


class Pointwise(Conv2d):
    """A 1 x 1 convolution for those who read its result position by position."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def _by_position(self, input: Tensor) -> Tensor:
        return product(input.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


def is_plain(input: Tensor, weight: Tensor) -> bool:
    """Whether `product` can be used: float32 on a CPU, and nobody wants a gradient."""
    if input.device.type != "cpu" or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad):
        return False
    return input.dtype == weight.dtype == torch.float32


def product(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return input weight^T + bias by oneDNN: ... x in, out x in and out make ... x out."""
    operator: Any = torch.ops.mkldnn._linear_pointwise
    return cast(Tensor, operator(input, weight, bias, "none", [], ""))
