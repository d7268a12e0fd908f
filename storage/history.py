"""Looking back: jobs by message, by parent, by person and by words.

Everything is read in the order in which jobs were accepted. Jobs whose pictures somebody deleted
are left out of the history, though they can still be found by id, so that their buttons have an
answer.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ids import is_job_id
from storage.records import LARGEST_ID, Job, JobState, Picture
from storage.rows import fold, read_job, read_picture
from storage.tables import job as job_table
from storage.tables import picture as picture_table

# SQLite refuses patterns of 50,000 bytes; what is longer is looked for by its beginning.
_LONGEST_SEARCH: Final = 1000
_MOST_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which jobs the history should show, newest first."""

    requester_id: int | None
    guild_id: int | None
    search: str | None
    states: Collection[JobState] | None
    limit: int
    before: str | None


async def history(connection: AsyncConnection, wanted: Wanted) -> list[Job]:
    """Return one page of jobs, newest first."""
    if not 1 <= wanted.limit <= _MOST_AT_ONCE:
        raise ValueError(f"limit is {wanted.limit}; it must be 1 to {_MOST_AT_ONCE}")
    rows = (await connection.execute(_page(wanted))).mappings()
    return [read_job(row) for row in rows]


async def job_by_message(connection: AsyncConnection, message_id: int) -> Job | None:
    """Return the newest job whose result or progress this message shows."""
    if not 0 <= message_id <= LARGEST_ID:
        return None
    statement = (
        select(job_table)
        .where(
            or_(
                job_table.c.post_message_id == message_id,
                job_table.c.progress_message_id == message_id,
            )
        )
        .order_by(job_table.c.seq.desc())
        .limit(1)
    )
    row = (await connection.execute(statement)).mappings().one_or_none()
    return None if row is None else read_job(row)


async def children(connection: AsyncConnection, job_id: str) -> list[Job]:
    """Return the jobs made from this one, oldest first."""
    if not is_job_id(job_id):
        return []
    statement = select(job_table).where(job_table.c.parent_id == job_id).order_by(job_table.c.seq)
    return [read_job(row) for row in (await connection.execute(statement)).mappings()]


async def pictures_of(connection: AsyncConnection, job_id: str) -> list[Picture]:
    """Return a job's pictures, the grid first."""
    if not is_job_id(job_id):
        return []
    statement = (
        select(picture_table)
        .where(picture_table.c.job_id == job_id)
        .order_by(picture_table.c.index)
    )
    return [read_picture(row) for row in (await connection.execute(statement)).mappings()]


def _page(wanted: Wanted) -> Select[tuple[object, ...]]:
    statement = select(job_table).where(job_table.c.deleted_at.is_(None))
    if wanted.requester_id is not None:
        statement = statement.where(job_table.c.requester_id == wanted.requester_id)
    if wanted.guild_id is not None:
        statement = statement.where(job_table.c.guild_id == wanted.guild_id)
    if wanted.states is not None:
        values = [state.value for state in wanted.states]
        statement = statement.where(job_table.c.state.in_(values))
    if wanted.search:
        needle = fold(wanted.search)[:_LONGEST_SEARCH]
        statement = statement.where(job_table.c.prompt_folded.contains(needle, autoescape=True))
    if wanted.before is not None:
        last = wanted.before if is_job_id(wanted.before) else ""
        its_seq = select(job_table.c.seq).where(job_table.c.id == last).scalar_subquery()
        statement = statement.where(job_table.c.seq < its_seq)
    return statement.order_by(job_table.c.seq.desc()).limit(wanted.limit)


async def jobs_after(
    connection: AsyncConnection, *, sequence: int, limit: int
) -> list[tuple[int, Job]]:
    """Return the next jobs in order of arrival, each with its sequence number."""
    statement = (
        select(job_table).where(job_table.c.seq > sequence).order_by(job_table.c.seq).limit(limit)
    )
    rows = (await connection.execute(statement)).mappings()
    return [(row["seq"], read_job(row)) for row in rows]
