"""Tidying a text and finding flags in it."""

from hypothesis import given
from hypothesis import strategies as st

from bot.prompt.scan import find_marks, find_nearly, fold_name, tidy


def test_tidying_takes_out_only_what_cannot_be_seen() -> None:
    assert tidy("a\u202eb\u200bc\ufeff\x00d\ne") == "abc d e"
    assert tidy("\ud83d") == "\ufffd"
    assert tidy("👨\u200d👩 क\u200dष ❤\ufe0f") == "👨\u200d👩 क\u200dष ❤\ufe0f"


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
def test_a_tidy_text_is_one_line_can_be_stored_and_stays_as_it_is(text: str) -> None:
    tidied = tidy(text)
    assert len(tidied.splitlines()) <= 1
    assert tidied.encode("utf-8").decode("utf-8") == tidied
    assert tidy(tidied) == tidied


def test_marks_carry_their_place() -> None:
    text = "a —AR 3:2 --no x"
    first, second = find_marks(text)
    assert (first.name, first.typed, text[first.start : first.after]) == ("ar", "AR", "—AR")
    assert text[first.after : first.stop] == " 3:2 "
    assert first.long_dash
    assert (second.name, second.stop, second.long_dash) == ("no", len(text), False)


def test_names_are_folded() -> None:
    assert fold_name("ＡＲ") == "ar"
    assert fold_name("same_SEED") == "same-seed"


def test_a_nearly_typed_flag_needs_a_known_name() -> None:
    assert find_nearly("x -foo 3", 8, {"ar"}) is None
    found = find_nearly("x -ar 3", 7, {"ar"})
    assert found is not None
    assert found["name"] == "ar"
