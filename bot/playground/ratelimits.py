"""Rate limits as Discord keeps them: a window per bucket and major parameter, and one for all.

Promises headers that are right for every answer and a 429 only to those who ignored them.
Always on the monotonic clock, for clients sleep in real time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

GLOBAL_LIMIT = 50
GLOBAL_WINDOW = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So many requests per window of seconds, shared by all routes of one name."""

    name: str
    requests: int
    window: float

    @property
    def bucket(self) -> str:
        """Return the hash that names the bucket in the headers."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]


@dataclass(slots=True)
class Window:
    """How much of a bucket is used until when."""

    used: int
    ends: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The headers to answer with, and how long to wait when the request came too early."""

    headers: dict[str, str]
    retry_after: float | None = None
    scope: str = "user"


class RateLimits:
    """Counts requests; `enabled=False` counts nothing and sends no headers."""

    def __init__(
        self, *, enabled: bool = True, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.enabled = enabled
        self._monotonic = monotonic
        self._windows: dict[tuple[str, str], Window] = {}
        self._whole = Window(0, 0.0)

    def hit(self, limit: Limit | None, major: str, *, counts_globally: bool) -> Verdict:
        """Count one request against its bucket and, unless it is exempt, the global limit."""
        if not self.enabled:
            return Verdict(headers={})
        now = self._monotonic()
        if counts_globally and (wait := self._global(now)) is not None:
            headers = {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}
            return Verdict(headers=headers, retry_after=wait, scope="global")
        if limit is None:
            return Verdict(headers={})
        window = self._windows.get((limit.bucket, major))
        if window is None or now >= window.ends:
            window = Window(0, now + limit.window)
            self._windows[limit.bucket, major] = window
            self._forget(now)
        left = window.ends - now
        if window.used >= limit.requests:
            headers = bucket_headers(limit, 0, left) | {"X-RateLimit-Scope": "user"}
            return Verdict(headers=headers, retry_after=left)
        window.used += 1
        return Verdict(headers=bucket_headers(limit, limit.requests - window.used, left))

    def _global(self, now: float) -> float | None:
        if now >= self._whole.ends:
            self._whole = Window(0, now + GLOBAL_WINDOW)
        if self._whole.used >= GLOBAL_LIMIT:
            return self._whole.ends - now
        self._whole.used += 1
        return None

    def _forget(self, now: float) -> None:
        if len(self._windows) > 1000:
            self._windows = {key: item for key, item in self._windows.items() if item.ends > now}


def bucket_headers(limit: Limit, remaining: int, left: float) -> dict[str, str]:
    """Return the headers that tell a client about its bucket."""
    return {
        "X-RateLimit-Limit": str(limit.requests),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": f"{time.time() + left:.3f}",
        "X-RateLimit-Reset-After": f"{left:.3f}",
        "X-RateLimit-Bucket": limit.bucket,
    }
