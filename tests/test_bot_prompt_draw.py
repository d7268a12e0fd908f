"""Wildcards: what can be drawn, that a seed draws the same for ever, and what is refused."""

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.prompt import PromptError, draw, escaped

LISTS = {
    "colour": ("red", "green", "blue"),
    "animals/cats": ("tabby", "{small|large} lion"),
    "deep": ("__animals/cats__ in __colour__",),
    "endless": ("more __endless__",),
    "broken": ("a {b",),
}


def fault(text: str, seed: int = 0) -> PromptError:
    """Return the error a text gives."""
    with pytest.raises(PromptError) as caught:
        draw(text, seed, LISTS)
    return caught.value


def seen(text: str, count: int = 400) -> Counter[str]:
    """Count what many seeds draw."""
    return Counter(draw(text, seed, LISTS) for seed in range(count))


def test_a_seed_draws_the_same_for_ever() -> None:
    # These are promises to everybody who has kept a seed; they may never change.
    text = "a {red|green|blue|teal} {2$$cat|dog|bird|fish} __colour__"
    assert [draw(text, seed, LISTS) for seed in (0, 1, 7, 2**32 - 1)] == [
        "a teal dog, cat blue",
        "a teal dog, fish red",
        "a teal bird, cat green",
        "a blue bird, dog red",
    ]


def test_streams_do_not_draw_in_step() -> None:
    one = [draw("{a|b|c|d}", seed, {}) for seed in range(20)]
    other = [draw("{a|b|c|d}", seed, {}, stream="negative") for seed in range(20)]
    assert one != other


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{a|b|c}", {"a", "b", "c"}),
        ("{a|b, c}", {"a", "b, c"}),
        ("x{|y}", {"x", "xy"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{2$$a|b}", {"a, b", "b, a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{1-2$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{-2$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{0::a|b}", {"b"}),
        ("{a::2|b}", {"a::2", "b"}),
        (r"{a\|b|c}", {"a|b", "c"}),
        ("__animals/cats__", {"tabby", "small lion", "large lion"}),
        ("__Colour__s", {"__Colour__s"}),
        ("(__colour__:1.2)", {"(red:1.2)", "(green:1.2)", "(blue:1.2)"}),
        ("__colour____colour__", {f"{a}{b}" for a in LISTS["colour"] for b in LISTS["colour"]}),
        (r"\{a|b\}", {"{a|b}"}),
        ("{a}", {"{a}"}),
        (r"\_\_colour\_\_", {"__colour__"}),
        (r"¯\_(ツ)_/¯", {r"¯\_(ツ)_/¯"}),
        (r"\\{a|b}", {r"\\a", r"\\b"}),
        ("{$$a|b}", {"$$a", "b"}),
        ("{a$$b|c}", {"a$$b", "c"}),
    ],
)
def test_what_can_be_drawn(text: str, found: set[str]) -> None:
    assert set(seen(text)) == found


def test_weights_weigh() -> None:
    counts = seen("{3::a|b}", 4000)
    assert 0.7 < counts["a"] / 4000 < 0.8
    assert 0.45 < seen("{a|b}", 4000)["a"] / 4000 < 0.55
    first = Counter(each.split(",")[0] for each in seen("{2$$8::a|b|c}", 2000).elements())
    assert first["a"] > 1400


def test_lists_may_name_lists() -> None:
    assert all(" in " in each for each in seen("__deep__", 50))


@pytest.mark.parametrize(
    ("text", "place", "suggestion"),
    [
        ("a __color__ cat", "__color__", "a __colour__ cat"),
        ("a __quite_other__ cat", "__quite_other__", "a quite other cat"),
        ("{3$$a|b}", "{3$$a|b}", None),
        ("{0::a|0::b}", "{0::a|0::b}", None),
        ("__endless__", "__endless__", None),
        ("__broken__", "__broken__", None),
        ("{2-1$$a|b}", "{2-1$$a|b}", None),
        ("a {b|c", "{", "a {b|c}"),
        ("a {b, c}", "{b, c}", None),
        ("a {x|{b, c}}", "{b, c}", None),
    ],
)
def test_what_cannot_be_drawn_has_its_place(text: str, place: str, suggestion: str | None) -> None:
    error = fault(text)
    assert error.text[error.start : error.end] == place
    assert error.suggestion == suggestion


def test_a_server_without_lists_says_so() -> None:
    with pytest.raises(PromptError, match="has no word lists") as caught:
        draw("a __colour__ cat", 1, {})
    assert caught.value.suggestion == "a colour cat"


@given(st.text(alphabet="ab{}|_\\$:,2. ", max_size=40), st.integers(0, 2**32 - 1))
@example(r"\__", 0)
@example(r"\_{|}\_", 0)
@example(r"\\\_\_a\_\_", 0)
@example(r"___colour____", 0)
@settings(max_examples=400, deadline=None)
def test_what_is_drawn_is_drawn_as_itself_when_written_again(text: str, seed: int) -> None:
    try:
        found = draw(text, seed, LISTS)
    except PromptError as error:
        assert 0 <= error.start <= error.end <= len(error.text)
        if error.suggestion is not None:
            assert isinstance(draw(error.suggestion, seed, LISTS), str)
        return
    assert draw(text, seed, LISTS) == found
    assert draw(escaped(found), seed + 1, LISTS) == found


@given(st.text(max_size=60), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_escaped(text: str, seed: int) -> None:
    # Braces behind an odd backslash cannot come out of a draw, so nothing has to write them.
    text = text.replace("\\", "")
    assert draw(escaped(text), seed, LISTS) == text
