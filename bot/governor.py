"""The one governor of progress edits: how many fit beside the results, learned from Discord itself.

Promises that progress edits of one channel are `CHANNEL_SECONDS` apart, that in every window of
Discord's rate limit a share stays free for results, and that after a 429 progress stays silent for
as long as Discord says. It listens to every answer's headers; it delays nothing but progress.

## Why the headers
discord.py waits by itself when a window is used up, but then whoever comes next waits, and that is
as often a result as a preview. Previews that never use the last places leave results nothing to
wait for.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final, TypeVar

import aiohttp

# Discord allows about five edits in five seconds in a channel; half of them stay free for results.
CHANNEL_SECONDS: Final = 2.0
FREE_SHARE: Final = 0.5
CHANNELS_KEPT: Final = 1000
TOO_MANY: Final = 429
_EDIT: Final = re.compile(r"/channels/([0-9]+)/messages/[0-9]+$")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What Discord said last of a channel: places left of how many, until when."""

    limit: int
    remaining: int
    ends: float


class Governor:
    """Spaces the progress edits of each channel."""

    def __init__(
        self, seconds: float = CHANNEL_SECONDS, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next: dict[int, float] = {}
        self._windows: dict[int, Window] = {}

    async def turn(self, channel_id: int) -> None:
        """Wait until this channel has room for one more progress edit."""
        now = self._clock()
        due = max(now, self._next.get(channel_id, now))
        _keep(self._next, channel_id, due + self._seconds)
        await asyncio.sleep(due - now)
        pause = self.pause(channel_id)
        while pause > 0:
            await asyncio.sleep(pause)
            # Results may have used the new window in the meantime.
            pause = self.pause(channel_id)

    def pause(self, channel_id: int) -> float:
        """Return how long progress stands back, so that results find a free place."""
        window = self._windows.get(channel_id)
        if window is None or window.remaining > window.limit * FREE_SHARE:
            return 0.0
        return max(0.0, window.ends - self._clock())

    def heard(self, channel_id: int, status: int, headers: Mapping[str, str]) -> None:
        """Take in what an answer to an edit says of its channel."""
        try:
            wait = float(headers.get("X-RateLimit-Reset-After", 0.0))
            limit = int(headers.get("X-RateLimit-Limit", 0))
            remaining = int(headers.get("X-RateLimit-Remaining", 0))
            if status == TOO_MANY:
                wait, remaining = max(wait, float(headers.get("Retry-After", 0.0))), 0
        except ValueError:
            return
        if wait > 0:
            ends = self._clock() + wait
            window = Window(limit=limit, remaining=remaining, ends=ends)
            _keep(self._windows, channel_id, window)

    def trace(self) -> aiohttp.TraceConfig:
        """Return ears for a client's requests."""

        async def ended(
            session: aiohttp.ClientSession,
            context: SimpleNamespace,
            answer: aiohttp.TraceRequestEndParams,
        ) -> None:
            del session, context
            place = _EDIT.search(answer.url.path)
            if answer.method == "PATCH" and place is not None:
                self.heard(int(place[1]), answer.response.status, answer.response.headers)

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(ended)
        return trace


def _keep(book: dict[int, _T], channel_id: int, value: _T) -> None:
    book.pop(channel_id, None)
    book[channel_id] = value
    while len(book) > CHANNELS_KEPT:
        del book[next(iter(book))]
