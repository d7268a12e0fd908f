"""What people leave between jobs: notes, preferences, macros and favourites.

Limits are checked in the transaction that writes, so they hold however many presses come at once.
A value that is read is the one that was written, or the row is said to be damaged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.changes import find
from storage.database import Database
from storage.entries import (
    LONGEST_KEY,
    LONGEST_MACRO,
    LONGEST_NOTE,
    MOST_MACROS,
    MOST_NOTES,
    MOST_PREFERENCES,
    Favourite,
    Note,
    Scope,
    check_id,
    check_picture,
    check_text,
    value_text,
)
from storage.errors import InvalidEntry, StoreDamaged, TooManyMacros, UnknownJob
from storage.ids import is_job_id, new_job_id
from storage.rows import to_micros, to_moment
from storage.setting import count, drop, matching, put
from storage.tables import favourite as favourite_table
from storage.tables import macro as macro_table
from storage.tables import note as note_table
from storage.tables import preference as preference_table

_MOST_AT_ONCE = 1000


class People:
    """What a store keeps for people between their jobs."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        """Ask and tell this database."""
        self._database = database
        self._clock = clock

    async def note(self, kind: str, user_id: int, payload: str) -> str:
        """Keep a text that is too long for a button, and return the id that finds it."""
        return await self._database.write(
            partial(note, kind=kind, user_id=user_id, payload=payload, now=self._clock())
        )

    async def read_note(self, note_id: str) -> Note | None:
        """Return a note; None if it is unknown or has made room for newer ones."""
        return await self._database.read(partial(read_note, note_id=note_id))

    async def preferences(self, scope: Scope, scope_id: int) -> dict[str, Any]:
        """Return what a person, a channel or a guild prefers, by key."""
        return await self._database.read(partial(preferences, scope=scope, scope_id=scope_id))

    async def set_preference(self, scope: Scope, scope_id: int, key: str, value: object) -> None:
        """Keep a preference, any plain JSON value; None drops it."""
        await self._database.write(
            partial(set_preference, scope=scope, scope_id=scope_id, key=key, value=value)
        )

    async def macros(self, user_id: int) -> dict[str, str]:
        """Return a person's macros by name."""
        return await self._database.read(partial(macros, user_id=user_id))

    async def set_macro(self, user_id: int, name: str, text: str | None) -> None:
        """Keep a macro; None drops it. `TooManyMacros` if they have twenty others."""
        await self._database.write(partial(set_macro, user_id=user_id, name=name, text=text))

    async def favourite(self, user_id: int, job_id: str, index: int, on: bool) -> bool:
        """Mark a picture, or take the mark off; return whether that changed anything."""
        mark = Favourite(user_id=user_id, job_id=job_id, index=index, created_at=self._clock())
        return await self._database.write(partial(favourite, mark=mark, is_on=on))

    async def favourites(
        self, user_id: int, *, limit: int = 25, before: str | None = None
    ) -> list[Favourite]:
        """Return a person's favourites, newest first; `before` is the last one's `key`."""
        return await self._database.read(
            partial(favourites, user_id=user_id, limit=limit, before=before)
        )

    async def favourite_count(self, job_id: str, index: int) -> int:
        """Return how many people marked a picture."""
        return await self._database.read(partial(favourite_count, job_id=job_id, index=index))


async def note(
    connection: AsyncConnection, kind: str, user_id: int, payload: str, *, now: datetime
) -> str:
    """Keep a text and return the id that finds it; a person's oldest notes make room."""
    check_id("user_id", user_id)
    check_text("kind", kind, shortest=1, longest=LONGEST_KEY)
    check_text("payload", payload, longest=LONGEST_NOTE)
    note_id = new_job_id()
    values = {
        "id": note_id,
        "kind": kind,
        "user_id": user_id,
        "payload": payload,
        "created_at": to_micros(now),
    }
    await connection.execute(insert(note_table).values(values))
    theirs = note_table.c.user_id == user_id
    # The newest of those that must make room; nothing is less than its absence.
    newest_old = (
        select(note_table.c.seq)
        .where(theirs)
        .order_by(note_table.c.seq.desc())
        .limit(1)
        .offset(MOST_NOTES)
    )
    await connection.execute(
        delete(note_table).where(theirs, note_table.c.seq <= newest_old.scalar_subquery())
    )
    return note_id


async def read_note(connection: AsyncConnection, note_id: str) -> Note | None:
    """Return a note; None if it is unknown or has made room."""
    if not is_job_id(note_id):
        return None
    notes = await _notes(connection, note_table.c.id == note_id)
    return notes[0] if notes else None


async def notes_of(connection: AsyncConnection, user_id: int) -> list[Note]:
    """Return a person's notes, oldest first."""
    return await _notes(connection, note_table.c.user_id == user_id)


async def preferences(connection: AsyncConnection, scope: Scope, scope_id: int) -> dict[str, Any]:
    """Return what a person, a channel or a guild prefers, by key."""
    statement = (
        select(preference_table.c.key, preference_table.c.value)
        .where(matching(preference_table, {"scope": scope.value, "scope_id": scope_id}))
        .order_by(preference_table.c.key)
    )
    found: dict[str, Any] = {}
    for key, text in await connection.execute(statement):
        try:
            found[key] = json.loads(text)
        except ValueError as error:
            raise StoreDamaged(
                f"the preference {key!r} of {scope} {scope_id} is not what was written; set it anew"
            ) from error
    return found


async def set_preference(
    connection: AsyncConnection, scope: Scope, scope_id: int, key: str, value: object
) -> None:
    """Keep a preference, or drop it if the value is None."""
    check_id(f"the id of the {scope}", scope_id)
    check_text("key", key, shortest=1, longest=LONGEST_KEY)
    whose = {"scope": scope.value, "scope_id": scope_id}
    if value is None:
        await drop(connection, preference_table, {**whose, "key": key})
        return
    await put(connection, preference_table, {**whose, "key": key, "value": value_text(key, value)})
    if await count(connection, preference_table, whose) > MOST_PREFERENCES:
        # Raising undoes the insertion above.
        raise InvalidEntry(
            f"{scope} {scope_id} has {MOST_PREFERENCES} preferences; drop one before {key!r}"
        )


async def macros(connection: AsyncConnection, user_id: int) -> dict[str, str]:
    """Return a person's macros by name."""
    statement = (
        select(macro_table.c.name, macro_table.c.text)
        .where(macro_table.c.user_id == user_id)
        .order_by(macro_table.c.name)
    )
    rows = (await connection.execute(statement)).mappings()
    return {row["name"]: row["text"] for row in rows}


async def set_macro(connection: AsyncConnection, user_id: int, name: str, text: str | None) -> None:
    """Keep a macro, or drop it if the text is None."""
    check_id("user_id", user_id)
    check_text("the name of a macro", name, shortest=1, longest=LONGEST_KEY)
    if text is None:
        await drop(connection, macro_table, {"user_id": user_id, "name": name})
        return
    check_text(f"the macro {name!r}", text, longest=LONGEST_MACRO)
    await put(connection, macro_table, {"user_id": user_id, "name": name, "text": text})
    if await count(connection, macro_table, {"user_id": user_id}) > MOST_MACROS:
        # Raising undoes the insertion above.
        raise TooManyMacros(
            f"this person has {MOST_MACROS} macros already; drop one before {name!r} is added",
            limit=MOST_MACROS,
        )


async def favourite(connection: AsyncConnection, mark: Favourite, *, is_on: bool) -> bool:
    """Put a mark on a picture or take it off; return whether that changed anything."""
    check_id("user_id", mark.user_id)
    check_picture(mark.job_id, mark.index)
    row = {"user_id": mark.user_id, "job_id": mark.job_id, "index": mark.index}
    if not is_on:
        return await drop(connection, favourite_table, row) > 0
    await require_pictures(connection, mark.job_id)
    statement = insert(favourite_table).values({**row, "created_at": to_micros(mark.created_at)})
    return (await connection.execute(statement.on_conflict_do_nothing())).rowcount > 0


async def favourites(
    connection: AsyncConnection, user_id: int, *, limit: int | None, before: str | None
) -> list[Favourite]:
    """Return a person's favourites, the last pressed first; `before` is a `Favourite.key`."""
    if limit is not None and not 1 <= limit <= _MOST_AT_ONCE:
        raise ValueError(f"limit is {limit}; it must be 1 to {_MOST_AT_ONCE}")
    statement = select(favourite_table).where(favourite_table.c.user_id == user_id)
    if before is not None:
        job_id, _, index = before.partition(":")
        number = int(index[:3]) if index.isascii() and index.isdigit() else -1
        last = matching(favourite_table, {"user_id": user_id, "job_id": job_id, "index": number})
        its_seq = select(favourite_table.c.seq).where(last).scalar_subquery()
        statement = statement.where(favourite_table.c.seq < its_seq)
    statement = statement.order_by(favourite_table.c.seq.desc()).limit(limit)
    return [
        Favourite(
            user_id=row["user_id"],
            job_id=row["job_id"],
            index=row["index"],
            created_at=to_moment(row["created_at"]),
        )
        for row in (await connection.execute(statement)).mappings()
    ]


async def favourite_count(connection: AsyncConnection, job_id: str, index: int) -> int:
    """Return how many people marked a picture."""
    return await count(connection, favourite_table, {"job_id": job_id, "index": index})


async def require_pictures(connection: AsyncConnection, job_id: str) -> None:
    """Refuse a job that is unknown, or whose pictures were deleted."""
    job = await find(connection, job_id)
    if job is None or job.deleted_at is not None:
        state = "is not in the store" if job is None else "was deleted"
        raise UnknownJob(f"job {job_id} {state}; choose another")


async def _notes(connection: AsyncConnection, which: ColumnElement[bool]) -> list[Note]:
    statement = select(note_table).where(which).order_by(note_table.c.seq)
    return [
        Note(
            id=row["id"],
            kind=row["kind"],
            user_id=row["user_id"],
            payload=row["payload"],
            created_at=to_moment(row["created_at"]),
        )
        for row in (await connection.execute(statement)).mappings()
    ]
