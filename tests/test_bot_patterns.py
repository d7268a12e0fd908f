"""Regular expressions of admins: what is refused, and that no pattern that is taken can hang."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.patterns import LONGEST, MOST_TRIES, REPEATS, bounded, check_pattern, compiled


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"bad\s+word", "a BAD   word"),
        (r"\bfoo(bar)?\b", "x foobar"),
        (r"nude|naked", "Naked"),
        (r"[a-z]{3}\d", "abc1"),
        (r"(?:ab|cd)e", "xcde"),
        (r"(?=x)xy", "xy"),
        (r"日本+", "日本本"),
        (r"\u00e9", "é"),
        (r"a]", "a]"),
        (r"[]x]+", "]x"),
        (r"(?P<name>ab)c", "abc"),
        ("x" * LONGEST, "x" * LONGEST),
    ],
)
def test_ordinary_patterns_are_taken_and_match_in_any_case(pattern: str, text: str) -> None:
    assert check_pattern(pattern) == pattern
    assert compiled(pattern).search(text)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(a+)+", "repeats or chooses inside"),
        ("(a|a)*b", "repeats or chooses inside"),
        ("((ab)*c){2}", "repeats or chooses inside"),
        ("(a?)+", "repeats or chooses inside"),
        ("a**", "repeats or chooses inside"),
        (".*a.*b.*c", "ways"),
        (r"(a)\1", "refers back"),
        (r"(?P<x>a)(?P=x)", "kind of group"),
        (r"(?(1)a|b)", "kind of group"),
        (r"(?i)bad", "kind of group"),
        ("[", "no regular expression"),
        ("(", "no regular expression"),
        ("a)", "no regular expression"),
        ("+", "no regular expression"),
        ("a{}", "no range"),
        ("a{3,2}", "100 times"),
        ("a{101}", "100 times"),
        ("x" * (LONGEST + 1), f"{LONGEST} are the most"),
        ("  ", "empty"),
    ],
)
def test_what_could_hang_or_is_none_is_refused_with_a_reason(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("a*", f"a{{0,{REPEATS}}}"),
        ("a+?b", f"a{{1,{REPEATS}}}?b"),
        ("a{2,}", f"a{{2,{REPEATS}}}"),
        ("a{2}(b)?", "a{2,2}(b){0,1}"),
    ],
)
def test_repeats_have_an_end(pattern: str, written: str) -> None:
    assert bounded(pattern) == written


@pytest.mark.parametrize("pattern", ["[[a]", "[a--b]", "[a||b]"])
def test_what_a_later_python_reads_otherwise_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="inside"):
        check_pattern(pattern)


signs = st.text(alphabet="ab.*+?|()[]{}0,2\\wd^$", max_size=24)


@example("[[")
@given(signs)
def test_every_pattern_is_taken_or_refused_and_none_is_slow(pattern: str) -> None:
    try:
        check_pattern(pattern)
    except ValueError:
        return
    found = compiled(pattern)
    before = time.monotonic()
    for text in ("a" * 1000, "ab" * 500, "b" * 999 + "!"):
        found.search(text)
    # A match may be tried at every sign, each in so many ways.
    assert time.monotonic() - before < 3 * 1000 * MOST_TRIES * 1e-6 + 1.0
