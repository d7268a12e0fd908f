"""From finished pictures to one message: the changes a job goes through while it is posted.

A message carries a nonce made of the job's id. Sending it again under the same nonce is harmless
for two minutes; after that, or after a crash, the poster first looks for its own message and only
then takes the next nonce. So the nonce changes by `bump_nonce` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.changes import amend, move
from storage.errors import StaleJob
from storage.records import Job, JobState, NewPicture
from storage.rows import to_micros, to_signed
from storage.tables import picture as picture_table


async def rendered(
    connection: AsyncConnection,
    job: Job,
    pictures: Sequence[tuple[NewPicture, str]],
    *,
    device_seconds: float,
    now: datetime,
) -> Job:
    """Record pictures, given with the hashes of their files, and that the job has them."""
    values = {"rendered_at": to_micros(now), "device_seconds": device_seconds}
    changed = await move(connection, job, JobState.RENDERED, values)
    rows = [
        {
            "job_id": job.id,
            "index": new.index,
            "sha256": sha256,
            "width": new.width,
            "height": new.height,
            "size": len(new.data),
            "media_type": new.media_type,
            "phash": None if new.phash is None else to_signed(new.phash),
        }
        for new, sha256 in pictures
    ]
    await connection.execute(insert(picture_table), rows)
    return changed


async def begin_post(connection: AsyncConnection, job: Job, *, now: datetime) -> Job:
    """Go from rendered to posting with the first nonce; a job already posting stays as it is."""
    if job.state is JobState.POSTING:
        return await amend(connection, job, {})
    moment = to_micros(now)
    # A restored backup has noted since when it may have been posted already; that must stay.
    started = moment if job.post_started_at is None else to_micros(job.post_started_at)
    values = {"post_nonce": job.id, "post_started_at": started, "post_nonce_at": moment}
    return await move(connection, job, JobState.POSTING, values)


async def bump_nonce(connection: AsyncConnection, job: Job, *, now: datetime) -> Job:
    """Take the next nonce: the message of the last one is known not to exist."""
    if job.state is not JobState.POSTING or job.post_nonce is None:
        raise StaleJob(f"job {job.id} is {job.state}; only a job being posted has a nonce")
    values = {"post_nonce": next_nonce(job.post_nonce), "post_nonce_at": to_micros(now)}
    return await move(connection, job, JobState.POSTING, values)


async def posted(connection: AsyncConnection, job: Job, *, message_id: int, now: datetime) -> Job:
    """Record the message that carries the result."""
    values = {"post_message_id": message_id, "posted_at": to_micros(now)}
    return await move(connection, job, JobState.POSTED, values)


def next_nonce(nonce: str) -> str:
    """Return the nonce after this one: `id`, `id-1`, `id-2` and so on."""
    job_id, _, tries = nonce.partition("-")
    return f"{job_id}-{int(tries or 0) + 1}"
