"""Waiting for the disk: what was painted is not thrown away because a file could not be written.

Promises that a full disk is outwaited, that other trouble of the store is tried a few times, and
that an answer which no waiting changes (the job moved on, the data are damaged) is raised at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from storage import StaleJob, StorageError, StoreDamaged, StoreFull

TRIES: Final = 5
LONGEST_PAUSE: Final = 5.0

log = logging.getLogger(__name__)
_T = TypeVar("_T")


async def until_stored(act: Callable[[], Awaitable[_T]], *, first_pause: float = 0.2) -> _T:
    """Do something with the store, waiting while its disk is full."""
    pause, tries = first_pause, 1
    while True:
        try:
            return await act()
        except (StaleJob, StoreDamaged):
            raise
        except StoreFull as error:
            log.error("the disk is full; what was accepted waits for room: %s", error)
        except StorageError as error:
            if tries >= TRIES:
                raise
            tries += 1
            log.warning("the store failed and is tried again: %s", error)
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE, 2 * pause)
