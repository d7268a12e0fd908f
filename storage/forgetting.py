"""Forgetting a person, and giving them all that is known of them.

Forgetting takes everything in one transaction: what they wrote, kept and preferred goes; of their
jobs the row stays with its ids, times and device seconds, so that buttons have an answer, families
hold together and no quota starts anew. Pictures that others made from theirs stay theirs. Bans and
quotas are the community's, not the person's, and stay too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, Select, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import moderation, people, queue
from storage.entries import Export, Forgotten, Scope, check_id
from storage.records import FINAL_STATES, OPEN_STATES, Job, JobState, Picture
from storage.retention import drop_files
from storage.rows import read_job, read_picture, sealed, to_micros
from storage.setting import drop
from storage.tables import favourite as favourite_table
from storage.tables import job as job_table
from storage.tables import macro as macro_table
from storage.tables import note as note_table
from storage.tables import picture as picture_table
from storage.tables import preference as preference_table
from storage.tables import report as report_table

FORGOTTEN_PARAMS: Final = '{"prompt":""}'
_PAGE: Final = 100
_BLANK: Final[dict[str, str | None]] = {
    "params": FORGOTTEN_PARAMS,
    "prompt": "",
    "prompt_folded": "",
    "details": None,
    "source_sha256": None,
    "error_text": None,
}


async def forget(
    connection: AsyncConnection, user_id: int, *, now: datetime
) -> tuple[Forgotten, set[str]]:
    """Forget a person; return what went, and the files that nobody needs now."""
    check_id("user_id", user_id)
    cancelled = await _cancel(connection, user_id)
    unfinished = await queue.in_states(connection, sorted(OPEN_STATES), requester_id=user_id)
    ended = select(job_table.c.id).where(
        job_table.c.requester_id == user_id,
        job_table.c.state.in_([state.value for state in FINAL_STATES]),
    )
    theirs = {"user_id": user_id}
    pictures = select(func.count()).where(picture_table.c.job_id.in_(ended))
    pictures_count = int((await connection.execute(pictures)).scalar_one())
    favourites = await drop(connection, favourite_table, theirs)
    reports = update(report_table).where(
        or_(report_table.c.job_id.in_(ended), report_table.c.reporter_id == user_id),
        report_table.c.reason != "",
    )
    silenced = await connection.execute(reports.values(reason=""))
    unneeded = await drop_files(connection, lambda table: table.c.job_id.in_(ended))
    forgotten = Forgotten(
        jobs=await _blank_jobs(connection, user_id, now),
        pictures=pictures_count,
        files=len(unneeded),
        preferences=await drop(
            connection, preference_table, {"scope": Scope.USER.value, "scope_id": user_id}
        ),
        macros=await drop(connection, macro_table, theirs),
        favourites=favourites,
        notes=await drop(connection, note_table, theirs),
        reports=silenced.rowcount,
        cancelled=tuple(job.id for job in cancelled),
        unfinished=tuple(job.id for job in unfinished),
    )
    return forgotten, unneeded


async def export(connection: AsyncConnection, user_id: int) -> Export:
    """Return everything that is known of a person."""
    jobs: list[Job] = []
    pictures: list[Picture] = []
    theirs = select(job_table).where(job_table.c.requester_id == user_id)
    last = 0
    while rows := await _page(connection, theirs.where(job_table.c.seq > last)):
        jobs += [read_job(row) for row in rows]
        its_pictures = (
            select(picture_table)
            .join(job_table, job_table.c.id == picture_table.c.job_id)
            .where(picture_table.c.job_id.in_([row["id"] for row in rows]))
            .order_by(job_table.c.seq, picture_table.c.index)
        )
        found = (await connection.execute(its_pictures)).mappings()
        pictures += [read_picture(row) for row in found]
        last = rows[-1]["seq"]
    return Export(
        user_id=user_id,
        jobs=tuple(jobs),
        pictures=tuple(pictures),
        preferences=await people.preferences(connection, Scope.USER, user_id),
        macros=await people.macros(connection, user_id),
        favourites=tuple(await people.favourites(connection, user_id, limit=None, before=None)),
        notes=tuple(await people.notes_of(connection, user_id)),
        reports=tuple(await moderation.reports_by(connection, user_id)),
        bans=tuple(await moderation.bans_of(connection, user_id)),
        quotas=await moderation.quotas_of(connection, user_id),
    )


async def _cancel(connection: AsyncConnection, user_id: int) -> list[Job]:
    cancelled = []
    states = [JobState.QUEUED, JobState.RUNNING]
    for job in await queue.in_states(connection, states, requester_id=user_id):
        ended = await queue.cancel(connection, job.id)
        if ended is not None:
            cancelled.append(ended)
    return cancelled


async def _blank_jobs(connection: AsyncConnection, user_id: int, now: datetime) -> int:
    # Not by `changes.amend`: thousands of jobs must go within one breath of the writer, and in its
    # transaction nothing can have moved since the rows were read.
    statement = (
        update(job_table)
        .where(job_table.c.seq == bindparam("its_seq"))
        .values({name: bindparam(f"new_{name}") for name in (*_BLANK, "deleted_at", "checksum")})
    )
    theirs = select(job_table).where(
        job_table.c.requester_id == user_id,
        job_table.c.state.in_([state.value for state in FINAL_STATES]),
        or_(job_table.c.params != FORGOTTEN_PARAMS, job_table.c.deleted_at.is_(None)),
    )
    blanked, last = 0, 0
    while rows := await _page(connection, theirs.where(job_table.c.seq > last)):
        changes = []
        for row in rows:
            # Reading checks the seal: what is damaged must not be sealed anew.
            moment = to_micros(read_job(row).deleted_at or now)
            fresh = sealed({**row, **_BLANK, "deleted_at": moment})
            values: dict[str, Any] = {"its_seq": row["seq"]}
            values.update({f"new_{name}": fresh[name] for name in (*_BLANK, "deleted_at")})
            changes.append({**values, "new_checksum": fresh["checksum"]})
        await connection.execute(statement, changes)
        blanked += len(rows)
        last = rows[-1]["seq"]
    return blanked


async def _page(connection: AsyncConnection, jobs: Select[Any]) -> Sequence[RowMapping]:
    # Small, since checking the seals of a page holds up the event loop.
    statement = jobs.order_by(job_table.c.seq).limit(_PAGE)
    rows: Sequence[RowMapping] = (await connection.execute(statement)).mappings().all()
    return rows
