"""Files and the rows that name them, kept in step: a row never names a file that is not there.

A file is written before the row that names it, and removed after the last such row; one pair of
such steps never crosses another. What a job will start from comes before the job itself: such an
arrival is kept until a job names it, or for a day, and a stop of the process gives it up.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from storage import backups, expiring, forgetting, oblivion, people, posting, retention
from storage.database import Database
from storage.entries import Forgotten
from storage.errors import InvalidEntry
from storage.failures import translate_os
from storage.files import PictureFiles
from storage.records import Job, NewPicture

T = TypeVar("T")

LARGEST_FILE: Final = 256 * 2**20
ARRIVAL_STAYS: Final = timedelta(days=1)
_FILE_THREADS: Final = 2
# Each waits five seconds for readers of ours, or somebody else's, to let go of the log.
_LOG_ATTEMPTS: Final = 2


class Keeping:
    """The files of an open store."""

    def __init__(
        self,
        folder: Path,
        *,
        database: Database,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wrap a folder that is prepared; `monotonic` gives seconds that only ever go on."""
        self.files = PictureFiles(folder / "pictures")
        self._folder = folder
        self._database = database
        self._clock = clock
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="easel-files")
        self._turn = asyncio.Lock()
        # How many jobs are still to come for each file, and when it last came: not by the wall
        # clock, for one that is set a day ahead would drop what a job is just about to name.
        self._expected: Counter[str] = Counter()
        self._arrived: dict[str, float] = {}

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown()

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run work on files beside the event loop, its errors in the store's words."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            raise translate_os(error, self._folder) from error

    async def sweep(self) -> None:
        """Remove the files that no row names; before anything else is done."""
        keep = await self._database.read(retention.kept_hashes)
        await self.in_thread(partial(self.files.sweep, keep))

    async def read(self, sha256: str) -> bytes:
        """Return a stored file, verified by its hash."""
        return await self.in_thread(partial(self.files.read, sha256))

    async def rendered(
        self, job: Job, pictures: Sequence[NewPicture], device_seconds: float
    ) -> Job:
        """Write a running job's pictures, then their rows and the new state."""
        async with self._turn:
            data = [picture.data for picture in pictures]
            hashes = await self.in_thread(partial(self.files.write, data))
            return await self._database.write(
                partial(
                    posting.rendered,
                    job=job,
                    pictures=list(zip(pictures, hashes, strict=True)),
                    device_seconds=device_seconds,
                    now=self._clock(),
                )
            )

    async def arrive(self, data: bytes) -> str:
        """Write a file that a job will name."""
        async with self._turn:
            await self._drop_overdue()
            (sha256,) = await self.in_thread(partial(self.files.write, [data]))
            self._expected[sha256] += 1
            self._arrived[sha256] = self._monotonic()
            return sha256

    def named(self, sources: Iterable[str]) -> None:
        """Note that an accepted job names these files, so that its row keeps them from now on."""
        for sha256 in set(sources):
            if self._expected[sha256] <= 1:
                del self._expected[sha256]
                self._arrived.pop(sha256, None)
            else:
                self._expected[sha256] -= 1

    async def save_state(self, job_id: str, data: bytes) -> None:
        """Write where a job was stopped, in place of what was saved before."""
        async with self._turn:
            await self._database.read(partial(people.require_pictures, job_id=job_id))
            arrivals = frozenset(self._expected)
            (sha256,) = await self.in_thread(partial(self.files.write, [data]))
            unneeded = await self._database.write(
                partial(retention.save_state, job_id=job_id, sha256=sha256)
            )
            await self.in_thread(partial(self.files.remove, unneeded - arrivals))

    async def state(self, job_id: str) -> bytes | None:
        """Return where a job was stopped; None if nothing was saved."""
        sha256 = await self._database.read(partial(retention.state_of, job_id=job_id))
        return None if sha256 is None else await self.read(sha256)

    async def delete_pictures(self, job_id: str) -> Job | None:
        """Remove the rows of an ended job's pictures, then the files that nobody needs now."""
        async with self._turn:
            # Taken before the rows go: a job that names an arrival meanwhile is safe either way.
            arrivals = frozenset(self._expected)
            job, unneeded = await self._database.write(
                partial(retention.delete_pictures, job_id=job_id, now=self._clock())
            )
            await self.in_thread(partial(self.files.remove, unneeded - arrivals))
            return job

    async def forget(self, user_id: int, until: int | None) -> Forgotten:
        """Forget a person: the rows, the files, and what the log still has of them."""
        async with self._turn:
            await self.in_thread(partial(oblivion.note, self._folder, user_id, now=self._clock()))
            arrivals = frozenset(self._expected)
            forgotten, unneeded = await self._database.write(
                partial(forgetting.forget, user_id=user_id, now=self._clock(), until=until)
            )
            await self.in_thread(partial(self.files.remove, unneeded - arrivals))
        for _ in range(_LOG_ATTEMPTS):
            if await self._database.empty_log():
                break
        return forgotten

    async def expire(self, older_than: timedelta, limit: int) -> int:
        """Empty some old jobs; at the end of them, what the log still has of any."""
        now = self._clock()
        async with self._turn:
            arrivals = frozenset(self._expected)
            gone, unneeded = await self._database.write(
                partial(expiring.expire, before=now - older_than, limit=limit, now=now)
            )
            await self.in_thread(partial(self.files.remove, unneeded - arrivals))
        if gone < limit:
            await self._database.empty_log()
        return gone

    async def prune_backups(self, folder: Path, *, keep: int, spare_newest: bool) -> None:
        """Remove old backups, and then the names of those whom no backup remembers any more."""
        now = self._clock()
        prune = partial(backups.prune, folder, keep=keep, now=now, spare_newest=spare_newest)
        await self.in_thread(prune)
        async with self._turn:
            left = await self.in_thread(partial(backups.found, folder))
            oldest = min((backup.made_at for backup in left), default=now)
            await self.in_thread(partial(oblivion.prune, self._folder, before=oldest))

    async def _drop_overdue(self) -> None:
        since = self._monotonic() - ARRIVAL_STAYS.total_seconds()
        overdue = {sha256 for sha256, moment in self._arrived.items() if moment < since}
        if not overdue:
            return
        for sha256 in overdue:
            del self._expected[sha256], self._arrived[sha256]

        async def unneeded(connection: AsyncConnection) -> set[str]:
            return overdue - await retention.kept_hashes(connection, overdue)

        names = await self._database.read(unneeded)
        await self.in_thread(partial(self.files.remove, names))


def check_file(name: str, data: bytes) -> None:
    """Refuse a file that is empty or too large to keep."""
    if not 1 <= len(data) <= LARGEST_FILE:
        raise InvalidEntry(f"{name} has {len(data)} bytes; it must have 1 to {LARGEST_FILE}")
