"""What this machine is good at: which precision is fast, and how many threads may run.

Promises to measure rather than to believe: half precision halves memory everywhere, and time only
where the hardware knows it. Never sets anything: callers do.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import torch

_DTYPES: Final = (torch.float32, torch.float16, torch.bfloat16)
_SECONDS: Final = 0.02
# Less than this is noise, and then the earlier of _DTYPES is kept.
_FASTER: Final = 1.1

# Floating-point operations a second of one matrix product in a precision on a device.
Rate: TypeAlias = Callable[[torch.dtype, torch.device], float]


def gemm_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Multiply square matrices for about 20 ms; return operations a second, 0 if it cannot be done.

    The one before is not counted. Where a single product takes longer than that, as half precision
    does on a CPU without it, it is done twice in all.
    """
    size = 4096 if device.type == "cuda" else 256
    try:
        a = torch.ones(size, size, dtype=dtype, device=device)
        a @ a
        _finish(device)
        started, done = time.perf_counter(), 0
        while (spent := time.perf_counter() - started) < _SECONDS:
            a @ a
            _finish(device)
            done += 1
    except RuntimeError:
        return 0.0
    return 2.0 * size**3 * done / spent


def fastest_dtype(device: torch.device | str, *, rate: Rate = gemm_rate) -> torch.dtype:
    """Return float32, float16 or bfloat16, whichever multiplies matrices fastest here.

    float32 comes first and float16 second: another must be faster by 10 %. Takes 60 ms where all
    are fast; on a CPU without half precision, where a product may be 270 times slower, half a
    second.
    """
    device = torch.device(device)
    chosen, best = _DTYPES[0], rate(_DTYPES[0], device)
    for dtype in _DTYPES[1:]:
        found = rate(dtype, device)
        if found > best * _FASTER:
            chosen, best = dtype, found
    return chosen


def usable_cpus(
    *, groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int:
    """Return how many threads this process may keep busy, at least 1.

    The smaller of its affinity and of the quotas of its control group and those above it (version
    1 or 2), rounded down: threads that wait for each other are all as slow as the one throttled.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = min(_quotas(groups, own), default=math.inf)
    return max(1, math.floor(min(count, quota)))


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    """Yield every limit in CPUs that holds for the control group named in `own`."""
    for line in _words(own, "\n"):
        _, controllers, place = [*line.split(":", 2), "", ""][:3]
        if controllers not in ("", "cpu", "cpu,cpuacct"):
            continue
        top = groups / controllers if controllers else groups
        folder = top / place.lstrip("/")
        for level in (folder, *folder.parents):
            yield from _quota(level)
            if level == top:
                break


def _quota(folder: Path) -> Iterator[float]:
    words = _words(folder / "cpu.max") or [
        word for name in ("quota", "period") for word in _words(folder / f"cpu.cfs_{name}_us")
    ]
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        yield int(words[0]) / int(words[1])


def _words(path: Path, separator: str | None = None) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").strip().split(separator)
    except (OSError, UnicodeDecodeError):
        return []


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
