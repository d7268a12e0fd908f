"""Progress in a job's own message: what is newest, when there is room, and never after the end.

Promises that edits of one message are `delivery.edit_seconds` apart and that those of one channel
leave room for results (`bot.governor`) and stand back while any waits there; that what was
overtaken is never sent; and that once `close` has returned no edit of this job is under way, so the
final text cannot be overwritten by an older one. A failed edit of progress is forgotten: the next
one says more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bot.config import DeliveryConfig
from bot.governor import Governor
from diffusion import Step

LONGEST_WAIT: Final = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a progress edit shows: the text values, and a preview as file bytes or None."""

    step: int
    total: int
    preview: bytes | None


Show = Callable[[Sight], Awaitable[None]]
Paint = Callable[[Step], bytes]


class Progress:
    """The progress of one running job; `update` from the worker, the rest by itself."""

    def __init__(
        self,
        *,
        channel_id: int,
        show: Show,
        paint: Paint,
        pace: Governor,
        idle: Callable[[], bool],
        delivery: Callable[[], DeliveryConfig],
    ) -> None:
        self._channel_id = channel_id
        self._show = show
        self._paint = paint
        self._pace = pace
        self._idle = idle
        self._delivery = delivery
        self._newest: Step | None = None
        self._changed = asyncio.Event()
        self._sending = asyncio.Lock()
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self.percent = 0

    def start(self) -> None:
        """Begin to show what `update` brings."""
        self._task = asyncio.create_task(self._run(), name="progress")

    def update(self, step: Step) -> None:
        """Take in a step; returns at once."""
        self.percent = 100 * step.index // step.total
        self._newest = step
        self._changed.set()

    async def close(self) -> None:
        """Show nothing any more; return when no edit is under way."""
        self._closed = True
        task, self._task = self._task, None
        if task is None:
            return
        if self._sending.locked():
            # Half-sent edits cannot be called back: let this one arrive before the end does.
            await asyncio.wait({task}, timeout=LONGEST_WAIT)
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(end, Exception):
            log.error("progress broke off", exc_info=end)

    async def _run(self) -> None:
        while not self._closed:
            await self._changed.wait()
            await self._pace.turn(self._channel_id)
            if not self._idle():
                # Results wait to be posted, and they share the channel's edits: they go first.
                continue
            self._changed.clear()
            step = self._newest
            if step is None or step.pictures is not None:
                continue
            await self._send(step)
            if not self._closed:
                await asyncio.sleep(self._delivery().edit_seconds)

    async def _send(self, step: Step) -> None:
        preview = None
        if self._delivery().preview:
            preview = await asyncio.to_thread(self._paint, step)
        sight = Sight(step=step.index, total=step.total, preview=preview)
        async with self._sending:
            if not self._closed:
                await self._show(sight)
