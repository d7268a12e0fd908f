"""Tokens of a prompt, as it is cut for painting."""

from dataclasses import replace

import pytest

from diffusion import Engine, Params, TokenCount, UnknownModelError, load_model
from diffusion.text.counting import count_tokens
from tests.tiny import tiny_model


def count(prompt: str) -> TokenCount:
    found = count_tokens(load_model("emoji"), Params(prompt=prompt))
    assert found is not None
    return found


def test_a_short_prompt_takes_one_window() -> None:
    assert count("a red heart") == TokenCount(tokens=3, windows=1)
    assert count("") == TokenCount(tokens=0, windows=1)
    assert count("(red:1.3) heart") == count("red heart")


def test_words_beyond_the_first_window_are_named() -> None:
    words = ["a blue fish", "a green tree", "a cat face", "a pizza", "a purple heart", "a house"]
    found = count(", ".join([*words, "a red apple"]))
    assert found.windows == 2
    assert found.later.endswith("red apple")
    assert "fish" not in found.later
    assert count("a red heart BREAK a blue fish").later == "a blue fish"


def test_every_part_counts() -> None:
    assert count("red heart AND blue fish").tokens == 4
    assert count("<lora:ink:0.8> red heart").tokens == 2


def test_a_model_without_words_has_no_count() -> None:
    assert count_tokens(replace(tiny_model(), text=None), Params(prompt="x")) is None


async def test_the_engine_counts() -> None:
    async with Engine({"emoji": tiny_model()}) as engine:
        found = await engine.count_tokens(Params(prompt="a red heart"))
        assert found is not None
        assert found.tokens >= 3
        with pytest.raises(UnknownModelError):
            await engine.count_tokens(Params(prompt="a", model="other"))
