"""How long a promise takes: the time from asking for a job to having it on the disk.

For `easel bench`; it uses a folder of its own choosing, never one with jobs in it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.records import JobKind, NewJob
from storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitTimes:
    """Milliseconds from `enqueue` to its return: the middle, the 99th of 100, the worst."""

    count: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


async def measure_commits(beside: Path, *, count: int = 200) -> CommitTimes:
    """Accept so many jobs in a temporary store on the same disk, and time each."""
    if count < 1:
        raise ValueError(f"count is {count}; it must be 1 or more")
    times: list[float] = []
    with TemporaryDirectory(dir=beside, prefix="easel-timing-") as folder:
        async with await Store.open(Path(folder)) as store:
            for number in range(count):
                begun = time.perf_counter()
                await store.enqueue(_some_job(number), max_waiting=count, max_waiting_user=count)
                times.append((time.perf_counter() - begun) * 1000)
    times.sort()
    return CommitTimes(
        count=count,
        p50_ms=times[count // 2],
        p99_ms=times[count * 99 // 100],
        worst_ms=times[-1],
    )


def _some_job(number: int) -> NewJob:
    return NewJob(
        kind=JobKind.IMAGINE,
        params='{"prompt":"a red heart"}',
        prompt="a red heart",
        images=4,
        model="emoji",
        requester_id=1,
        guild_id=2,
        channel_id=3,
        interaction_id=number,
    )
