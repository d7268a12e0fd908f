"""What keeps a community in order: reports, bans, quotas, and the device's time that people used.

A report is settled once, and the first verdict stands. A ban ends by itself when the store's clock
passes its end. Where a guild has nothing to say of a person, what holds everywhere is asked.
"""

from __future__ import annotations

from datetime import datetime
from math import inf
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Table, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.aftermath import seconds_spent
from storage.entries import (
    LONGEST_KEY,
    LONGEST_REASON,
    Ban,
    Report,
    check_id,
    check_picture,
    check_text,
)
from storage.errors import InvalidEntry
from storage.ids import is_job_id, new_job_id
from storage.people import require_pictures
from storage.rows import to_micros, to_moment
from storage.setting import drop, matching, put
from storage.tables import ban as ban_table
from storage.tables import job as job_table
from storage.tables import quota as quota_table
from storage.tables import report as report_table

# No guild has this id.
EVERYWHERE: Final = 0
_MOST_REPORTS: Final = 1000


async def add_report(connection: AsyncConnection, new: Report) -> Report:
    """Keep a report, or return the open one that this person made of this picture."""
    check_picture(new.job_id, new.index)
    check_id("guild_id", new.guild_id)
    check_id("reporter_id", new.reporter_id)
    check_text("reason", new.reason, longest=LONGEST_REASON)
    await require_pictures(connection, new.job_id)
    same = {"job_id": new.job_id, "index": new.index, "reporter_id": new.reporter_id}
    known = await _reports(
        connection, matching(report_table, same), report_table.c.settled_at.is_(None)
    )
    if known:
        return known[0]
    values = {
        **same,
        "id": new.id,
        "guild_id": new.guild_id,
        "reason": new.reason,
        "created_at": to_micros(new.created_at),
    }
    await connection.execute(insert(report_table).values(values))
    return new


async def report(connection: AsyncConnection, report_id: str) -> Report | None:
    """Return a report; None if it is unknown."""
    if not is_job_id(report_id):
        return None
    found = await _reports(connection, report_table.c.id == report_id)
    return found[0] if found else None


async def reports(
    connection: AsyncConnection, guild_id: int | None, *, open_only: bool
) -> list[Report]:
    """Return a guild's reports, oldest first; those of direct messages for None."""
    where = [matching(report_table, {"guild_id": guild_id})]
    if open_only:
        where.append(report_table.c.settled_at.is_(None))
    return await _reports(connection, *where)


async def reports_by(connection: AsyncConnection, reporter_id: int) -> list[Report]:
    """Return the reports that somebody made, oldest first."""
    return await _reports(connection, report_table.c.reporter_id == reporter_id, limit=None)


async def settle_report(
    connection: AsyncConnection, report_id: str, *, by: int, verdict: str, now: datetime
) -> Report | None:
    """Record a verdict; a report that has one keeps it. None if it is unknown."""
    check_id("by", by)
    check_text("verdict", verdict, shortest=1, longest=LONGEST_KEY)
    found = await report(connection, report_id)
    if found is None or found.settled_at is not None:
        return found
    values = {"settled_at": to_micros(now), "settled_by": by, "verdict": verdict}
    statement = update(report_table).where(report_table.c.id == report_id).values(values)
    await connection.execute(statement)
    return await report(connection, report_id)


async def ban(connection: AsyncConnection, new: Ban) -> Ban:
    """Shut somebody out, in place of what was said of them before."""
    for name, number in (("guild_id", new.guild_id), ("user_id", new.user_id), ("by", new.by)):
        check_id(name, number)
    check_text("reason", new.reason, longest=LONGEST_REASON)
    if new.until is not None and new.until <= new.created_at:
        raise InvalidEntry(f"until is {new.until}, which is past; name a moment to come, or None")
    values = {
        **_place(new.guild_id, new.user_id),
        "until": None if new.until is None else to_micros(new.until),
        "reason": new.reason,
        "banned_by": new.by,
        "created_at": to_micros(new.created_at),
    }
    await put(connection, ban_table, values)
    return new


async def unban(connection: AsyncConnection, guild_id: int | None, user_id: int) -> bool:
    """Let somebody in again; return whether they were shut out in this place."""
    return await drop(connection, ban_table, _place(guild_id, user_id)) > 0


async def ban_of(
    connection: AsyncConnection, guild_id: int | None, user_id: int, *, now: datetime
) -> Ban | None:
    """Return the ban that holds for somebody now, their guild's before the one everywhere."""
    rows = await _nearest(connection, ban_table, guild_id, user_id)
    holding = (row for row in rows if row["until"] is None or row["until"] > to_micros(now))
    return next((_ban(row) for row in holding), None)


async def bans_of(connection: AsyncConnection, user_id: int) -> list[Ban]:
    """Return all that was said of somebody, in any guild, whether it still holds or not."""
    statement = select(ban_table).where(ban_table.c.user_id == user_id)
    rows = (await connection.execute(statement.order_by(ban_table.c.guild_id))).mappings()
    return [_ban(row) for row in rows]


async def set_quota(
    connection: AsyncConnection, guild_id: int | None, user_id: int, seconds: float | None
) -> None:
    """Give somebody so many seconds of the device, or take back what was said for None."""
    check_id("guild_id", guild_id)
    check_id("user_id", user_id)
    if seconds is None:
        await drop(connection, quota_table, _place(guild_id, user_id))
        return
    if not 0 <= seconds < inf:
        raise InvalidEntry(f"the quota is {seconds} seconds; it must be 0 or more, and finite")
    await put(connection, quota_table, {**_place(guild_id, user_id), "seconds": float(seconds)})


async def quota_of(connection: AsyncConnection, guild_id: int | None, user_id: int) -> float | None:
    """Return somebody's own quota, their guild's before the one everywhere; None if none is set."""
    rows = await _nearest(connection, quota_table, guild_id, user_id)
    return float(rows[0]["seconds"]) if rows else None


async def quotas_of(connection: AsyncConnection, user_id: int) -> dict[str, float]:
    """Return somebody's quotas by guild id; `everywhere` for the one that is of no guild."""
    statement = select(quota_table).where(quota_table.c.user_id == user_id)
    rows = (await connection.execute(statement.order_by(quota_table.c.guild_id))).mappings()
    return {str(row["guild_id"] or "everywhere"): float(row["seconds"]) for row in rows}


async def device_seconds(
    connection: AsyncConnection, requester_id: int, *, since: datetime, guild_id: int | None
) -> float:
    """Return how long the device worked for somebody, on what was finished since then."""
    statement = select(func.coalesce(func.sum(job_table.c.device_seconds), 0.0)).where(
        job_table.c.requester_id == requester_id, job_table.c.rendered_at >= to_micros(since)
    )
    if guild_id is not None:
        statement = statement.where(job_table.c.guild_id == guild_id)
    kept = float((await connection.execute(statement)).scalar_one())
    return kept + await seconds_spent(connection, requester_id, since=since, guild_id=guild_id)


def new_report(
    *, job_id: str, index: int, guild_id: int | None, reporter_id: int, reason: str, now: datetime
) -> Report:
    """Return a report that nobody has looked at."""
    return Report(
        id=new_job_id(),
        job_id=job_id,
        index=index,
        guild_id=guild_id,
        reporter_id=reporter_id,
        reason=reason,
        created_at=now,
        settled_at=None,
        settled_by=None,
        verdict=None,
    )


def _place(guild_id: int | None, user_id: int) -> dict[str, Any]:
    return {"guild_id": EVERYWHERE if guild_id is None else guild_id, "user_id": user_id}


async def _nearest(
    connection: AsyncConnection, table: Table, guild_id: int | None, user_id: int
) -> list[RowMapping]:
    places = {EVERYWHERE, EVERYWHERE if guild_id is None else guild_id}
    statement = (
        select(table)
        .where(table.c.user_id == user_id, table.c.guild_id.in_(places))
        .order_by(table.c.guild_id.desc())
    )
    return list((await connection.execute(statement)).mappings())


async def _reports(
    connection: AsyncConnection, *where: ColumnElement[bool], limit: int | None = _MOST_REPORTS
) -> list[Report]:
    statement = select(report_table).where(*where).order_by(report_table.c.seq).limit(limit)
    return [
        Report(
            id=row["id"],
            job_id=row["job_id"],
            index=row["index"],
            guild_id=row["guild_id"],
            reporter_id=row["reporter_id"],
            reason=row["reason"],
            created_at=to_moment(row["created_at"]),
            settled_at=None if row["settled_at"] is None else to_moment(row["settled_at"]),
            settled_by=row["settled_by"],
            verdict=row["verdict"],
        )
        for row in (await connection.execute(statement)).mappings()
    ]


def _ban(row: RowMapping) -> Ban:
    return Ban(
        guild_id=row["guild_id"] or None,
        user_id=row["user_id"],
        until=None if row["until"] is None else to_moment(row["until"]),
        reason=row["reason"],
        by=row["banned_by"],
        created_at=to_moment(row["created_at"]),
    )
