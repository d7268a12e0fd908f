"""What becomes of jobs that are older than an admin wants them kept.

An old job is emptied as `/forget-me` does it: words, pictures and files go, the row stays with its
ids, times and device seconds, so that buttons have an answer and families hold together. What
somebody marked as a favourite stays, whole; so does what has not ended. The texts behind old
buttons go too, and so does where old copies and pings stand. A few jobs at a time, so that nobody
waits for a sweep.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import sent
from storage.changes import amend
from storage.forgetting import FORGOTTEN_PARAMS, WORDLESS
from storage.records import FINAL_STATES
from storage.retention import drop_files
from storage.rows import read_job, to_micros
from storage.tables import favourite as favourite_table
from storage.tables import job as job_table
from storage.tables import note as note_table
from storage.tables import report as report_table


async def expire(
    connection: AsyncConnection, *, before: datetime, limit: int, now: datetime
) -> tuple[int, set[str]]:
    """Empty the oldest jobs from before a moment; return how many, and the unneeded files."""
    moment = to_micros(before)
    await connection.execute(delete(note_table).where(note_table.c.created_at < moment))
    await sent.expire(connection, before=moment)
    statement = select(job_table).where(*_is_due(moment)).order_by(job_table.c.seq).limit(limit)
    rows = (await connection.execute(statement)).mappings().all()
    ids = [row["id"] for row in rows]
    if not ids:
        return 0, set()
    unneeded = await drop_files(connection, lambda table: table.c.job_id.in_(ids))
    silence = update(report_table).where(report_table.c.job_id.in_(ids))
    await connection.execute(silence.values(reason=""))
    for row in rows:
        job = read_job(row)
        gone = to_micros(job.deleted_at or now)
        await amend(connection, job, {**WORDLESS, "deleted_at": gone})
    return len(ids), unneeded


def _is_due(moment: int) -> tuple[ColumnElement[bool], ...]:
    marked = select(favourite_table.c.job_id)
    return (
        job_table.c.created_at < moment,
        job_table.c.state.in_([state.value for state in FINAL_STATES]),
        or_(job_table.c.params != FORGOTTEN_PARAMS, job_table.c.deleted_at.is_(None)),
        job_table.c.id.not_in(marked),
    )
