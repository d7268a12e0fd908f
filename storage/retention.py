"""Which picture files must stay, and what goes when somebody deletes a job's pictures.

A file stays while a picture row names it, or while a job that was not deleted starts from it: a
variation can be made again although the grid it came from is gone. Two jobs may share a file.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.changes import amend, find
from storage.errors import StaleJob
from storage.records import FINAL_STATES, Job
from storage.rows import to_micros
from storage.tables import job as job_table
from storage.tables import picture as picture_table


async def kept_hashes(connection: AsyncConnection) -> set[str]:
    """Return the hashes of all files that must stay."""
    return await _kept(connection, None)


async def delete_pictures(
    connection: AsyncConnection, job_id: str, *, now: datetime
) -> tuple[Job | None, set[str]]:
    """Remove a finished job's picture rows; return the job and the files nobody needs now."""
    job = await find(connection, job_id)
    if job is None or job.deleted_at is not None:
        return job, set()
    if job.state not in FINAL_STATES:
        raise StaleJob(f"job {job_id} is {job.state}; its pictures can go when it has ended")
    its_rows = picture_table.c.job_id == job_id
    its_files = union(
        select(picture_table.c.sha256).where(its_rows),
        select(job_table.c.source_sha256).where(
            job_table.c.id == job_id, job_table.c.source_sha256.is_not(None)
        ),
    )
    candidates = set((await connection.execute(its_files)).scalars())
    await connection.execute(delete(picture_table).where(its_rows))
    job = await amend(connection, job, {"deleted_at": to_micros(now)})
    return job, candidates - await _kept(connection, candidates)


async def _kept(connection: AsyncConnection, among: Collection[str] | None) -> set[str]:
    pictures = select(picture_table.c.sha256)
    sources = select(job_table.c.source_sha256).where(
        job_table.c.source_sha256.is_not(None), job_table.c.deleted_at.is_(None)
    )
    if among is not None:
        pictures = pictures.where(picture_table.c.sha256.in_(among))
        sources = sources.where(job_table.c.source_sha256.in_(among))
    return set((await connection.execute(union(pictures, sources))).scalars())
