from dataclasses import replace
from typing import Any

import pytest

from storage import (
    FINAL_STATES,
    NEXT_STATES,
    OPEN_STATES,
    InvalidJob,
    JobState,
    NewPicture,
    StorageError,
)
from storage.records import source_sha256
from tests.test_storage_support import new_job, new_picture


def test_every_state_has_its_successors_and_the_ends_have_none() -> None:
    assert set(NEXT_STATES) == set(JobState)
    assert {"posted", "failed", "cancelled"} == FINAL_STATES
    assert set(JobState) == FINAL_STATES | OPEN_STATES
    assert JobState.FAILED in frozenset.intersection(*(NEXT_STATES[s] for s in OPEN_STATES))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("images", 0),
        ("images", 17),
        ("repeat_index", -1),
        ("parent_index", 0),
        ("requester_id", -1),
        ("guild_id", 2**63),
        ("interaction_id", 2**64),
        ("prompt", "half a \ud800 character"),
        ("params", "not json"),
        ("params", "[1, 2]"),
    ],
)
def test_a_job_that_cannot_be_stored_names_the_field(field: str, value: object) -> None:
    change: dict[str, Any] = {field: value}
    with pytest.raises(InvalidJob, match=field) as caught:
        replace(new_job(1), **change)
    assert isinstance(caught.value, StorageError)


def test_a_picture_must_hold_something() -> None:
    with pytest.raises(InvalidJob, match="empty"):
        NewPicture(index=0, data=b"", width=1, height=1, media_type="image/png")
    with pytest.raises(InvalidJob, match="index is 17"):
        new_picture(17)


def test_the_source_picture_is_read_from_the_params() -> None:
    sha256 = "0123456789abcdef" * 4
    assert source_sha256(f'{{"init_image":"{sha256}"}}') == sha256
    assert source_sha256('{"init_image":null}') is None
    assert source_sha256('{"init_image":"../../secret"}') is None
    assert source_sha256("{}") is None
