"""The store: everything Easel must remember, in one folder, for one process at a time.

`Store.open` takes the folder, checks and migrates the database, and removes what a crash left
half-done. What a method has returned is on the disk. A method that raises has changed nothing, and
one whose caller is cancelled finishes all the same. The store knows no Discord and no torch, keeps
no settings, and starts nothing by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from storage import changes, history, posting, queue, recovery, retention
from storage.database import Database
from storage.errors import InvalidJob, StaleJob, StorageError
from storage.failures import translate_os
from storage.files import PictureFiles, free_bytes
from storage.lock import InstanceLock
from storage.opening import open_folder
from storage.records import (
    LARGEST_ID,
    OPEN_STATES,
    Counts,
    Enqueued,
    Job,
    JobState,
    NewJob,
    NewPicture,
    Picture,
    Recovered,
)

T = TypeVar("T")

_FILE_THREADS: Final = 2
_PAGE: Final = 1000


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


class Store:
    """An open store; made by `Store.open`, given back by `close`."""

    def __init__(
        self, folder: Path, *, lock: InstanceLock, clock: Callable[[], datetime] = utc_now
    ) -> None:
        """Wrap a folder that `open` has prepared."""
        self._folder = folder.absolute()
        self._lock = lock
        self._clock = clock
        self._database = Database(self._folder / "easel.db")
        self._files = PictureFiles(self._folder / "pictures")
        self._threads = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="easel-files")
        # Writing a picture and its row, or removing them, must not cross another such pair.
        self._pictures_turn = asyncio.Lock()
        self._recovered = False

    @classmethod
    async def open(cls, folder: Path, *, clock: Callable[[], datetime] = utc_now) -> Self:
        """Take the folder for this process, creating or upgrading what is in it."""
        opening = asyncio.create_task(asyncio.to_thread(open_folder, folder))
        try:
            lock = await asyncio.shield(opening)
        except asyncio.CancelledError:
            (await opening).release()
            raise
        store = cls(folder, lock=lock, clock=clock)
        try:
            keep = await store._database.read(retention.kept_hashes)
            await store._in_thread(partial(store._files.sweep, keep))
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def folder(self) -> Path:
        """Return the folder that everything is in."""
        return self._folder

    async def close(self) -> None:
        """Finish what has begun and give the folder back; harmless when done twice."""
        try:
            await self._database.close()
        finally:
            self._threads.shutdown()
            self._lock.release()

    async def __aenter__(self) -> Self:
        """Return the store itself."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        await self.close()

    # The queue.

    async def enqueue(
        self, new: NewJob, *, max_waiting: int | None = None, max_waiting_user: int | None = None
    ) -> Enqueued:
        """Accept a job for good, or return the one its interaction already made."""
        accepted = await self.enqueue_all(
            [new], max_waiting=max_waiting, max_waiting_user=max_waiting_user
        )
        return accepted[0]

    async def enqueue_all(
        self,
        news: Sequence[NewJob],
        *,
        max_waiting: int | None = None,
        max_waiting_user: int | None = None,
    ) -> tuple[Enqueued, ...]:
        """Accept several jobs (a prompt with --repeat), either all of them or none."""
        limits = queue.Limits(waiting=max_waiting, waiting_user=max_waiting_user)
        now = self._clock()

        async def work(connection: AsyncConnection) -> tuple[Enqueued, ...]:
            return tuple([await queue.enqueue(connection, new, limits, now=now) for new in news])

        return await self._database.write(work)

    async def job(self, job_id: str) -> Job | None:
        """Return a job as it stands now."""
        return await self._database.read(partial(changes.find, job_id=job_id))

    async def claim(self, job_id: str) -> Job | None:
        """Take up a queued job for work; None if somebody else did, or it is gone."""
        return await self._database.write(partial(queue.claim, job_id=job_id, now=self._clock()))

    async def release(self, job: Job) -> Job:
        """Hand a running job back to the queue without holding it against the job."""
        return await self._move(job, JobState.QUEUED, {})

    async def cancel(self, job_id: str) -> Job | None:
        """End a queued or running job; None if it is past that, or unknown."""
        return await self._database.write(partial(queue.cancel, job_id=job_id))

    async def failed(self, job: Job, *, code: str, text: str) -> Job:
        """End a job that cannot be finished, with a code and a sentence; its pictures stay."""
        if not code:
            raise ValueError("a failure needs a code")
        plain = text.encode("utf-8", "replace").decode("utf-8")
        return await self._move(job, JobState.FAILED, {"error_code": code, "error_text": plain})

    async def waiting(self) -> list[Job]:
        """Return the queued jobs, oldest first."""
        return await self._database.read(partial(queue.in_states, states=[JobState.QUEUED]))

    async def active(self, requester_id: int) -> list[Job]:
        """Return a requester's jobs that have not ended, oldest first."""
        return await self._database.read(
            partial(queue.in_states, states=sorted(OPEN_STATES), requester_id=requester_id)
        )

    async def position(self, job_id: str) -> int | None:
        """Return a queued job's place in the order of arrival, 1 for the oldest."""
        return await self._database.read(partial(queue.position_of, job_id=job_id))

    async def counts(self) -> Counts:
        """Count the jobs in each state."""
        return await self._database.read(queue.counts)

    async def note_progress_message(self, job_id: str, *, channel_id: int, message_id: int) -> Job:
        """Remember the message that shows a job's progress, in whatever state the job is."""
        values = {
            "progress_channel_id": _checked_id("channel_id", channel_id),
            "progress_message_id": _checked_id("message_id", message_id),
        }

        async def work(connection: AsyncConnection) -> Job:
            job = await changes.find(connection, job_id)
            if job is None:
                raise StaleJob(f"job {job_id!r} is not in the store")
            return await changes.amend(connection, job, values)

        return await self._database.write(work)

    # Posting.

    async def rendered(
        self, job: Job, pictures: Sequence[NewPicture], *, device_seconds: float
    ) -> Job:
        """Keep a running job's pictures: files first, then their rows and the new state."""
        indexes = [picture.index for picture in pictures]
        if not indexes or len(set(indexes)) != len(indexes):
            raise InvalidJob(f"pictures have the indexes {indexes}; each must be there once")
        if not 0 <= device_seconds < inf:
            raise InvalidJob(f"device_seconds is {device_seconds}; it must be 0 or more")
        return await self._database.finish(self._rendered(job, pictures, device_seconds))

    async def begin_post(self, job: Job) -> Job:
        """Start posting a rendered job under its first nonce; one being posted stays as it is."""
        return await self._database.write(partial(posting.begin_post, job=job, now=self._clock()))

    async def bump_nonce(self, job: Job) -> Job:
        """Take the next nonce, once it is known that the last one's message does not exist."""
        return await self._database.write(partial(posting.bump_nonce, job=job, now=self._clock()))

    async def posted(self, job: Job, *, message_id: int) -> Job:
        """Record the message that carries the result."""
        _checked_id("message_id", message_id)
        return await self._database.write(
            partial(posting.posted, job=job, message_id=message_id, now=self._clock())
        )

    # Starting and stopping.

    async def recover(self) -> Recovered:
        """Put every unfinished job where work can go on; once, before any work begins."""
        if self._recovered:
            raise StorageError("recover() runs once, at start; now it would take running jobs away")
        self._recovered = True
        return await self._database.write(recovery.recover)

    async def mark_clean_stop(self) -> None:
        """Leave word for the next start that this process stopped on purpose."""
        await self._database.write(recovery.mark_clean_stop)

    async def free_bytes(self) -> int:
        """Return how much room the store's disk has left."""
        return await self._database.finish(self._in_thread(partial(free_bytes, self._folder)))

    async def check(self) -> int:
        """Read every job and verify its checksum; return how many there are."""
        seen, last = 0, 0
        while True:
            page = await self._database.read(
                partial(history.jobs_after, sequence=last, limit=_PAGE)
            )
            if not page:
                return seen
            seen += len(page)
            last = page[-1][0]

    # Looking back.

    async def history(
        self,
        *,
        requester_id: int | None = None,
        guild_id: int | None = None,
        search: str | None = None,
        states: Collection[JobState] | None = None,
        limit: int = 10,
        before: str | None = None,
    ) -> list[Job]:
        """Return jobs, newest first; `before` is the id of the last one of the previous page."""
        wanted = history.Wanted(
            requester_id=requester_id,
            guild_id=guild_id,
            search=search,
            states=states,
            limit=limit,
            before=before,
        )
        return await self._database.read(partial(history.history, wanted=wanted))

    async def job_by_message(self, message_id: int) -> Job | None:
        """Return the job whose result or progress a message shows."""
        return await self._database.read(partial(history.job_by_message, message_id=message_id))

    async def children(self, job_id: str) -> list[Job]:
        """Return the jobs made from this one, oldest first."""
        return await self._database.read(partial(history.children, job_id=job_id))

    # Pictures.

    async def pictures(self, job_id: str) -> list[Picture]:
        """Return a job's pictures: the grid, then the images."""
        return await self._database.read(partial(history.pictures_of, job_id=job_id))

    async def read_picture(self, picture: Picture) -> bytes:
        """Return a picture's file, verified by its hash."""
        return await self.read_file(picture.sha256)

    async def read_file(self, sha256: str) -> bytes:
        """Return a stored file by its hash, such as the picture a variation starts from."""
        return await self._database.finish(self._in_thread(partial(self._files.read, sha256)))

    async def delete_pictures(self, job_id: str) -> Job | None:
        """Remove an ended job's pictures and mark it deleted; None if it is unknown."""
        return await self._database.finish(self._delete_pictures(job_id))

    async def _rendered(
        self, job: Job, pictures: Sequence[NewPicture], device_seconds: float
    ) -> Job:
        async with self._pictures_turn:
            data = [picture.data for picture in pictures]
            hashes = await self._in_thread(partial(self._files.write, data))
            return await self._database.write(
                partial(
                    posting.rendered,
                    job=job,
                    pictures=list(zip(pictures, hashes, strict=True)),
                    device_seconds=device_seconds,
                    now=self._clock(),
                )
            )

    async def _delete_pictures(self, job_id: str) -> Job | None:
        async with self._pictures_turn:
            job, unneeded = await self._database.write(
                partial(retention.delete_pictures, job_id=job_id, now=self._clock())
            )
            await self._in_thread(partial(self._files.remove, unneeded))
            return job

    async def _move(self, job: Job, to: JobState, values: dict[str, str]) -> Job:
        return await self._database.write(partial(changes.move, job=job, to=to, values=values))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            raise translate_os(error, self._folder) from error


def _checked_id(name: str, number: int) -> int:
    if not 0 <= number <= LARGEST_ID:
        raise InvalidJob(f"{name} is {number}; an id is 0 to 2**63 - 1")
    return number
