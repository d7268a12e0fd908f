"""Messages of ours beside the two that a job's row names, so that forgetting finds them too.

Copies in direct messages, pings, notices to moderators, what /show posted. A row comes after its
message was sent, and goes with it; a crash in between loses the row. Only ids are kept, and no
longer than the words of jobs are, for the message may stand where nobody looks any more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, RowMapping, Select, and_, delete, or_, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import aftermath
from storage.changes import find
from storage.database import Database
from storage.entries import SentKind, SentMessage, check_id
from storage.errors import UnknownJob
from storage.records import NOBODY
from storage.rows import to_micros, to_moment
from storage.setting import drop
from storage.tables import favourite as favourite_table
from storage.tables import job as job_table
from storage.tables import sent_message

_SHOWING: Final = (SentKind.RESULT, SentKind.COPY, SentKind.SHOWN)


class SentMessages:
    """What a store remembers of messages that were sent."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        """Ask and tell this database."""
        self._database = database
        self._clock = clock

    async def note(
        self, kind: SentKind, *, job_id: str, user_id: int, channel_id: int, message_id: int
    ) -> bool:
        """Remember a message about a job, and whom it is for or by.

        False where the job was forgotten meanwhile: then the message is noted to be deleted, as
        `aftermath` says, and the caller may do that at once. `UnknownJob` if there is no such job.
        """
        new = SentMessage(
            message_id=message_id,
            channel_id=channel_id,
            kind=kind,
            job_id=job_id,
            user_id=user_id,
            sent_at=self._clock(),
        )
        return await self._database.write(partial(note, new=new))

    async def take_down(self, job_id: str) -> int:
        """Note that what shows a job's pictures beside its own message is to be deleted, as
        `aftermath` says; return how many messages that are.
        """
        return await self._database.write(partial(take_down, job_id=job_id))

    async def gone(self, message_id: int) -> None:
        """Drop a message that was deleted; one that is unknown is none."""
        which = {"message_id": message_id}
        await self._database.write(partial(drop, table=sent_message, values=which))


async def note(connection: AsyncConnection, new: SentMessage) -> bool:
    """Keep a message; one that was noted before stays as it is."""
    for name in ("message_id", "channel_id", "user_id"):
        check_id(name, getattr(new, name))
    job = await find(connection, new.job_id)
    if job is None:
        raise UnknownJob(f"job {new.job_id!r} is not in the store")
    if job.requester_id == NOBODY:
        await aftermath.owe(connection, {new.message_id: new.channel_id})
        return False
    values = {
        "message_id": new.message_id,
        "channel_id": new.channel_id,
        "kind": new.kind.value,
        "job_id": new.job_id,
        "user_id": new.user_id,
        "sent_at": to_micros(new.sent_at),
    }
    await connection.execute(insert(sent_message).values(values).on_conflict_do_nothing())
    return True


async def take(
    connection: AsyncConnection, its_jobs: Select[tuple[str]], user_id: int | None
) -> dict[int, int]:
    """Drop what is about some jobs, and what was for or by somebody; return ids and channels."""
    which: ColumnElement[bool] = sent_message.c.job_id.in_(its_jobs)
    if user_id is not None:
        which = or_(which, sent_message.c.user_id == user_id)
    return await _drop(connection, which)


async def take_down(connection: AsyncConnection, job_id: str) -> int:
    """Turn the rows of what shows a job's pictures into facts to be worked off."""
    is_showing = sent_message.c.kind.in_([kind.value for kind in _SHOWING])
    found = await _drop(connection, and_(sent_message.c.job_id == job_id, is_showing))
    await aftermath.owe(connection, found)
    return len(found)


async def expire(connection: AsyncConnection, *, before: int) -> None:
    """Drop what was sent before a moment, unless its job stays because somebody marked it."""
    marked = select(favourite_table.c.job_id)
    is_due = and_(sent_message.c.sent_at < before, sent_message.c.job_id.not_in(marked))
    await connection.execute(delete(sent_message).where(is_due))


async def of_person(connection: AsyncConnection, user_id: int) -> list[SentMessage]:
    """Return what was sent for or by somebody or about their jobs, oldest first.

    But for notices of what others reported, which are between those and the moderators.
    """
    theirs = select(job_table.c.id).where(job_table.c.requester_id == user_id)
    about_them = and_(
        sent_message.c.job_id.in_(theirs), sent_message.c.kind != SentKind.NOTICE.value
    )
    statement = select(sent_message).where(or_(about_them, sent_message.c.user_id == user_id))
    rows = await connection.execute(statement.order_by(sent_message.c.message_id))
    return [_message(row) for row in rows.mappings()]


async def _drop(connection: AsyncConnection, which: ColumnElement[bool]) -> dict[int, int]:
    columns = (sent_message.c.message_id, sent_message.c.channel_id)
    found = await connection.execute(delete(sent_message).where(which).returning(*columns))
    return {row.message_id: row.channel_id for row in found}


def _message(row: RowMapping) -> SentMessage:
    return SentMessage(
        message_id=row["message_id"],
        channel_id=row["channel_id"],
        kind=SentKind(row["kind"]),
        job_id=row["job_id"],
        user_id=row["user_id"],
        sent_at=to_moment(row["sent_at"]),
    )
