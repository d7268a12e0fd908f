"""How much memory a device has for us: what the driver, the kernel and the container say.

Promises: the smallest of all limits that hold, in bytes, minus a reserve; where nothing tells, no
limit. Read when a ledger is opened, not again: other programs' ups and downs are what the reserve
and the out-of-memory ladder are for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

NO_LIMIT: Final = 1 << 60
# Kept free besides a sixteenth of the device: for the allocator, libraries, and what is not here.
_RESERVE: Final = 512 << 20


def available(device: torch.device) -> int:
    """Return the bytes that may be used on a device, the weights that are there already included on
    CUDA and excluded on the CPU; `NO_LIMIT` for devices that do not tell.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device)
    elif device.type == "cpu":
        free = total = host_available()
    else:
        return NO_LIMIT
    return max(0, free - _RESERVE - total // 16) if free < NO_LIMIT else NO_LIMIT


def host_available(root: Path = Path("/")) -> int:
    """Return the bytes of host memory that this process could still take: what the kernel calls
    available (cached files included), or less where a control group (v1 or v2) or one of those
    above it allows less. `root` is where /proc and /sys are.
    """
    found = [NO_LIMIT, *_groups(root)]
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) << 10)
    return min(found)


def _groups(root: Path) -> Iterator[int]:
    """Yield what each control group above this process leaves."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            home, names = root / "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            home = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        # Inside a container the path may be the host's: then only the top is to be seen.
        inside = home / path.strip("/")
        for group in (inside, *inside.parents):
            limit, used = (_number(group / name) for name in names)
            if limit is not None and used is not None:
                yield max(0, limit - used + _cached(group))
            if group == home:
                break


def _cached(group: Path) -> int:
    """Return the bytes of files in a group's memory, which are dropped when room is wanted."""
    facts = dict(line.split(" ", 1) for line in _text(group / "memory.stat").splitlines())
    names = ("total_inactive_file", "total_active_file")
    plain = ("inactive_file", "active_file")
    return sum(int(facts.get(name, 0)) for name in (names if names[0] in facts else plain))


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
