"""The one way a job changes.

Every change names the job, the state and the attempt it believes in, and must touch exactly one
row; a worker that comes late learns so by `StaleJob` and drops its result. The attempt grows at
each claim and never shrinks, so no two claims of a job can be mistaken for each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.errors import StaleJob, StorageError
from storage.ids import is_job_id
from storage.records import NEXT_STATES, Job, JobState
from storage.rows import read_job, sealed
from storage.tables import job as job_table


async def find(connection: AsyncConnection, job_id: str) -> Job | None:
    """Return the job as it stands now."""
    row = await _row(connection, job_id)
    return None if row is None else read_job(row)


async def add(connection: AsyncConnection, values: Mapping[str, Any]) -> Job:
    """Insert a job row."""
    statement = insert(job_table).values(sealed(values)).returning(*job_table.columns)
    return read_job((await connection.execute(statement)).mappings().one())


async def move(
    connection: AsyncConnection, job: Job, to: JobState, values: Mapping[str, Any]
) -> Job:
    """Take a job from the state it is believed to be in to another."""
    if to not in NEXT_STATES[job.state]:
        raise StaleJob(f"job {job.id} is {job.state}; it cannot become {to}")
    return await amend(connection, job, {**values, "state": to.value})


async def amend(connection: AsyncConnection, job: Job, values: Mapping[str, Any]) -> Job:
    """Change a job's row, if it still stands where the caller believes."""
    row = await _row(connection, job.id)
    found = None if row is None else read_job(row)
    if row is None or found is None:
        raise StaleJob(f"job {job.id} is not in the store")
    if (found.state, found.attempt) != (job.state, job.attempt):
        raise StaleJob(
            f"job {job.id} is {found.state} in attempt {found.attempt}, no longer {job.state} in "
            f"attempt {job.attempt}; drop this result"
        )
    changed = sealed({**row, **values})
    statement = (
        update(job_table)
        .where(
            job_table.c.id == job.id,
            job_table.c.state == job.state.value,
            job_table.c.attempt == job.attempt,
        )
        .values({**values, "checksum": changed["checksum"]})
        .returning(*job_table.columns)
    )
    rows = (await connection.execute(statement)).mappings().all()
    if len(rows) != 1:
        raise StorageError(f"a change of job {job.id} touched {len(rows)} rows instead of one")
    return read_job(rows[0])


async def amend_latest(connection: AsyncConnection, job_id: str, values: Mapping[str, Any]) -> Job:
    """Change a job's row, wherever the job stands."""
    job = await find(connection, job_id)
    if job is None:
        raise StaleJob(f"job {job_id!r} is not in the store")
    return await amend(connection, job, values)


async def _row(connection: AsyncConnection, job_id: str) -> RowMapping | None:
    # Ids come from buttons that anyone can forge; only well-formed ones reach the database.
    if not is_job_id(job_id):
        return None
    statement = select(job_table).where(job_table.c.id == job_id)
    return (await connection.execute(statement)).mappings().one_or_none()
