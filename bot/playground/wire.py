"""What every part of the playground shares: JSON objects, time and ids.

Promises ids that sort by time, as Discord's do, and a clock that a test can hold in its hand.
Never touches a socket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

Json = dict[str, Any]

DISCORD_EPOCH_MS = 1_420_070_400_000


class Timer(Protocol):
    """Something that will happen unless it is cancelled."""

    def cancel(self) -> None:
        """Make it never happen."""


class Clock:
    """The wall clock, and timers on the running event loop."""

    def now(self) -> float:
        """Return the seconds since 1970."""
        return time.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back once after that many seconds."""
        return asyncio.get_running_loop().call_later(delay, callback)


class ManualClock(Clock):
    """A clock that moves only when told to."""

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._timers: list[ManualTimer] = []

    def now(self) -> float:
        """Return the seconds since 1970 as this clock believes."""
        return self._now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back from within the `advance` that reaches the moment."""
        timer = ManualTimer(self._now + delay, callback)
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Move on, firing what falls due in order."""
        end = self._now + seconds
        while due := [timer for timer in self._timers if timer.when <= end]:
            first = min(due, key=lambda timer: timer.when)
            self._timers.remove(first)
            self._now = max(self._now, first.when)
            if not first.cancelled:
                first.callback()
        self._now = end


class ManualTimer:
    """A timer of a `ManualClock`."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Make it never happen."""
        self.cancelled = True


class Snowflakes:
    """Hands out Discord ids: milliseconds since 2015 in the upper bits, always growing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def now(self) -> float:
        """Return the moment that the next id will tell."""
        return self._clock.now()

    def next(self) -> int:
        """Return a fresh id, larger than every earlier one."""
        moment = (int(self._clock.now() * 1000) - DISCORD_EPOCH_MS) << 22
        self._last = max(moment, self._last + 1)
        return self._last


def snowflake_time(snowflake: int) -> float:
    """Return the seconds since 1970 at which an id was made."""
    return ((snowflake >> 22) + DISCORD_EPOCH_MS) / 1000


def iso(seconds: float) -> str:
    """Write a moment the way Discord's API does."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
