"""One value for each key: set again, dropped, counted."""

from functools import partial
from pathlib import Path

import pytest

from storage.database import Database
from storage.migrate import prepare_database
from storage.setting import count, drop, put
from storage.tables import macro, report


async def test_a_row_is_written_over_the_one_with_its_key(tmp_path: Path) -> None:
    prepare_database(tmp_path / "easel.db")
    database = Database(tmp_path / "easel.db")
    whose = {"user_id": 1}
    for name, text in (("a", "1"), ("b", "2"), ("a", "3")):
        row = {**whose, "name": name, "text": text}
        await database.write(partial(put, table=macro, values=row))
    assert await database.read(lambda connection: count(connection, macro, whose)) == 2
    assert await database.read(lambda connection: count(connection, macro, {"text": "3"})) == 1
    assert await database.write(lambda connection: drop(connection, macro, whose)) == 2
    assert await database.read(lambda connection: count(connection, macro, whose)) == 0
    assert await database.read(lambda connection: count(connection, report, {"verdict": None})) == 0
    with pytest.raises(KeyError):
        await database.read(lambda connection: count(connection, macro, {"no column": 1}))
    await database.close()
