from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.rows import checksum, fold, sealed, to_micros, to_moment
from storage.tables import job as job_table


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
