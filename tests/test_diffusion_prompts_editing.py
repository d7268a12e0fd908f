"""Prompt editing: AUTOMATIC1111's documented examples and what follows from its rules."""

import time
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusion.errors import ParamsError
from diffusion.prompts import schedule

TEN = range(1, 11)
# The examples that AUTOMATIC1111 documents, for 10 steps.
DOCUMENTED = {
    "test": [(10, "test")],
    "a [b:3]": [(3, "a "), (10, "a b")],
    "a [b: 3]": [(3, "a "), (10, "a b")],
    "a [[[b]]:2]": [(2, "a "), (10, "a [[b]]")],
    "[(a:2):3]": [(3, ""), (10, "(a:2)")],
    "a [b : c : 1] d": [(1, "a b  d"), (10, "a  c  d")],
    "a[b:[c:d:2]:1]e": [(1, "abe"), (2, "ace"), (10, "ade")],
    "a [unbalanced": [(10, "a [unbalanced")],
    "a [b:.5] c": [(5, "a  c"), (10, "a b c")],
    "a [{b|d{:.5] c": [(5, "a  c"), (10, "a {b|d{ c")],
    "((a][:b:c [d:3]": [(3, "((a][:b:c "), (10, "((a][:b:c d")],
    "[a|(b:1.1)]": [(i, "a" if i % 2 else "(b:1.1)") for i in TEN],
    "[fe|]male": [(i, "female" if i % 2 else "male") for i in TEN],
    "[fe|||]male": [(i, "female" if i % 4 == 1 else "male") for i in TEN],
}
WORKED_OUT = {
    "": [(10, "")],
    "[a::0.5]": [(5, "a"), (10, "")],
    "[:a:0.5]": [(5, ""), (10, "a")],
    "[a:b:0.25]": [(2, "a"), (10, "b")],
    "[a:b:0]": [(10, "b")],
    "[a:b:-1]": [(10, "b")],
    "[a:b:0.05]": [(10, "b")],
    "[a:b:10]": [(10, "a")],
    "[a:b:99]": [(10, "a")],
    "[a:b:1.0]": [(10, "a")],
    "[a:b:1]": [(1, "a"), (10, "b")],
    "[a:b:3 ]": [(3, "a"), (10, "b")],
    "[a:b:+3]": [(3, "a"), (10, "b")],
    "[a:b:1e9999]": [(10, "a")],
    "[a:b]": [(10, "[a:b]")],
    "[a:b:c:3]": [(10, "[a:b:c:3]")],
    "[x[a:b]:3]": [(10, "[x[a:b]:3]")],
    "[3:4]": [(4, ""), (10, "3")],
    "[a]": [(10, "[a]")],
    "(a:1.2)": [(10, "(a:1.2)")],
    r"[a\:b:3]": [(3, ""), (10, r"a\:b")],
    r"\[a:b:3]": [(10, r"\[a:b:3]")],
    "a|b [c:3]": [(3, "a|b "), (10, "a|b c")],
    "[a|b|c]": [(i, "cab"[i % 3]) for i in TEN],
    "[[a|b]:c:4]": [(1, "a"), (2, "b"), (3, "a"), (4, "b"), (10, "c")],
    "[[a:b:4]|c]": [(i, "c" if i % 2 == 0 else "a" if i <= 4 else "b") for i in TEN],
    "a \\": [(10, "a \\")],
    "[a::0.5][:b:0.5]": [(5, "a"), (10, "b")],
}
TABLE = DOCUMENTED | WORKED_OUT


def merged(pairs: list[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Equal neighbours are one entry here."""
    runs = groupby(pairs, key=lambda pair: pair[1])
    return tuple(list(run)[-1] for _, run in runs)


@pytest.mark.parametrize("text", TABLE)
def test_the_schedule_is_that_of_automatic1111(text: str) -> None:
    assert schedule(text, 10) == merged(TABLE[text])


def test_the_example_in_the_handbook() -> None:
    text = (
        "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75]"
        "[ in foreground::0.6][ in background:0.25] [shoddy:masterful:0.5]"
    )
    lake = "fantasy landscape with a lake and "
    assert schedule(text, 100) == (
        (25, "fantasy landscape with a mountain and an oak in foreground shoddy"),
        (50, lake + "an oak in foreground in background shoddy"),
        (60, lake + "an oak in foreground in background masterful"),
        (75, lake + "an oak in background masterful"),
        (100, lake + "a christmas tree in background masterful"),
    )


def test_a_second_pass_counts_on_from_the_first() -> None:
    assert schedule("a [b:.5] c", 10, first_pass=10) == ((10, "a b c"),)
    assert schedule("a [b:1.5] c", 10, first_pass=10) == ((5, "a  c"), (10, "a b c"))
    assert schedule("a [b:13] c", 10, first_pass=10) == ((3, "a  c"), (10, "a b c"))


def test_no_steps_are_refused() -> None:
    with pytest.raises(ParamsError, match="at least 1"):
        schedule("a", 0)


@given(st.text(alphabet="ab \\()[]:|.135\n", max_size=60), st.integers(1, 30))
def test_every_text_has_a_schedule_that_ends_with_the_steps(text: str, steps: int) -> None:
    pairs = schedule(text, steps)
    assert pairs[-1][0] == steps
    ends = [end for end, _ in pairs]
    assert ends == sorted(set(ends))
    assert ends[0] >= 1
    assert all(a[1] != b[1] for a, b in pairwise(pairs))


@given(st.text(max_size=40).filter(lambda text: not set(text) & set("[]")))
def test_text_without_square_brackets_is_left_alone(text: str) -> None:
    assert schedule(text, 7) == ((7, text),)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 6000,
        "]" * 6000,
        "[]" * 3000,
        "[" * 3000 + "]" * 3000,
        "[" * 1500 + "a" + ":1]" * 1500,
        "[a|" * 1500 + "]" * 1500,
        "[a|b]" * 1200,
        "(" * 3000 + ")" * 3000,
        "[:" * 3000,
        "|" * 6000,
        "\\" * 6000,
    ],
)
def test_six_thousand_characters_take_no_time(text: str) -> None:
    assert min(_seconds(text) for _ in range(3)) < 0.05


def _seconds(text: str) -> float:
    began = time.perf_counter()
    schedule(text, 30)
    return time.perf_counter() - began


def test_a_weight_after_alternatives_is_literal_and_never_empties_the_prompt() -> None:
    assert schedule("[cat|dog:1.2] mat", 10) == ((10, "[cat|dog:1.2] mat"),)
    assert schedule("[cat|dog:0.5]", 4) == ((2, ""), (4, "cat|dog"))
