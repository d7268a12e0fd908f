"""Macros, suffixes, and what a variation takes over: texts put together before they are parsed."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.prompt import PromptError, carried, expand_macros, parse, with_flags

MACROS = {
    "mine": "--ar 3:2 --no text",
    "loud": "in neon --s 400 --mine",
    "words": "on a hill",
    "Wide_One": "--ar 16:9",
    "one": "--two",
    "two": "--one",
    "self": "--self",
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a cat", "a cat"),
        ("a cat --mine", "a cat --ar 3:2 --no text"),
        ("a cat --tile --mine --seed 7", "a cat --tile --ar 3:2 --no text --seed 7"),
        ("a cat --loud", "a cat in neon --s 400 --ar 3:2 --no text"),
        ("a cat --tile --words", "a cat on a hill --tile"),
        ("a cat --wide-one", "a cat --ar 16:9"),
        ("a cat —MINE", "a cat --ar 3:2 --no text"),
        ("--words", "on a hill"),
        ("a cat --nosuch --mine", "a cat --nosuch --ar 3:2 --no text"),
        ("a well--mine cat", "a well--mine cat"),
    ],
)
def test_macros_are_put_in_place(text: str, found: str) -> None:
    assert expand_macros(text, MACROS) == found


@pytest.mark.parametrize("name", ["one", "two", "self"])
def test_a_circle_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(PromptError, match="circle") as caught:
        expand_macros(f"a cat --{name}", MACROS)
    assert f"--{name}" in caught.value.message
    assert caught.value.text[caught.value.start :].startswith("--")


def test_macros_nest_twenty_deep_and_no_deeper() -> None:
    chain = {f"m{number}": f"--m{number + 1}" for number in range(40)} | {"m40": "--tile"}
    assert expand_macros("a cat --m21", chain) == "a cat --tile"
    with pytest.raises(PromptError, match="too deep"):
        expand_macros("a cat --m20", chain)


def test_macros_that_double_do_not_take_the_server_with_them() -> None:
    doubling = {f"m{number}": f"--m{number + 1} " * 10 for number in range(15)} | {"m15": "x"}
    before = time.thread_time()
    with pytest.raises(PromptError, match="too long"):
        expand_macros("a cat --m0", doubling)
    assert time.thread_time() - before < 2


def test_a_flag_of_the_table_is_never_a_macro() -> None:
    assert expand_macros("a cat --ar 3:2", {"ar": "--tile", "oref": "--tile"}) == "a cat --ar 3:2"


@pytest.mark.parametrize(
    ("text", "suffix", "found"),
    [
        ("a cat", "--ar 3:2 --no text", "a cat --ar 3:2 --no text"),
        ("a cat --aspect 1:1", "--ar 3:2 --no text", "a cat --aspect 1:1 --no text"),
        ("a cat --negative x", "--no text", "a cat --negative x"),
        ("a cat --relax", "--fast --tile", "a cat --relax --tile"),
        ("a cat --raw", "--preset ink --s 50", "a cat --raw --s 50"),
        ("a cat --niji", "--model emoji", "a cat --niji"),
        ("a cat --sampler Euler a", "--schedule karras", "a cat --sampler Euler a"),
        ("{a --ar 3:2, b}", "--ar 1:1", "{a --ar 3:2, b}"),
        ("a cat", "", "a cat"),
    ],
)
def test_a_suffix_fills_what_was_not_typed(text: str, suffix: str, found: str) -> None:
    assert with_flags(text, suffix) == found


def test_a_suffix_leaves_what_an_option_says() -> None:
    assert with_flags("a cat", "--model big --tile", besides={"model"}) == "a cat --tile"


def test_what_a_variation_takes_over() -> None:
    text = (
        "a cat --ar 3:2 --no x --stop 50 --tile --video --chaos 5 --iw 2 --q 2 --seed 7 --sameseed "
        "--stylize 5 --model emoji --relax"
    )
    assert carried(text) == "a cat --ar 3:2 --no x --stop 50 --tile --video --model emoji"
    assert carried("a cat") == "a cat"


@given(
    st.text(max_size=60),
    st.dictionaries(st.sampled_from(["a", "b", "cc", "d-d"]), st.text(max_size=30), max_size=4),
    st.lists(st.sampled_from(["--a", "--b", "--cc", "--d-d", "--ar 3:2"]), max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_any_macros_give_a_text_or_an_error(
    words: str, macros: dict[str, str], flags: list[str]
) -> None:
    macros = {name: f"{value} {' '.join(flags[:1])}" for name, value in macros.items()}
    try:
        found = expand_macros(f"{words} {' '.join(flags)}", macros)
        found = with_flags(found, " ".join(flags))
        parse(carried(found))
    except PromptError as error:
        assert 0 <= error.start <= error.end <= len(error.text)
