"""Style templates and the house style around prompts of every kind."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.presets import around, in_house_style, in_template, is_multi, with_part
from diffusion import ParamsError
from diffusion.prompts import parse_prompt


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a cat", "ink, a cat, bold"),
        ("a cat::2 a dog", "ink, a cat, bold::2 ink, a dog, bold"),
        ("a cat::2 a dog::-0.5", "ink, a cat, bold::2 a dog::-0.5"),
        ("a cat::2", "ink, a cat, bold::2"),
        ("::2 a cat :: ::3 a dog", "::2 ink, a cat, bold :: ::3 ink, a dog, bold"),
        ("2::2 2", "ink, 2, bold::2 ink, 2, bold"),
        ("a cat AND a dog", "ink, a cat, bold AND ink, a dog, bold"),
        ("a cat :1.2 AND a dog :0.5", "ink, a cat, bold :1.2 AND ink, a dog, bold :0.5"),
        ("a cat AND a dog :-1", "ink, a cat, bold AND a dog :-1"),
        ("[a::0.5] cat", "ink, [a::0.5] cat, bold"),
        ("16:9", "ink, 16:9, bold"),
    ],
)
def test_words_go_around_every_part_that_counts(prompt: str, found: str) -> None:
    assert in_template("ink, {prompt}, bold", prompt) == found


def test_the_house_style_has_its_weight() -> None:
    assert in_house_style("soft light", 100, "a cat") == "a cat, soft light"
    assert in_house_style("soft light", 250, "a cat") == "a cat, (soft light:2.5)"
    assert in_house_style("soft light", 0, "a cat") == "a cat"
    assert in_house_style("", 100, "a cat") == "a cat"
    assert in_house_style("x", 50, "a::2 b::-0.5") == "a, (x:0.5)::2 b::-0.5"


def test_what_is_unwanted_becomes_a_part() -> None:
    assert with_part("a::2 b", "c, d") == "a::2 b:: c, d::-0.5"
    assert with_part("a::2", "c") == "a::2 c::-0.5"
    assert with_part("a::2 (b", "c)") is None
    with pytest.raises(ParamsError):
        with_part("a::0.5", "c")


@example("AND")
@given(st.text(alphabet="ab :AND.125-()[]", min_size=1, max_size=40))
@settings(max_examples=500, deadline=None)
def test_weights_stay_and_no_part_is_lost(prompt: str) -> None:
    prompt = " ".join(prompt.split())
    try:
        before = parse_prompt(prompt, 1).parts
    except ParamsError:
        return
    found = parse_prompt(around(prompt, "x ", ", y"), 1).parts
    assert [part.weight for part in found] == [part.weight for part in before]
    for part in found:
        assert part.weight <= 0 or ("x " in part.at(1) and ", y" in part.at(1))
    assert is_multi(prompt) == is_multi(around(prompt, "x ", ", y"))
