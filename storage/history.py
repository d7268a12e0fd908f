"""Looking back: jobs by message, by family, by person and by words; pictures by their looks.

Everything is read in the order in which jobs were accepted. Jobs whose pictures somebody deleted
are left out of the history, though they can still be found by id, so that their buttons have an
answer.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Integer, Select, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ids import is_job_id
from storage.records import LARGEST_ID, LARGEST_PHASH, Job, JobState, Picture, is_sha256
from storage.rows import fold, read_job, read_picture, to_signed
from storage.tables import job as job_table
from storage.tables import picture as picture_table

# SQLite refuses patterns of 50,000 bytes; what is longer is looked for by its beginning.
_LONGEST_SEARCH: Final = 1000
_MOST_AT_ONCE: Final = 1000
PHASH_BITS: Final = 64


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
    _check_limit(wanted.limit)
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


async def group(connection: AsyncConnection, job_id: str) -> list[Job]:
    """Return the jobs that were accepted together with this one, itself among them, in order."""
    if not is_job_id(job_id):
        return []
    its_interaction = select(job_table.c.interaction_id).where(job_table.c.id == job_id)
    statement = (
        select(job_table)
        .where(job_table.c.interaction_id == its_interaction.scalar_subquery())
        .order_by(job_table.c.repeat_index)
    )
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


async def ancestors(connection: AsyncConnection, job_id: str, *, limit: int) -> list[Job]:
    """Return the job that this one was made from, the one before it, and so on."""
    _check_limit(limit)
    parent = job_table.c.parent_id
    line = select(parent.label("id"), literal(1).label("depth")).where(job_table.c.id == job_id)
    line_up = line.where(parent.is_not(None)).cte("line", recursive=True)
    line_up = line_up.union_all(
        select(parent, line_up.c.depth + 1)
        .join(line_up, job_table.c.id == line_up.c.id)
        .where(parent.is_not(None), line_up.c.depth < limit)
    )
    statement = (
        select(job_table).join(line_up, job_table.c.id == line_up.c.id).order_by(line_up.c.depth)
    )
    return await _jobs(connection, statement) if is_job_id(job_id) else []


async def descendants(connection: AsyncConnection, job_id: str, *, limit: int) -> list[Job]:
    """Return the jobs made from this one and from those, oldest first."""
    _check_limit(limit)
    # A child is always younger than its parent, so the first in order of arrival form a tree.
    below = select(job_table.c.id).where(job_table.c.parent_id == job_id)
    tree = below.cte("tree", recursive=True)
    tree = tree.union(select(job_table.c.id).join(tree, job_table.c.parent_id == tree.c.id))
    statement = (
        select(job_table)
        .join(tree, job_table.c.id == tree.c.id)
        .order_by(job_table.c.seq)
        .limit(limit)
    )
    return await _jobs(connection, statement) if is_job_id(job_id) else []


async def pictures_with(connection: AsyncConnection, sha256: str) -> list[Picture]:
    """Return the pictures whose file has this hash, oldest job first."""
    statement = (
        select(picture_table)
        .join(job_table, job_table.c.id == picture_table.c.job_id)
        .where(picture_table.c.sha256 == sha256)
        .order_by(job_table.c.seq, picture_table.c.index)
    )
    if not is_sha256(sha256):
        return []
    return [read_picture(row) for row in (await connection.execute(statement)).mappings()]


async def pictures_like(
    connection: AsyncConnection, phash: int, *, distance: int, limit: int
) -> list[tuple[Picture, int]]:
    """Return pictures whose hash is at most so many bits apart, and how many; nearest first."""
    _check_limit(limit)
    if not 0 <= phash <= LARGEST_PHASH:
        raise ValueError(f"phash is {phash}; it must be 0 to 2**64 - 1")
    if not 0 <= distance <= PHASH_BITS:
        raise ValueError(f"distance is {distance}; it must be 0 to {PHASH_BITS} bits")
    apart = func.bits_apart(picture_table.c.phash, to_signed(phash), type_=Integer)
    statement = (
        select(picture_table, apart.label("apart"))
        .join(job_table, job_table.c.id == picture_table.c.job_id)
        .where(picture_table.c.phash.is_not(None), apart <= distance)
        .order_by(apart, job_table.c.seq.desc(), picture_table.c.index)
        .limit(limit)
    )
    rows = (await connection.execute(statement)).mappings()
    return [(read_picture(row), row["apart"]) for row in rows]


async def _jobs(connection: AsyncConnection, statement: Select[Any]) -> list[Job]:
    return [read_job(row) for row in (await connection.execute(statement)).mappings()]


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= _MOST_AT_ONCE:
        raise ValueError(f"limit is {limit}; it must be 1 to {_MOST_AT_ONCE}")


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
