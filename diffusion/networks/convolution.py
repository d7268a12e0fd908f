"""The one convolution of backbone and autoencoder, with seamless borders on demand.

Seamless tiling is a property of a job, not of a model: circular padding is switched on for the
forward passes of one thread and never for its neighbours'.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

_SEAMLESS: ContextVar[bool] = ContextVar("seamless", default=False)


@contextmanager
def borders(*, seamless: bool) -> Iterator[None]:
    """Pad circularly (seamless) or with zeros in every convolution below, in this thread only."""
    token = _SEAMLESS.set(seamless)
    try:
        yield
    finally:
        _SEAMLESS.reset(token)


class Conv2d(nn.Conv2d):
    """A convolution whose picture meets itself at opposite borders when that is asked for."""

    def forward(self, input: Tensor) -> Tensor:
        """Map N x in x h x w to N x out x h' x w'."""
        if not _SEAMLESS.get() or not isinstance(self.padding, tuple) or not any(self.padding):
            return super().forward(input)
        down, across = self.padding
        wrapped = torch.nn.functional.pad(input, (across, across, down, down), mode="circular")
        return torch.nn.functional.conv2d(
            wrapped, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )
