"""Emphasis: AUTOMATIC1111's documented examples and what follows from its rules."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusion.prompts import BREAK, parse_emphasis

# The examples that AUTOMATIC1111 documents.
DOCUMENTED = {
    "normal text": [("normal text", 1.0)],
    "an (important) word": [("an ", 1.0), ("important", 1.1), (" word", 1.0)],
    "(unbalanced": [("unbalanced", 1.1)],
    r"\(literal\]": [("(literal]", 1.0)],
    "(unnecessary)(parens)": [("unnecessaryparens", 1.1)],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("a ", 1.0),
        ("house", 1.5730000000000004),
        (" ", 1.1),
        ("on", 1.0),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641000000000006),
        (".", 1.1),
    ],
}
WORKED_OUT = {
    "": [("", 1.0)],
    "[a]": [("a", 1 / 1.1)],
    "[[a]]": [("a", 1 / 1.1 * (1 / 1.1))],
    "[unbalanced": [("unbalanced", 1 / 1.1)],
    "a)": [("a)", 1.0)],
    "a]": [("a]", 1.0)],
    ")(": [(")", 1.0)],
    "()": [("", 1.0)],
    "((a))": [("a", 1.1 * 1.1)],
    "(a:2)": [("a", 2.0)],
    "(a: 1.5 )": [("a", 1.5)],
    "(a:+1.5)": [("a", 1.5)],
    "(a:-1)": [("a", -1.0)],
    "(a:.5)": [("a", 0.5)],
    "(a:2.)": [("a", 2.0)],
    "(a:0)": [("a", 0.0)],
    "(a:b)": [("a:b", 1.1)],
    "(a:b:1.3)": [("a:b", 1.3)],
    "a:1.3": [("a:1.3", 1.0)],
    "a:1.3)": [("a:1.3)", 1.0)],
    "(a:1.2.3)": [("a:1.2.3)", 1.1)],
    "[a:1.3]": [("a:1.3", 1 / 1.1)],
    "((a:2) b:0.5)": [("a", 1.0), (" b", 0.5)],
    "(a [b] c)": [("a ", 1.1), ("b", 1 / 1.1 * 1.1), (" c", 1.1)],
    "(a [b) c]": [("a ", 1.1), ("b", 1.1 * (1 / 1.1)), (" c", 1 / 1.1)],
    r"a \\ b": [("a \\ b", 1.0)],
    "a \\": [("a ", 1.0)],
    r"\a": [("a", 1.0)],
    r"(\(a\):1.2)": [("(a)", 1.2)],
    "embedding:name": [("embedding:name", 1.0)],
    "<name>": [("<name>", 1.0)],
    "a BREAK b": [("a", 1.0), BREAK, ("b", 1.0)],
    "BREAK": [("", 1.0), BREAK, ("", 1.0)],
    "a BREAK BREAK b": [("a", 1.0), BREAK, ("", 1.0), BREAK, ("b", 1.0)],
    "a\nBREAK\nb": [("a", 1.0), BREAK, ("b", 1.0)],
    "BREAKFAST": [("BREAKFAST", 1.0)],
    "break": [("break", 1.0)],
    "(a) BREAK (b)": [("a", 1.1), ("", 1.0), BREAK, ("", 1.0), ("b", 1.1)],
    "赤い(空:1.2)": [("赤い", 1.0), ("空", 1.2)],
}
TABLE = DOCUMENTED | WORKED_OUT


@pytest.mark.parametrize("text", TABLE)
def test_the_pieces_are_those_of_automatic1111(text: str) -> None:
    assert list(parse_emphasis(text)) == TABLE[text]


@given(st.text(alphabet="ab \\()[]:.13BREAK\n|", max_size=60))
def test_every_text_gives_finite_pieces_that_differ_from_their_neighbours(text: str) -> None:
    pieces = parse_emphasis(text)
    assert pieces
    assert all(abs(weight) <= 1000 for _, weight in pieces)
    assert all(a[1] != b[1] for a, b in pairwise(pieces))


@given(st.text(max_size=40).filter(lambda t: not set(t) & set("\\()[]") and "BREAK" not in t))
def test_text_without_syntax_is_left_alone(text: str) -> None:
    assert parse_emphasis(text) == ((text, 1.0),)


def test_weights_beyond_reason_are_bounded() -> None:
    assert parse_emphasis("(" * 5000 + "a") == (("a", 1000.0),)
    assert parse_emphasis("(" * 8000 + "a:0)") == (("a", 0.0),)


@pytest.mark.parametrize(
    "text",
    ["(" * 6000, "(a" * 3000, "[(" * 3000, "(a)" * 2000, ":1" * 3000, " " * 6000, "(a:" * 2000],
)
def test_six_thousand_characters_take_no_time(text: str) -> None:
    fastest = min(_seconds(text) for _ in range(3))
    assert fastest < 0.05


def _seconds(text: str) -> float:
    began = time.perf_counter()
    parse_emphasis(text)
    return time.perf_counter() - began
