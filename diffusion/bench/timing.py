"""Stopwatches: the sides in turn, and how much memory was held at most.

Promises: a time ends when the device has finished, not when it was asked; every side runs once
unmeasured first.
"""

import gc
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")


def settle(device: torch.device) -> None:
    """Wait until the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clock(what: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that something takes, the device's work included."""
    settle(device)
    began = time.perf_counter()
    what()
    settle(device)
    return time.perf_counter() - began


def in_turn(
    sides: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    device: torch.device,
    warm: bool = True,
) -> dict[str, list[float]]:
    """Run every side once a round, in turn; return the seconds of each, round by round.

    `warm`: every side runs once before, unmeasured. ValueError for less than one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; one at least")
    for what in sides.values() if warm else ():
        clock(what, device)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, what in sides.items():
            found[name].append(clock(what, device))
    return found


class Peak:
    """The most memory held since it was made, in bytes, beyond what was held then.

    On CUDA what the allocator gave out, elsewhere this process's resident memory, mapped pages of
    files included.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
            return
        if _CLEAR.exists():
            # Forgets the highest resident size so far: imports may have had one of their own.
            _CLEAR.write_text("5", encoding="ascii")
        self._before = resident("VmRSS")

    @property
    def bytes(self) -> int:
        """How much more was held, at the most."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return max(0, resident("VmHWM") - self._before)


def resident(field: str) -> int:
    """Return one line of this process's status (VmRSS, VmHWM, RssAnon) in bytes.

    RuntimeError where the system has no such file: resident memory is measured on Linux.
    """
    if not _STATUS.is_file():
        raise RuntimeError("resident memory is only measured on Linux: there is no /proc here")
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no line {field}")
