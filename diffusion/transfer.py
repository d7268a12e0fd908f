"""Between the host and a device that works by itself, without waiting for it.

Promises: numbers go there in one copy from pinned memory, and come back into pinned memory while
the host goes on; nobody waits before `Landing.tensor` is asked for. On a CPU nothing is copied.
"""

import time
from collections.abc import Generator
from typing import cast

import torch
from torch import Tensor

# Where every part of a copy begins: whatever its type, it may be looked at as that type there.
_ALIGNED = 16


def is_apart(device: torch.device) -> bool:
    """Whether a device goes on by itself while the host does something else."""
    return device.type != "cpu"


def upload(device: torch.device, *hosts: Tensor) -> tuple[Tensor, ...]:
    """Return host tensors of any shapes and types on a device: one copy, not waited for."""
    if not is_apart(device):
        return hosts
    sizes = [-(-host.nbytes // _ALIGNED) * _ALIGNED for host in hosts]
    # Pinned memory is not used again before the copy is over: the allocator sees to that.
    packed = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=torch.cuda.is_available())
    parts = torch.split(packed, sizes)
    for part, host in zip(parts, hosts, strict=True):
        part[: host.nbytes].copy_(host.contiguous().reshape(-1).view(torch.uint8))
    there = torch.split(packed.to(device, non_blocking=True), sizes)
    return tuple(
        part[: host.nbytes].view(host.dtype).reshape(host.shape)
        for part, host in zip(there, hosts, strict=True)
    )


class Landing:
    """A tensor on its way to the host."""

    def __init__(self, tensor: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._host = tensor
        if tensor.is_cuda:
            self._host = torch.empty_like(tensor, device="cpu", pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._event = _recorded(tensor.device)

    def tensor(self) -> Tensor:
        """Wait for it, and return it on the CPU."""
        if self._event is not None:
            self._event.synchronize()
        return self._host.cpu()


def landed(tensor: Tensor) -> Generator[None, None, Tensor]:
    """Return a tensor on the CPU; one rest lets a forward pass begin before this waits for it."""
    landing = Landing(tensor)
    if is_apart(tensor.device):
        yield
    return landing.tensor()


class Clock:
    """How long a device works on what is asked of it between `Clock(device)` and `stop`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started, self._stopped = self._now(), self._now()

    def stop(self) -> None:
        """Take the time when all asked until now is done."""
        self._stopped = self._now()

    def seconds(self) -> float:
        """Wait for the end, and return the seconds in between."""
        start, stop = self._started, self._stopped
        if isinstance(start, float) or isinstance(stop, float):
            return cast(float, stop) - cast(float, start)
        stop.synchronize()
        return float(start.elapsed_time(stop)) / 1000

    def _now(self) -> float | torch.cuda.Event:
        return _recorded(self._device) if self._device.type == "cuda" else time.perf_counter()


def _recorded(device: torch.device) -> torch.cuda.Event:
    event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    # The current stream is a device's own: an event without it would be the first device's.
    event.record(torch.cuda.current_stream(device))
    return event
