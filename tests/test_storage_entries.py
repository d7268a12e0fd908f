"""What people and communities may leave: each limit says what it is and what was found."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from storage import (
    MOST_IMAGES,
    Ban,
    Export,
    Favourite,
    InvalidEntry,
    SentKind,
    SentMessage,
    StorageError,
    new_job_id,
)
from storage.entries import check_id, check_picture, check_text, value_text

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_texts_are_measured_before_they_are_kept() -> None:
    check_text("reason", "", longest=3)
    check_text("reason", "äöü", longest=3)
    with pytest.raises(InvalidEntry, match="reason has 4 characters; it must have 0 to 3"):
        check_text("reason", "äöüß", longest=3)
    with pytest.raises(InvalidEntry, match="key has 0 characters; it must have 1 to 3"):
        check_text("key", "", longest=3, shortest=1)
    with pytest.raises(InvalidEntry, match="half a character at position 1"):
        check_text("reason", "a\udfff", longest=3)


def test_ids_and_pictures_are_those_that_can_be() -> None:
    for number in (None, 0, 2**63 - 1):
        check_id("guild_id", number)
    for number in (-1, 2**63):
        with pytest.raises(InvalidEntry, match=f"guild_id is {number}"):
            check_id("guild_id", number)
    job_id = new_job_id()
    for index in (0, MOST_IMAGES):
        check_picture(job_id, index)
    for wrong in (("x" * 500, 0), (job_id, -1), (job_id, MOST_IMAGES + 1)):
        with pytest.raises(InvalidEntry, match=r"(job_id|index) is") as caught:
            check_picture(*wrong)
        assert len(str(caught.value)) < 200


def test_what_is_refused_is_an_error_of_the_store_and_of_the_value() -> None:
    assert issubclass(InvalidEntry, StorageError)
    assert issubclass(InvalidEntry, ValueError)


def test_values_are_one_text_whatever_their_order() -> None:
    assert value_text("k", {"b": 1, "a": [None, "ä"]}) == '{"a":[null,"\\u00e4"],"b":1}'
    endless: list[object] = []
    endless.append(endless)
    for value in (object(), b"bytes", float("inf"), endless):
        with pytest.raises(InvalidEntry, match="the value of 'k' is not plain JSON"):
            value_text("k", value)


def test_a_favourite_has_a_key_that_fits_a_button() -> None:
    mark = Favourite(user_id=7, job_id="abcdefghijklm", index=36, created_at=NOON)
    assert mark.key == "abcdefghijklm:36"


def sent(number: int, kind: SentKind, user_id: int) -> SentMessage:
    return SentMessage(
        message_id=number,
        channel_id=number + 10,
        kind=kind,
        job_id="abcdefghijklm",
        user_id=user_id,
        sent_at=NOON,
    )


def test_an_export_says_nothing_of_who_banned_them_nor_where_others_are() -> None:
    ban = Ban(guild_id=None, user_id=7, until=NOON, reason="spam", by=99, created_at=NOON)
    nothing: Mapping[str, float] = {}
    export = Export(
        user_id=7,
        jobs=(),
        pictures=(),
        preferences={"raw": True},
        macros={},
        favourites=(),
        notes=(),
        reports=(),
        bans=(ban,),
        quotas=nothing,
        messages=(
            sent(1, SentKind.PING, 7),
            sent(2, SentKind.COPY, 99),
            sent(3, SentKind.NOTICE, 7),
        ),
        used={"day": "2026-03-01", "seconds": {"11": 4.5}},
    )
    common = {"job_id": "abcdefghijklm", "sent_at": "2026-03-01T12:00:00+00:00"}
    assert json.loads(export.to_json()) == {
        "user_id": 7,
        "jobs": [],
        "pictures": [],
        "preferences": {"raw": True},
        "macros": {},
        "favourites": [],
        "notes": [],
        "reports": [],
        "bans": [
            {
                "guild_id": None,
                "user_id": 7,
                "until": "2026-03-01T12:00:00+00:00",
                "reason": "spam",
                "created_at": "2026-03-01T12:00:00+00:00",
            }
        ],
        "quotas": {},
        "messages": [
            {**common, "kind": "ping", "message_id": 1, "channel_id": 11},
            {**common, "kind": "copy"},
            {**common, "kind": "notice"},
        ],
        "used": {"day": "2026-03-01", "seconds": {"11": 4.5}},
    }
