import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import Store, StoreDamaged
from storage.rows import checksum, fold, sealed, to_micros, to_moment, to_signed
from storage.tables import job as job_table
from tests.test_storage_support import new_job, sql


@given(st.datetimes(timezones=st.just(UTC)))
def test_moments_come_back_as_they_went(moment: datetime) -> None:
    assert to_moment(to_micros(moment)) == moment


def test_moments_know_their_zone() -> None:
    there = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert to_micros(there) == to_micros(datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="no time zone"):
        to_micros(datetime(2026, 1, 1))  # noqa: DTZ001


def test_the_seal_covers_every_column_but_itself_and_the_sequence() -> None:
    row = {column.name: "x" for column in job_table.columns if column.name != "checksum"}
    seal = checksum(row)
    for name in row:
        changed = checksum({**row, name: "y"}) != seal
        emptied = checksum({**row, name: None}) != seal
        assert changed == emptied == (name != "seq"), name


def test_the_seal_ignores_columns_that_are_empty_or_not_there_yet() -> None:
    row = {"id": "a", "state": "queued"}
    assert sealed(row)["checksum"] == checksum({**row, "posted_at": None})


def test_the_seal_takes_whole_numbers_and_floats_of_a_real_column_for_the_same() -> None:
    assert checksum({"device_seconds": 1}) == checksum({"device_seconds": 1.0})
    assert checksum({"device_seconds": 1}) != checksum({"device_seconds": 1.5})


def test_folding_forgets_case_width_and_broken_characters() -> None:
    assert fold("STRASSE Ｆｏｘ") == fold("straße fox")
    assert fold("a\ud800b") == "a?b"


@given(st.integers(0, 2**64 - 1))
def test_sixty_four_bits_fit_a_signed_column(bits: int) -> None:
    assert -(2**63) <= to_signed(bits) < 2**63
    assert to_signed(bits) % 2**64 == bits


async def test_no_details_are_an_empty_column_and_an_old_seal(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        plain = (await store.enqueue(new_job(1))).job
        asked = replace(new_job(2), details=json.dumps({"share": "draft"}))
        detailed = (await store.enqueue(asked)).job
        assert (plain.details, detailed.details) == ("{}", '{"share": "draft"}')
        assert await store.waiting() == [plain, detailed]
        assert sql(tmp_path, "SELECT details FROM job") == [(None,), ('{"share": "draft"}',)]


@pytest.mark.parametrize("column", ["kind", "state"])
async def test_a_word_of_a_newer_version_is_named(tmp_path: Path, column: str) -> None:
    async with await Store.open(tmp_path) as store:
        job = (await store.enqueue(new_job(1))).job
        outside = sqlite3.connect(tmp_path / "easel.db")
        outside.row_factory = sqlite3.Row
        row = dict(outside.execute("SELECT * FROM job").fetchone())
        outside.close()
        seal = sealed({**row, column: "dream"})["checksum"]
        sql(tmp_path, f"UPDATE job SET {column} = 'dream', checksum = ?", seal)  # noqa: S608
        with pytest.raises(StoreDamaged, match=f"{job.id}.*the {column} 'dream'.*newer version"):
            await store.job(job.id)
