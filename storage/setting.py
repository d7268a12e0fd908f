"""Setting, dropping and counting rows of the tables that keep one value for each key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection


def matching(table: Table, values: Mapping[str, Any]) -> ColumnElement[bool]:
    """Return the condition that a row has these values."""
    return and_(*(table.c[name] == value for name, value in values.items()))


async def put(connection: AsyncConnection, table: Table, values: Mapping[str, Any]) -> None:
    """Write a row over the one that has its primary key."""
    keys = [column.name for column in table.primary_key]
    statement = insert(table).values(values)
    fresh = {name: value for name, value in values.items() if name not in keys}
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=fresh))


async def drop(connection: AsyncConnection, table: Table, values: Mapping[str, Any]) -> int:
    """Remove the rows that have these values; return how many there were."""
    gone = await connection.execute(delete(table).where(matching(table, values)))
    return gone.rowcount


async def count(connection: AsyncConnection, table: Table, values: Mapping[str, Any]) -> int:
    """Count the rows that have these values."""
    statement = select(func.count()).select_from(table).where(matching(table, values))
    return int((await connection.execute(statement)).scalar_one())
