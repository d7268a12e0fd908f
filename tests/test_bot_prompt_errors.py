"""The caret display: two lines that line up in a font of fixed width."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.prompt import PromptError, parse
from bot.prompt.errors import Flaw


def error_at(text: str, start: int, end: int) -> PromptError:
    """Make an error at a place."""
    return PromptError("No.", text=text, start=start, end=end)


def test_carets_stand_under_the_fault() -> None:
    assert error_at("a cat --foo 1", 6, 11).caret() == "a cat --foo 1\n      ^^^^^"


def test_a_fault_at_the_end_has_one_caret_behind_the_text() -> None:
    assert error_at("cat", 3, 3).caret() == "cat\n   ^"
    assert error_at("", 0, 0).caret() == "\n^"


def test_wide_characters_push_the_carets_by_as_much() -> None:
    assert error_at("猫 --あ", 2, 5).caret() == "猫 --あ\n\u3000 ^^^^"


def test_accents_take_no_room_of_their_own() -> None:
    assert error_at("e\u0301 x", 3, 4).caret() == "e\u0301 x\n  ^"


def test_a_long_text_shows_a_window_around_the_fault() -> None:
    text = "word " * 100 + "--foo" + " word" * 100
    shown, carets = error_at(text, 500, 505).caret(60).split("\n")
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert len(shown) <= 62
    place = carets.index("^")
    assert shown[place : place + 5] == "--foo"
    assert carets.count("^") == 5


def test_a_long_fault_is_marked_as_far_as_it_is_shown() -> None:
    shown, carets = error_at("x " + "y" * 500, 2, 502).caret(40).split("\n")
    assert len(carets) <= len(shown)
    assert "^" * 20 in carets


@given(st.text(max_size=200), st.integers(0, 250), st.integers(0, 250), st.integers(10, 80))
@settings(deadline=None)
def test_the_place_is_always_inside_the_window(text: str, start: int, end: int, width: int) -> None:
    text = " ".join(text.split())
    error = error_at(text, start, end)
    assert 0 <= error.start <= error.end <= len(text)
    shown, carets = error.caret(width).split("\n")
    assert len(shown) <= width + 2
    assert "^" in carets
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in shown)
    assert len(carets) <= 2 * (len(shown) + wide) + 1


def test_the_suggestion_is_looked_for_once_and_only_when_asked() -> None:
    asked = []

    def mend() -> str | None:
        asked.append(1)
        return "a cat"

    error = PromptError("No.", text="x", start=0, end=1, mend=mend)
    assert asked == []
    assert error.suggestion == "a cat"
    assert error.suggestion == "a cat"
    assert asked == [1]


def test_no_inner_error_leaves_the_parser() -> None:
    with pytest.raises(PromptError) as caught:
        parse("cat --foo")
    assert not isinstance(caught.value, Flaw)
    assert caught.value.__cause__ is None
    assert str(caught.value) == caught.value.message
