"""What a bot does for its store by the hour: backups, and forgetting what is too old.

Promises that a fault here is told to the log and to nobody else, and is tried again; that a backup
never makes a command wait; that none is kept longer than a day once there is a newer one; and that
what is due is told from the files themselves, so that a restart neither skips a backup nor repeats
one.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bot.config import Config, StorageConfig
from storage import StorageError, Store, backups

# Not at once: a start has better things to do.
FIRST_PAUSE: Final = 30.0
PAUSE: Final = 60.0
SWEEP_SECONDS: Final = 24 * 3600.0
# Of old jobs at once; between two such pieces people have their turn.
PIECE: Final = 50

log = logging.getLogger(__name__)


class Care:
    """The hourly tasks of one bot; `run` goes on until it is cancelled."""

    def __init__(self, *, store: Store, settings: Callable[[], Config]) -> None:
        self._store = store
        self._settings = settings
        self._swept: float | None = None
        self._failed_at: float | None = None

    async def run(self) -> None:
        """Look every minute what is due, and do it."""
        await asyncio.sleep(FIRST_PAUSE)
        while True:
            await self.look()
            await asyncio.sleep(PAUSE)

    async def look(self) -> None:
        """Do what is due now."""
        for what, act in (("backup", self._back_up), ("forgetting what is old", self._expire)):
            try:
                await act()
            except StorageError as error:
                log.error("the %s failed and is tried again later: %s", what, error)
            except Exception:
                log.exception("the %s failed and is tried again later", what)

    async def _back_up(self) -> None:
        settings = self._settings().storage
        folder = backup_folder(settings)
        now = datetime.now(UTC)
        found = await asyncio.to_thread(backups.found, folder)
        if settings.backup_hours and self._is_due(found, settings, now):
            # Whatever happens to it, the next try waits for its hour, or its share of one.
            self._failed_at = time.monotonic()
            made = await self._store.back_up(folder)
            self._failed_at = None
            log.info("backup %s: %d jobs, %d bytes", made.path.name, made.jobs, made.size)
        await self._store.prune_backups(
            folder, keep=settings.backup_keep, spare_newest=bool(settings.backup_hours)
        )

    def _is_due(self, found: list[backups.Backup], settings: StorageConfig, now: datetime) -> bool:
        pause = min(settings.backup_hours * 3600, 600)
        if self._failed_at is not None and time.monotonic() - self._failed_at < pause:
            return False
        # Those from the future were made by a clock that was wrong.
        ages = (now - each.made_at for each in found)
        newest = min((age for age in ages if age >= timedelta()), default=None)
        return newest is None or newest >= timedelta(hours=settings.backup_hours)

    async def _expire(self) -> None:
        days = self._settings().storage.keep_days
        is_new_day = self._swept is None or time.monotonic() - self._swept >= SWEEP_SECONDS
        if not days or not is_new_day:
            return
        gone = 0
        while number := await self._store.expire(older_than=timedelta(days=days), limit=PIECE):
            gone += number
            await asyncio.sleep(0)
        self._swept = time.monotonic()
        if gone:
            log.info("%d jobs older than %g days were emptied", gone, days)


def backup_folder(settings: StorageConfig) -> Path:
    """Return where the settings put backups."""
    return settings.backup_folder or settings.folder / backups.FOLDER
