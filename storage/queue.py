"""The durable queue: accepting jobs, taking them up, and letting them go.

A job is accepted when its row is committed. The interaction it came from is unique, so an event
that Discord sends twice makes one job. Limits are checked in the transaction that inserts, so they
hold however many people press at once. Who goes next is the caller's business; the table only
remembers the order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import retention
from storage.changes import add, find, move
from storage.errors import QueueFull, UnknownParent, UserQueueFull
from storage.ids import is_job_id, new_job_id
from storage.records import NO_DETAILS, Counts, Enqueued, Job, JobState, NewJob
from storage.rows import fold, read_job, to_micros
from storage.tables import job as job_table

_ASKED: Final = tuple(field.name for field in fields(NewJob))
_CANCELLABLE: Final = frozenset({JobState.QUEUED, JobState.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many jobs may wait, in all and of one requester; None is no limit."""

    waiting: int | None
    waiting_user: int | None


async def enqueue(
    connection: AsyncConnection, new: NewJob, limits: Limits, *, now: datetime
) -> Enqueued:
    """Accept a job, or return the one that this interaction already made."""
    known = await _by_interaction(connection, new)
    if known is not None:
        position = await position_of(connection, known.id)
        return Enqueued(job=known, created=False, position=position or 0)
    waiting = await _check_limits(connection, new, limits)
    try:
        job = await add(connection, _first_values(new, now))
    except IntegrityError as error:
        raise UnknownParent(
            f"the parent job {new.parent_id!r} is not in the store; ask for it anew"
        ) from error
    await retention.keep_sources(connection, job)
    return Enqueued(job=job, created=True, position=waiting + 1)


async def enqueue_all(
    connection: AsyncConnection, news: Sequence[NewJob], limits: Limits, *, now: datetime
) -> tuple[Enqueued, ...]:
    """Accept several jobs, either all of them or none."""
    return tuple([await enqueue(connection, new, limits, now=now) for new in news])


async def claim(connection: AsyncConnection, job_id: str, *, now: datetime) -> Job | None:
    """Take up a queued job; None if it is no longer queued."""
    job = await find(connection, job_id)
    if job is None or job.state is not JobState.QUEUED:
        return None
    values = {"attempt": job.attempt + 1, "claimed_at": to_micros(now)}
    return await move(connection, job, JobState.RUNNING, values)


async def cancel(connection: AsyncConnection, job_id: str) -> Job | None:
    """End a job that has no pictures yet; None if there is none such."""
    job = await find(connection, job_id)
    if job is None or job.state not in _CANCELLABLE:
        return None
    return await move(connection, job, JobState.CANCELLED, {})


async def in_states(
    connection: AsyncConnection, states: Sequence[JobState], *, requester_id: int | None = None
) -> list[Job]:
    """Return the jobs in these states, oldest first."""
    statement = select(job_table).where(job_table.c.state.in_([state.value for state in states]))
    if requester_id is not None:
        statement = statement.where(job_table.c.requester_id == requester_id)
    rows = (await connection.execute(statement.order_by(job_table.c.seq))).mappings()
    return [read_job(row) for row in rows]


async def position_of(connection: AsyncConnection, job_id: str) -> int | None:
    """Return a queued job's place in the order of arrival, from 1."""
    if not is_job_id(job_id):
        return None
    its_seq = select(job_table.c.seq).where(
        job_table.c.id == job_id, job_table.c.state == JobState.QUEUED.value
    )
    statement = select(func.count()).where(
        job_table.c.state == JobState.QUEUED.value,
        job_table.c.seq <= its_seq.scalar_subquery(),
    )
    return (await connection.execute(statement)).scalar_one() or None


async def counts(connection: AsyncConnection) -> Counts:
    """Count the jobs in each state."""
    statement = select(job_table.c.state, func.count()).group_by(job_table.c.state)
    found: dict[str, int] = {}
    for state, number in await connection.execute(statement):
        found[state] = number
    return Counts(
        waiting=found.get(JobState.QUEUED, 0),
        running=found.get(JobState.RUNNING, 0),
        rendered=found.get(JobState.RENDERED, 0),
        posting=found.get(JobState.POSTING, 0),
        posted=found.get(JobState.POSTED, 0),
        failed=found.get(JobState.FAILED, 0),
        cancelled=found.get(JobState.CANCELLED, 0),
    )


async def _by_interaction(connection: AsyncConnection, new: NewJob) -> Job | None:
    statement = select(job_table).where(
        job_table.c.interaction_id == new.interaction_id,
        job_table.c.repeat_index == new.repeat_index,
    )
    row = (await connection.execute(statement)).mappings().one_or_none()
    return None if row is None else read_job(row)


async def _check_limits(connection: AsyncConnection, new: NewJob, limits: Limits) -> int:
    is_theirs: ColumnElement[bool] = job_table.c.requester_id == new.requester_id
    statement = select(
        func.count(), func.coalesce(func.sum(case((is_theirs, 1), else_=0)), 0)
    ).where(job_table.c.state == JobState.QUEUED.value)
    waiting, theirs = (await connection.execute(statement)).one()
    if limits.waiting_user is not None and theirs >= limits.waiting_user:
        raise UserQueueFull(
            f"{theirs} of this requester's jobs are waiting; the limit is {limits.waiting_user}",
            position=waiting + 1,
            limit=limits.waiting_user,
        )
    if limits.waiting is not None and waiting >= limits.waiting:
        raise QueueFull(
            f"{waiting} jobs are waiting; the limit is {limits.waiting}",
            position=waiting + 1,
            limit=limits.waiting,
        )
    return int(waiting)


def _first_values(new: NewJob, now: datetime) -> dict[str, Any]:
    return {
        **{name: getattr(new, name) for name in _ASKED},
        "id": new_job_id(),
        "kind": new.kind.value,
        # Left empty, so that the seal of a job without details is what it always was.
        "details": None if new.details == NO_DETAILS else new.details,
        "state": JobState.QUEUED.value,
        "attempt": 0,
        "crashes": 0,
        "prompt_folded": fold(new.prompt),
        "created_at": to_micros(now),
    }
