"""What follows a forgetting: jobs that were just being posted go too, and messages of ours.

Promises that what was begun is gone on with after any restart, until the store knows of nothing
more; that messages go one after another, with pauses, so that results find room in Discord's
limits; and that a message which may not be deleted is tried once. Keeps nothing in memory.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bot import sent
from storage import Forgotten, StorageError

if TYPE_CHECKING:
    from bot.services import Services

# How long somebody who waits for an answer waits for what is just being sent, and for messages.
PATIENCE: Final = 60.0
# Discord takes about five requests in five seconds in a channel; more wait inside its client.
AT_ONCE: Final = 5
PAUSE: Final = 2.0
HOUR: Final = 3600.0
_LOOK_AGAIN: Final = 2.0

log = logging.getLogger(__name__)


class Remover:
    """Forgets people, and ends what a forgetting cannot do at once."""

    def __init__(self, services: "Services", *, pause: float = PAUSE, retry: float = HOUR) -> None:
        self._services = services
        self._pause = pause
        self._retry = retry
        self._again = asyncio.Event()
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """End what earlier forgettings began, now and whenever something is left; until cancelled.

        Looks every hour, which is also when a message whose deletion failed is tried again.
        """
        while True:
            self._again.clear()
            try:
                await self._end_people()
                await self._end_messages()
                await self._services.store.aftermath.end_day(datetime.now(UTC))
            except StorageError as error:
                log.error("what is left of a forgetting cannot be read for now: %s", error)
            try:
                await asyncio.wait_for(self._again.wait(), self._retry)
            except TimeoutError:
                continue

    def wake(self) -> None:
        """Go on now with what is left."""
        self._again.set()

    async def forget(self, user_id: int, *, until: int | None = None) -> Forgotten:
        """Forget somebody as far as that goes at once, and stop their work."""
        gone = await self._services.store.forget(user_id, until=until)
        for job_id in gone.cancelled:
            self._services.queue.discard(job_id)
            await self._services.worker.cancel(job_id)
        return gone

    async def forget_rest(self, user_id: int) -> int:
        """Forget what was just being sent as it arrives; return how many jobs are still under way
        when `PATIENCE` ends.
        """
        left = 0
        try:
            async with asyncio.timeout(PATIENCE):
                while (until := await self._until(user_id)) is not None:
                    gone = await self.forget(user_id, until=until)
                    left = len(gone.unfinished)
                    await self.remove(gone.messages)
                    if left:
                        await self._moment()
        except TimeoutError:
            log.warning("%d jobs of a forgotten person are still being sent", left)
            self.wake()
        return left

    async def remove(self, messages: Sequence[tuple[int, int]]) -> int:
        """Delete messages of ours that are noted for it; return how many are gone now.

        What fails for now stays noted, and so does what is not reached within `PATIENCE`.
        """
        removed = 0
        try:
            async with asyncio.timeout(PATIENCE), self._turn:
                for number, (channel_id, message_id) in enumerate(messages, start=1):
                    removed += await self._remove(channel_id, message_id) is True
                    await self._breathe(number, len(messages))
        except TimeoutError:
            log.info("%d messages of a forgotten person go later", len(messages) - removed)
            self.wake()
        return removed

    async def waiting(self, messages: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return those of these messages that are still noted."""
        noted = set(await self._services.store.aftermath.messages(limit=None))
        return [each for each in messages if each in noted]

    async def _end_people(self) -> None:
        while people := await self._services.store.aftermath.unfinished():
            for user_id, until in people.items():
                gone = await self.forget(user_id, until=until)
                log.info("somebody is forgotten further: %d jobs", gone.jobs)
                if gone.unfinished:
                    await self._moment()

    async def _end_messages(self) -> None:
        """Delete what is noted, until nothing is left or Discord fails."""
        while messages := await self._services.store.aftermath.messages():
            for number, (channel_id, message_id) in enumerate(messages, start=1):
                async with self._turn:
                    if await self._remove(channel_id, message_id) is None:
                        return
                await self._breathe(number, len(messages))

    async def _remove(self, channel_id: int, message_id: int) -> bool | None:
        """Delete a message; True when it went, False when it never can, None when it may later."""
        return await sent.remove(self._services.store, self._services.talk, channel_id, message_id)

    async def _breathe(self, number: int, of: int) -> None:
        if number % AT_ONCE == 0 and number < of:
            await asyncio.sleep(self._pause)

    async def _until(self, user_id: int) -> int | None:
        return (await self._services.store.aftermath.unfinished()).get(user_id)

    async def _moment(self) -> None:
        """Wait until the poster has done something, or a moment."""
        changed = self._services.poster.changed
        changed.clear()
        try:
            await asyncio.wait_for(changed.wait(), _LOOK_AGAIN)
        except TimeoutError:
            return
