"""Which files must stay, and what goes when somebody deletes a job's pictures.

A file stays while a picture names it, while a job that was not deleted is made from it, or while it
is where such a job was stopped: a variation can be made again although the grid it came from is
gone. Two jobs may share a file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Table, delete, insert, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.changes import amend, find
from storage.errors import StaleJob
from storage.ids import is_job_id
from storage.records import FINAL_STATES, Job
from storage.rows import to_micros
from storage.setting import put
from storage.tables import favourite as favourite_table
from storage.tables import picture as picture_table
from storage.tables import source as source_table
from storage.tables import state as state_table

_NAMING: Final = (picture_table, source_table, state_table)
# SQLite takes 32,766 values in one statement; fewer hold up the event loop less.
_AT_ONCE: Final = 1000


async def keep_sources(connection: AsyncConnection, job: Job) -> None:
    """Keep the files that a new job is made from."""
    rows = [{"job_id": job.id, "sha256": sha256} for sha256 in job.sources]
    if rows:
        await connection.execute(insert(source_table), rows)


async def save_state(connection: AsyncConnection, *, job_id: str, sha256: str) -> set[str]:
    """Keep a file as where a job was stopped; return the one in its place that nobody needs now."""
    before = await state_of(connection, job_id)
    await put(connection, state_table, {"job_id": job_id, "sha256": sha256})
    replaced = set() if before is None else {before}
    return replaced - await kept_hashes(connection, replaced)


async def state_of(connection: AsyncConnection, job_id: str) -> str | None:
    """Return the hash of the file that tells where a job was stopped."""
    if not is_job_id(job_id):
        return None
    statement = select(state_table.c.sha256).where(state_table.c.job_id == job_id)
    return (await connection.execute(statement)).scalar_one_or_none()


async def delete_pictures(
    connection: AsyncConnection, job_id: str, *, now: datetime
) -> tuple[Job | None, set[str]]:
    """Remove a finished job's picture rows; return the job and the files nobody needs now."""
    job = await find(connection, job_id)
    if job is None or job.deleted_at is not None:
        return job, set()
    if job.state not in FINAL_STATES:
        raise StaleJob(f"job {job_id} is {job.state}; its pictures can go when it has ended")
    unneeded = await drop_files(connection, lambda table: table.c.job_id == job_id)
    job = await amend(connection, job, {"deleted_at": to_micros(now)})
    return job, unneeded


async def drop_files(
    connection: AsyncConnection, which: Callable[[Table], ColumnElement[bool]]
) -> set[str]:
    """Remove all rows by which some jobs name files; return the files nobody needs now.

    Marks on their pictures go with them: there is nothing left to look at.
    """
    named = union(*(select(table.c.sha256).where(which(table)) for table in _NAMING))
    candidates = set((await connection.execute(named)).scalars())
    for table in (*_NAMING, favourite_table):
        await connection.execute(delete(table).where(which(table)))
    return candidates - await kept_hashes(connection, candidates)


async def kept_hashes(
    connection: AsyncConnection, among: Collection[str] | None = None
) -> set[str]:
    """Return the hashes of all files that must stay, or of those among some."""
    everything = union(*(select(table.c.sha256) for table in _NAMING))
    if among is None:
        return set((await connection.execute(everything)).scalars())
    kept: set[str] = set()
    asked = sorted(among)
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        named = union(*(select(t.c.sha256).where(t.c.sha256.in_(some)) for t in _NAMING))
        kept.update((await connection.execute(named)).scalars())
    return kept
