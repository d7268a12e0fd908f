"""Permutations: what braces with commas stand for, how many, and that counting comes first."""

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.prompt import HARD_CAP, PromptError, expand, parse


def fault(text: str) -> PromptError:
    """Return the error a text gives."""
    with pytest.raises(PromptError) as caught:
        expand(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("a bird", ["a bird"]),
        ("a {red, green} bird", ["a red bird", "a green bird"]),
        (
            "{red, green} bird --ar {1:1, 3:2}",
            [
                "red bird --ar 1:1",
                "red bird --ar 3:2",
                "green bird --ar 1:1",
                "green bird --ar 3:2",
            ],
        ),
        ("a {red, {light, dark} blue} cat", ["a red cat", "a light blue cat", "a dark blue cat"]),
        (r"a {salt\, pepper, rice} soup", ["a salt, pepper soup", "a rice soup"]),
        ("a {, red} cat", ["a  cat", "a red cat"]),
        ("{cat --tile, dog} x", ["cat --tile x", "dog x"]),
        # One thing alone is nothing to choose from, and what is to be drawn is left alone.
        ("a {red} cat", ["a {red} cat"]),
        ("a {} cat", ["a {} cat"]),
        (r"a {red\, blue} cat", [r"a {red\, blue} cat"]),
        ("a {red|green, blue} cat", ["a {red|green, blue} cat"]),
        ("a {2$$x|y} cat", ["a {2$$x|y} cat"]),
        ("{{a, b}|c} d", ["{a|c} d", "{b|c} d"]),
        ("{a, {b|c}} d", ["a d", "{b|c} d"]),
        ("{1-2$$ and $${a, b}|c}", ["{1-2$$ and $$a|c}", "{1-2$$ and $$b|c}"]),
        (r"\{a, b\} c", [r"\{a, b\} c"]),
        (r"{\{x, \}y} c", [r"\{x c", r"\}y c"]),
        (r"\\{a, b}", [r"\\a", r"\\b"]),
        ("[a|b] (c:1.2), d", ["[a|b] (c:1.2), d"]),
        ("prompt: a {b, c}", ["a b", "a c"]),
    ],
)
def test_what_a_text_stands_for(text: str, prompts: list[str]) -> None:
    assert list(expand(text)) == prompts


@pytest.mark.parametrize(
    ("text", "place", "suggestion"),
    [
        ("a {red, green bird --tile", "{", "a {red, green bird} --tile"),
        ("a {red bird", "{", r"a \{red bird"),
        ("a red} bird", "}", r"a red\} bird"),
        ("a :} bird {x", "}", r"a :\} bird \{x"),
        ("{" * 21 + "}" * 21, "{", None),
    ],
)
def test_braces_that_do_not_match_have_their_place(
    text: str, place: str, suggestion: str | None
) -> None:
    error = fault(text)
    assert error.text[error.start : error.end] == place
    assert error.suggestion == suggestion
    if suggestion is not None:
        assert expand(suggestion)
        assert parse(suggestion)


def test_too_many_are_refused_with_their_number() -> None:
    assert len(expand("{a, b, c, d} {a, b, c, d, e} {x, y}")) == HARD_CAP
    assert "ask for 41 prompts" in fault("{" + ", ".join("x" * 41) + "}").message
    assert "more than a thousand million" in fault("{a, b}" * 1000).message


def test_counting_comes_first_and_takes_no_time() -> None:
    for text in ("{a, b}" * 900, "{" * 5000, "{a," * 15 + "}" * 15, "{a, b|" * 15 + "}" * 15):
        before = time.thread_time()
        with suppress(PromptError):
            assert len(expand(text)) <= HARD_CAP
        assert time.thread_time() - before < 1


@given(
    st.lists(
        st.sampled_from([*"ab{}{}{},,|\\ ", "$$", "2$$", "{x, y}", "--ar", "1:1"]), max_size=25
    )
)
@settings(max_examples=300, deadline=None)
def test_any_heap_of_signs_gives_prompts_or_an_error(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        prompts = expand(text)
    except PromptError as error:
        assert 0 <= error.start <= error.end <= len(error.text)
        if error.suggestion is not None:
            assert expand(error.suggestion)
    else:
        assert 1 <= len(prompts) <= HARD_CAP


@given(
    st.lists(
        st.lists(st.sampled_from(["red", "a b", "", "4k"]), min_size=2, max_size=3), max_size=3
    )
)
@settings(deadline=None)
def test_groups_multiply(groups: list[list[str]]) -> None:
    text = "cat " + " ".join("{" + ", ".join(group) + "}" for group in groups)
    wanted = ["cat "]
    for number, group in enumerate(groups):
        wanted = [f"{one}{' ' if number else ''}{each}" for one in wanted for each in group]
    assert list(expand(text)) == wanted
