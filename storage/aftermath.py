"""What is left to do after somebody was forgotten, written down until it is done.

A transaction can neither wait for a job that is just being posted nor delete a message on Discord.
So it leaves a fact for each, which survives a crash, and goes when the thing is done; nothing in
these facts but `forgetting:` and `spent:` names a person, and those end with the work and the day.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.rows import to_micros
from storage.setting import drop, put
from storage.tables import fact
from storage.tables import job as job_table

# A name has room for 32 characters, an id of Discord's has at most 19.
_FORGETTING: Final = "forgetting:"
_MESSAGE: Final = "message:"
_SPENT: Final = "spent:"
_DIRECT: Final = "direct messages"


class Aftermath:
    """What a store still owes to those who were forgotten."""

    def __init__(self, database: Database) -> None:
        """Ask and tell this database."""
        self._database = database

    async def unfinished(self) -> dict[int, int]:
        """Return who is not wholly forgotten yet, and the number of their newest job that goes."""
        found = await self._database.read(lambda connection: _facts(connection, _FORGETTING))
        return {int(name): int(value) for name, value in found}

    async def messages(self, limit: int | None = 100) -> list[tuple[int, int]]:
        """Return channel and id of messages that are still to be deleted."""
        found = await self._database.read(lambda connection: _facts(connection, _MESSAGE, limit))
        return [(int(value), int(name)) for name, value in found]

    async def settled(self, message_ids: Iterable[int]) -> None:
        """Note that these messages are gone, or can never be deleted."""
        names = [f"{_MESSAGE}{message_id}" for message_id in message_ids]

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(fact).where(fact.c.name.in_(names)))

        await self._database.write(work)

    async def end_day(self, now: datetime) -> None:
        """Drop what people used of the quotas of earlier days."""

        async def work(connection: AsyncConnection) -> None:
            for name, value in await _facts(connection, _SPENT):
                if json.loads(value)["day"] < _day(now):
                    await drop(connection, fact, {"name": f"{_SPENT}{name}"})

        await self._database.write(work)


async def begin(connection: AsyncConnection, user_id: int, *, until: int | None) -> int:
    """Note that a person is being forgotten; return the number of the newest job that goes."""
    newest = until
    if newest is None:
        found = await connection.execute(select(func.max(job_table.c.seq)))
        newest = found.scalar_one() or 0
    await put(connection, fact, {"name": f"{_FORGETTING}{user_id}", "value": str(newest)})
    return newest


async def end(connection: AsyncConnection, user_id: int) -> None:
    """Note that nothing of a person is left."""
    await drop(connection, fact, {"name": f"{_FORGETTING}{user_id}"})


async def note_messages(
    connection: AsyncConnection, ended: ColumnElement[bool], others: Mapping[int, int]
) -> tuple[tuple[int, int], ...]:
    """Note every message that shows these jobs, and others, by id and channel, to be deleted;
    return channel and id of each.
    """
    columns = job_table.c
    statement = select(
        func.coalesce(columns.progress_channel_id, columns.channel_id).label("place"),
        columns.progress_message_id,
        columns.post_message_id,
    ).where(ended)
    found: dict[int, int] = {}
    for row in await connection.execute(statement.order_by(columns.seq)):
        for message_id in (row.progress_message_id, row.post_message_id):
            if message_id is not None:
                found[message_id] = row.place
    # Of a result that went to direct messages a job's row has the id, but not the place.
    found |= others
    await owe(connection, found)
    return tuple((place, message_id) for message_id, place in found.items())


async def owe(connection: AsyncConnection, messages: Mapping[int, int]) -> None:
    """Note messages, by id and channel, to be deleted."""
    rows = [{"name": f"{_MESSAGE}{each}", "value": str(place)} for each, place in messages.items()]
    if rows:
        await connection.execute(insert(fact).on_conflict_do_nothing(), rows)


async def note_seconds(
    connection: AsyncConnection, user_id: int, ended: ColumnElement[bool], *, now: datetime
) -> None:
    """Keep for the rest of the day how much of today's quota these jobs used, by guild."""
    columns = job_table.c
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    statement = (
        select(columns.guild_id, func.sum(columns.device_seconds).label("seconds"))
        .where(ended, columns.rendered_at >= to_micros(midnight), columns.device_seconds > 0)
        .group_by(columns.guild_id)
    )
    spent = await _spent(connection, user_id, since=midnight)
    fresh = False
    for row in await connection.execute(statement):
        place, fresh = str(row.guild_id or 0), True
        spent[place] = spent.get(place, 0.0) + float(row.seconds)
    if fresh:
        value = json.dumps({"day": _day(now), "seconds": spent})
        await put(connection, fact, {"name": f"{_SPENT}{user_id}", "value": value})


async def seconds_spent(
    connection: AsyncConnection, user_id: int, *, since: datetime, guild_id: int | None
) -> float:
    """Return what a person who was forgotten used since then of the day's quota, in seconds."""
    spent = await _spent(connection, user_id, since=since)
    return sum(spent.values()) if guild_id is None else spent.get(str(guild_id), 0.0)


async def used(connection: AsyncConnection, user_id: int) -> dict[str, Any] | None:
    """Return what is kept of a person's use of a day's quota since they were forgotten: the day,
    and seconds by guild; None if nothing is.
    """
    found = await _fact(connection, f"{_SPENT}{user_id}")
    if found is None:
        return None
    told = json.loads(found)
    seconds = {place if place != "0" else _DIRECT: n for place, n in told["seconds"].items()}
    return {"day": told["day"], "seconds": seconds}


async def _spent(connection: AsyncConnection, user_id: int, *, since: datetime) -> dict[str, float]:
    found = await _fact(connection, f"{_SPENT}{user_id}")
    told = None if found is None else json.loads(found)
    return {} if told is None or told["day"] < _day(since) else dict(told["seconds"])


async def _fact(connection: AsyncConnection, name: str) -> str | None:
    statement = select(fact.c.value).where(fact.c.name == name)
    return (await connection.execute(statement)).scalar_one_or_none()


async def _facts(
    connection: AsyncConnection, kind: str, limit: int | None = None
) -> list[tuple[str, str]]:
    """Return the facts of a kind, without it in their names."""
    statement = select(fact.c.name, fact.c.value).where(fact.c.name.startswith(kind))
    rows = await connection.execute(statement.order_by(fact.c.name).limit(limit))
    return [(row.name.removeprefix(kind), row.value) for row in rows]


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
