"""What /admin reads: spans of time and seconds."""

from datetime import timedelta

import pytest

from bot.commands.admin import read_seconds, read_time


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("10 minutes", timedelta(minutes=10)),
        ("1 hour", timedelta(hours=1)),
        ("7d", timedelta(days=7)),
        (" 2 Weeks ", timedelta(weeks=2)),
        ("3", timedelta(days=3)),
        ("999999 weeks", timedelta(days=3660)),
        ("0 days", None),
        ("soon", None),
        ("-1 day", None),
        ("1 day 2 hours", None),
    ],
)
def test_spans_of_time(text: str, span: timedelta | None) -> None:
    assert read_time(text) == span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("600", 600.0), ("0", 0.0), ("1.5", 1.5), ("None", None), ("x", -1.0), ("nan", -1.0)],
)
def test_seconds(text: str, seconds: float | None) -> None:
    assert read_seconds(text) == seconds
