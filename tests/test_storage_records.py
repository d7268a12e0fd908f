import json
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
        ("images", 37),
        ("repeat_index", -1),
        ("parent_index", 0),
        ("requester_id", -1),
        ("guild_id", 2**63),
        ("interaction_id", 2**64),
        ("prompt", "half a \ud800 character"),
        ("params", "not json"),
        ("params", "[1, 2]"),
        ("params", "[" * 100_000),
        ("details", "null"),
        ("details", '{"a":'),
        ("details", '{"a":"' + "x" * 100_000 + '"}'),
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
    with pytest.raises(InvalidJob, match="index is 37"):
        new_picture(37)
    for phash in (-1, 2**64):
        with pytest.raises(InvalidJob, match="phash"):
            replace(new_picture(0), phash=phash)


HASHES = [digit * 64 for digit in "0123f"]


def test_the_files_that_a_job_is_made_from_are_read_from_params_and_details() -> None:
    params = {
        "init_image": HASHES[0],
        "mask": HASHES[1],
        "controls": [{"image": HASHES[2]}, {"image": "../../secret"}, "strange", {}],
    }
    details = {"sources": [HASHES[3], HASHES[0], 7, HASHES[4] + "0", HASHES[4].upper()]}
    asked = replace(new_job(1), params=json.dumps(params), details=json.dumps(details))
    assert asked.sources == tuple(HASHES[:4])


@pytest.mark.parametrize(
    ("params", "details"),
    [
        ('{"init_image":null,"mask":7}', '{"sources":null}'),
        ('{"init_image":"../../secret","controls":{"image":1}}', '{"sources":"abc"}'),
        ("{}", "{}"),
    ],
)
def test_what_names_no_file_is_no_source(params: str, details: str) -> None:
    assert replace(new_job(1), params=params, details=details).sources == ()
