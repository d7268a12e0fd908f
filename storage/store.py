"""The store: everything Easel must remember, in one folder, for one process at a time.

`Store.open` takes the folder, checks and migrates the database, and removes what a crash left
half-done. What a method has returned is on the disk. A method that raises has changed nothing, and
one whose caller is cancelled finishes all the same. The store knows no Discord and no torch, keeps
no settings, and starts nothing by itself.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from storage import (
    backups,
    changes,
    forgetting,
    history,
    posting,
    queue,
    recovery,
)
from storage.aftermath import Aftermath
from storage.backups import Backup
from storage.community import Community
from storage.database import Database
from storage.entries import Export, Forgotten
from storage.errors import InvalidJob, StorageError
from storage.files import free_bytes
from storage.keeping import Keeping, check_file
from storage.lock import InstanceLock
from storage.opening import DATABASE, WITNESS, open_folder
from storage.people import People
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
from storage.sent import SentMessages
from storage.witness import Witness

_PAGE: Final = 1000


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


class Store:
    """An open store; made by `Store.open`, given back by `close`."""

    def __init__(
        self,
        folder: Path,
        *,
        lock: InstanceLock,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wrap a folder that `open` has prepared."""
        self._folder = folder.absolute()
        self._lock = lock
        self._clock = clock
        self._witness = Witness(self._folder / WITNESS)
        self._database = Database(self._folder / DATABASE, self._witness)
        self._keeping = Keeping(
            self._folder, database=self._database, clock=clock, monotonic=monotonic
        )
        self._recovered = False
        self._closing = threading.Event()
        self.people = People(self._database, clock)
        self.community = Community(self._database, clock)
        self.aftermath = Aftermath(self._database)
        self.sent = SentMessages(self._database, clock)

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Take the folder for this process, creating or upgrading what is in it.

        `clock` tells the moment that is written down, `monotonic` how long something waits.
        """
        opening = asyncio.create_task(asyncio.to_thread(open_folder, folder))
        try:
            lock = await asyncio.shield(opening)
        except asyncio.CancelledError:
            (await opening).release()
            raise
        store = cls(folder, lock=lock, clock=clock, monotonic=monotonic)
        try:
            await store._database.count_along()
            await store._keeping.sweep()
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
        self._closing.set()
        try:
            await self._database.close()
        finally:
            self._keeping.close()
            self._witness.close()
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
        accepted = await self._database.write(
            partial(queue.enqueue_all, news=news, limits=limits, now=self._clock())
        )
        self._keeping.named(sha256 for new in news for sha256 in new.sources)
        return accepted

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
        return await self._database.write(
            partial(changes.amend_latest, job_id=job_id, values=values)
        )

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
        return await self._database.finish(self._keeping.rendered(job, pictures, device_seconds))

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

    async def back_up(self, folder: Path) -> Backup:
        """Write a backup of the database into a folder, while everything goes on."""
        write = partial(
            backups.write,
            self._folder / DATABASE,
            folder,
            now=self._clock(),
            is_stopping=self._closing.is_set,
        )
        return await self._database.finish(asyncio.to_thread(write))

    async def prune_backups(self, folder: Path, *, keep: int, spare_newest: bool = True) -> None:
        """Remove the backups in a folder beyond a number, and those older than a day.

        The newest stays where it is spared, for it may be the only one.
        """
        await self._database.finish(
            self._keeping.prune_backups(folder, keep=keep, spare_newest=spare_newest)
        )

    async def free_bytes(self) -> int:
        """Return how much room the store's disk has left."""
        # Not with the files' threads: who asks has three seconds, and a disk may take them.
        return await self._database.finish(asyncio.to_thread(free_bytes, self._folder))

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

    async def group(self, job_id: str) -> list[Job]:
        """Return the jobs of one prompt that this one belongs to, in order."""
        return await self._database.read(partial(history.group, job_id=job_id))

    async def ancestors(self, job_id: str, *, limit: int = 50) -> list[Job]:
        """Return the job that this one was made from, then that one's, and so on."""
        return await self._database.read(partial(history.ancestors, job_id=job_id, limit=limit))

    async def descendants(self, job_id: str, *, limit: int = 200) -> list[Job]:
        """Return the jobs made from this one and from those, oldest first."""
        return await self._database.read(partial(history.descendants, job_id=job_id, limit=limit))

    # Pictures.

    async def pictures(self, job_id: str) -> list[Picture]:
        """Return a job's pictures: the grid, then the images."""
        return await self._database.read(partial(history.pictures_of, job_id=job_id))

    async def read_picture(self, picture: Picture) -> bytes:
        """Return a picture's file, verified by its hash."""
        return await self.read_file(picture.sha256)

    async def read_file(self, sha256: str) -> bytes:
        """Return a stored file by its hash, such as the picture a variation starts from."""
        return await self._database.finish(self._keeping.read(sha256))

    async def delete_pictures(self, job_id: str) -> Job | None:
        """Remove an ended job's pictures and mark it deleted; None if it is unknown."""
        return await self._database.finish(self._keeping.delete_pictures(job_id))

    async def expire(self, *, older_than: timedelta, limit: int = 50) -> int:
        """Empty some ended jobs of this age, as /forget-me would; return how many: 0 at the end.

        What somebody marked as a favourite stays, whole.
        """
        return await self._database.finish(self._keeping.expire(older_than, limit))

    async def keep_file(self, data: bytes) -> str:
        """Keep an upload and return its hash; it stays if a job names it within a day."""
        check_file("the file", data)
        return await self._database.finish(self._keeping.arrive(data))

    async def save_state(self, job_id: str, data: bytes) -> None:
        """Keep where a job was stopped early, so that another can go on from there."""
        check_file("the state", data)
        await self._database.finish(self._keeping.save_state(job_id, data))

    async def state(self, job_id: str) -> bytes | None:
        """Return where a job was stopped early; None if it was not, or was deleted."""
        return await self._database.finish(self._keeping.state(job_id))

    async def picture_by_sha256(self, sha256: str) -> list[Picture]:
        """Return the pictures whose file has this hash, oldest first."""
        return await self._database.read(partial(history.pictures_with, sha256=sha256))

    async def pictures_like(
        self, phash: int, *, distance: int, limit: int = 10
    ) -> list[tuple[Picture, int]]:
        """Return pictures that look like this, and in how many bits they differ; nearest first."""
        return await self._database.read(
            partial(history.pictures_like, phash=phash, distance=distance, limit=limit)
        )

    # Forgetting.

    async def forget(self, user_id: int, *, until: int | None = None) -> Forgotten:
        """Forget a person: their words, pictures and settings, on the disk too.

        `until` is what `aftermath.unfinished` says of them, where an earlier run began with it.
        """
        return await self._database.finish(self._keeping.forget(user_id, until))

    async def export(self, user_id: int) -> Export:
        """Return everything that is known of a person."""
        return await self._database.read(partial(forgetting.export, user_id=user_id))

    async def _move(self, job: Job, to: JobState, values: dict[str, str]) -> Job:
        return await self._database.write(partial(changes.move, job=job, to=to, values=values))


def _checked_id(name: str, number: int) -> int:
    if not 0 <= number <= LARGEST_ID:
        raise InvalidJob(f"{name} is {number}; an id is 0 to 2**63 - 1")
    return number
