"""What a start finds, and what it makes of it.

Whatever was running goes back to the queue, to be made again from the same params. If the last
process did not mark a clean stop it died at work, and each job it was running is one crash nearer
to being given up: a job that takes the process down with it must not do so for ever. Jobs whose
pictures exist are never made again, only posted.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.changes import move
from storage.queue import in_states
from storage.records import Job, JobState, Recovered
from storage.tables import fact

# Fewer would give up innocent jobs: under a storm of kills some were caught four or five times.
CRASHES_ALLOWED: Final = 5
POISON: Final = "poison"
_CLEAN_STOP: Final = "clean_stop"


async def mark_clean_stop(connection: AsyncConnection) -> None:
    """Leave word for the next start that this process stopped on purpose."""
    statement = insert(fact).values(name=_CLEAN_STOP, value="yes").on_conflict_do_nothing()
    await connection.execute(statement)


async def recover(connection: AsyncConnection) -> Recovered:
    """Put every open job where work on it can go on; uses up the mark of a clean stop."""
    was_clean = await _take_clean_stop(connection)
    poisoned: list[Job] = []
    for job in await in_states(connection, [JobState.RUNNING]):
        crashes = job.crashes + (0 if was_clean else 1)
        if crashes >= CRASHES_ALLOWED:
            poisoned.append(await _give_up(connection, job, crashes))
        else:
            await move(connection, job, JobState.QUEUED, {"crashes": crashes})
    return Recovered(
        queued=tuple(await in_states(connection, [JobState.QUEUED])),
        to_post=tuple(await in_states(connection, [JobState.RENDERED])),
        to_reconcile=tuple(await in_states(connection, [JobState.POSTING])),
        poisoned=tuple(poisoned),
    )


async def _give_up(connection: AsyncConnection, job: Job, crashes: int) -> Job:
    values = {
        "crashes": crashes,
        "error_code": POISON,
        "error_text": f"The program stopped unexpectedly {crashes} times while making this.",
    }
    return await move(connection, job, JobState.FAILED, values)


async def _take_clean_stop(connection: AsyncConnection) -> bool:
    is_mark = fact.c.name == _CLEAN_STOP
    found = (await connection.execute(select(fact.c.value).where(is_mark))).scalar_one_or_none()
    await connection.execute(delete(fact).where(is_mark))
    return found is not None
