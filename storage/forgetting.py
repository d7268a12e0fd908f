"""Forgetting a person, and giving them all that is known of them.

Forgetting takes everything in one transaction: what they wrote, kept and preferred goes; of a job a
row stays that belongs to nobody: its id, so that buttons have an answer and families hold together,
its server, model and device seconds, and the day. In it and in all other rows the person's id, the
ids of their messages and every moment finer than a day are gone. Pictures that others made from
theirs stay theirs. Bans and quotas are the community's, not the person's, and stay; so does what
was used of today's quota, until the day ends (UTC), or forgetting would be a way to more of it.

What cannot be done in a transaction is written down in it, and done by `storage.aftermath`: jobs
that are just being posted, and messages that are to be deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Select, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import aftermath, moderation, people, queue, sent
from storage.entries import Export, Forgotten, Scope, check_id
from storage.records import FINAL_STATES, LARGEST_ID, NOBODY, OPEN_STATES, Job, JobState, Picture
from storage.retention import drop_files
from storage.rows import read_job, read_picture, sealed, to_micros
from storage.setting import drop
from storage.tables import ban as ban_table
from storage.tables import favourite as favourite_table
from storage.tables import job as job_table
from storage.tables import macro as macro_table
from storage.tables import note as note_table
from storage.tables import picture as picture_table
from storage.tables import preference as preference_table
from storage.tables import report as report_table

FORGOTTEN_PARAMS: Final = '{"prompt":""}'
_DAY: Final = timedelta(days=1) // timedelta(microseconds=1)
_PAGE: Final = 100
# What a job's row has of somebody's words and files, emptied.
WORDLESS: Final[Mapping[str, str | None]] = {
    "params": FORGOTTEN_PARAMS,
    "prompt": "",
    "prompt_folded": "",
    "details": None,
    "source_sha256": None,
    "error_text": None,
}
_BLANK: Final[Mapping[str, str | int | None]] = {
    **WORDLESS,
    "requester_id": NOBODY,
    "channel_id": 0,
    "locale": "en-US",
    "progress_channel_id": None,
    "progress_message_id": None,
    "post_message_id": None,
    "post_nonce": None,
    "post_started_at": None,
    "post_nonce_at": None,
    "claimed_at": None,
}
_MOMENTS: Final = ("created_at", "rendered_at", "posted_at", "deleted_at")
_CHANGED: Final = (*_BLANK, *_MOMENTS, "interaction_id")


async def forget(
    connection: AsyncConnection, user_id: int, *, now: datetime, until: int | None = None
) -> tuple[Forgotten, set[str]]:
    """Forget a person; return what went, and the files that nobody needs now.

    `until` is the number of the newest job that goes, where an earlier run began with it.
    """
    check_id("user_id", user_id)
    newest = await aftermath.begin(connection, user_id, until=until)
    theirs = (job_table.c.requester_id == user_id) & (job_table.c.seq <= newest)
    cancelled = await _cancel(connection, theirs)
    unfinished = await _ids(connection, theirs & job_table.c.state.in_(sorted(OPEN_STATES)))
    ended = theirs & job_table.c.state.in_([state.value for state in FINAL_STATES])
    its_jobs = select(job_table.c.id).where(ended)
    pictures = select(func.count()).where(picture_table.c.job_id.in_(its_jobs))
    pictures_count = int((await connection.execute(pictures)).scalar_one())
    # What was left since an earlier run began is not what was to be forgotten.
    is_first = until is None
    others = await sent.take(connection, its_jobs, user_id if is_first else None)
    messages = await aftermath.note_messages(connection, ended, others)
    await aftermath.note_seconds(connection, user_id, ended, now=now)
    own = {"user_id": user_id}
    favourites = await drop(connection, favourite_table, own) if is_first else 0
    silenced = await _silence(connection, its_jobs, user_id)
    unneeded = await drop_files(connection, lambda table: table.c.job_id.in_(its_jobs))
    scope = {"scope": Scope.USER.value, "scope_id": user_id}
    forgotten = Forgotten(
        jobs=await _blank_jobs(connection, ended, now),
        pictures=pictures_count,
        files=len(unneeded),
        preferences=await drop(connection, preference_table, scope) if is_first else 0,
        macros=await drop(connection, macro_table, own) if is_first else 0,
        favourites=favourites,
        notes=await drop(connection, note_table, own) if is_first else 0,
        reports=silenced,
        cancelled=tuple(cancelled),
        unfinished=tuple(unfinished),
        messages=messages,
    )
    if not unfinished:
        await aftermath.end(connection, user_id)
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
        messages=tuple(await sent.of_person(connection, user_id)),
        used=await aftermath.used(connection, user_id),
    )


async def _cancel(connection: AsyncConnection, theirs: ColumnElement[bool]) -> list[str]:
    states = [JobState.QUEUED.value, JobState.RUNNING.value]
    waiting = await _ids(connection, theirs & job_table.c.state.in_(states))
    return [job_id for job_id in waiting if await queue.cancel(connection, job_id) is not None]


async def _ids(connection: AsyncConnection, which: ColumnElement[bool]) -> list[str]:
    statement = select(job_table.c.id).where(which).order_by(job_table.c.seq)
    return list((await connection.execute(statement)).scalars())


async def _silence(connection: AsyncConnection, its_jobs: Select[tuple[str]], user_id: int) -> int:
    """Take the words out of reports about and by a person, and the person out of all that they
    did for the community; return how many reports had words.
    """
    by_them = report_table.c.reporter_id == user_id
    told = update(report_table).where(
        or_(report_table.c.job_id.in_(its_jobs), by_them), report_table.c.reason != ""
    )
    silenced = await connection.execute(told.values(reason=""))
    for table, column in (
        (report_table, report_table.c.reporter_id),
        (report_table, report_table.c.settled_by),
        (ban_table, ban_table.c.banned_by),
    ):
        nameless = update(table).where(column == user_id).values({column.name: NOBODY})
        await connection.execute(nameless)
    return silenced.rowcount


async def _blank_jobs(
    connection: AsyncConnection, ended: ColumnElement[bool], now: datetime
) -> int:
    # Not by `changes.amend`: thousands of jobs must go within one breath of the writer, and in its
    # transaction nothing can have moved since the rows were read.
    statement = (
        update(job_table)
        .where(job_table.c.seq == bindparam("its_seq"))
        .values({name: bindparam(f"new_{name}") for name in (*_CHANGED, "checksum")})
    )
    blanked, last = 0, 0
    while rows := await _page(connection, select(job_table).where(ended, job_table.c.seq > last)):
        changes = []
        for row in rows:
            # Reading checks the seal: what is damaged must not be sealed anew.
            moment = to_micros(read_job(row).deleted_at or now)
            # Each its own, and far from any that Discord will give in decades.
            unlike = {"interaction_id": LARGEST_ID - row["seq"]}
            fresh = sealed({**row, **_BLANK, **_days(row, moment), **unlike})
            values: dict[str, Any] = {"its_seq": row["seq"]}
            values.update({f"new_{name}": fresh[name] for name in _CHANGED})
            changes.append({**values, "new_checksum": fresh["checksum"]})
        await connection.execute(statement, changes)
        blanked += len(rows)
        last = rows[-1]["seq"]
    return blanked


def _days(row: RowMapping, deleted_at: int) -> dict[str, int | None]:
    """Return a row's moments as the day they are in: a moment alone would tie rows together."""
    moments = {name: row[name] for name in _MOMENTS} | {"deleted_at": deleted_at}
    return {
        name: None if moment is None else moment // _DAY * _DAY for name, moment in moments.items()
    }


async def _page(connection: AsyncConnection, jobs: Select[Any]) -> Sequence[RowMapping]:
    # Small, since checking the seals of a page holds up the event loop.
    statement = jobs.order_by(job_table.c.seq).limit(_PAGE)
    rows: Sequence[RowMapping] = (await connection.execute(statement)).mappings().all()
    return rows
