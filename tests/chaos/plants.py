"""Three mistakes that a bot of this kind is known for, to be put into a running one.

Promises that each is the mistake alone, at the place where it would be made. The chaos suites must
find every one of them, or they would find nothing.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import Any

from bot.poster import Poster
from storage import Job, JobState, Store
from storage.changes import amend_latest
from storage.rows import to_micros
from storage.store import utc_now
from tests.fakes import FakeEngine, Gate

Claim = Callable[[Store, str], Awaitable[Job | None]]


def without_nonce() -> Callable[[Job], str]:
    """Return a nonce for each try to send a result, as different as if there were none."""
    numbers = count()
    return lambda job: f"{job.id}-{next(numbers)}"


def before_send(engine: FakeEngine, wishes: dict[str, Any]) -> None:
    """Name the moment before a result is sent: the bot may die there. No mistake by itself."""
    del engine
    deliver = Poster._deliver

    async def passing(self: Poster, attempt: Any, letter: Any) -> int:  # noqa: ANN401 - as it is
        wishes["crash"]("before_send")
        return await deliver(self, attempt, letter)

    setattr(Poster, "_deliver", passing)  # noqa: B010 - mypy takes no assignment to a method


def marked_first(engine: FakeEngine, wishes: dict[str, Any]) -> None:
    """Write down that a result is posted, and post it then."""
    before_send(engine, wishes)
    deliver = Poster._deliver

    async def marking(self: Poster, attempt: Any, letter: Any) -> int:  # noqa: ANN401 - as it is
        place = await self._progress_of(attempt.job)
        await self._store.posted(attempt.job, message_id=place[1] if place else 1)
        return await deliver(self, attempt, letter)

    setattr(Poster, "_deliver", marking)  # noqa: B010


def held_claim(gate: Gate) -> Claim:
    """Return the store's own claim, begun when a gate opens."""
    claim = Store.claim

    async def held(self: Store, job_id: str) -> Job | None:
        gate.reached.set()
        await gate.open.wait()
        return await claim(self, job_id)

    return held


def selected_claim(gate: Gate) -> Claim:
    """Return a claim that looks, waits for a gate to open, and writes what it believes."""

    async def selected(self: Store, job_id: str) -> Job | None:
        job = await self.job(job_id)
        if job is None or job.state is not JobState.QUEUED:
            return None
        gate.reached.set()
        await gate.open.wait()
        values = {
            "state": JobState.RUNNING.value,
            "attempt": job.attempt + 1,
            "claimed_at": to_micros(utc_now()),
        }
        return await self._database.write(partial(amend_latest, job_id=job_id, values=values))

    return selected
