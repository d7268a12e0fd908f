"""A parsed prompt written down parses to the same again; real prompts go through unharmed."""

from dataclasses import replace

import pytest

from bot.prompt import FLAGS, PromptError, draw, expand, expand_macros, parse, to_text
from tests.benchmarks.grammar import LISTS, MACROS, made_up, parti


def check_whole(text: str) -> int:
    """Send a text through the whole grammar; return how many of its prompts were read."""
    try:
        prompts = expand(expand_macros(text, MACROS))
    except PromptError as error:
        check_error(error)
        return 0
    read = 0
    for each in prompts:
        try:
            parsed = parse(each)
            written = to_text(parsed)
            assert parse(written) == replace(parsed, text=written)
            draw(parsed.prompt, 7, LISTS)
            read += 1
        except PromptError as error:
            check_error(error)
    return read


def check_error(error: PromptError) -> None:
    """Check what a person is shown."""
    assert error.message
    assert 0 <= error.start <= error.end <= len(error.text)
    assert len(error.caret().split("\n")) == 2


def test_every_flag_is_written_as_its_example() -> None:
    for flag in FLAGS:
        text = f"a cat --{flag.name} {flag.example}".strip()
        parsed = parse(text)
        written = to_text(parsed)
        assert parse(written) == replace(parsed, text=written)


def test_words_that_look_like_the_option_stay_words() -> None:
    parsed = parse("prompt: prompt: a cat")
    assert parsed.prompt == "prompt: a cat"
    assert parse(to_text(parsed)).prompt == "prompt: a cat"


def test_no_real_prompt_is_refused() -> None:
    prompts = parti()
    assert len(prompts) == 1632
    for prompt in prompts:
        assert expand(prompt) == (prompt,)
        assert parse(prompt).prompt == " ".join(prompt.split())
        assert draw(prompt, 3, {}) == prompt
        assert parse(f"{prompt} --ar 16:9 —chaos 5").chaos == 5


def test_thousands_of_made_up_prompts() -> None:
    texts = list(made_up(3, 3000))
    assert sum(check_whole(text) for text in texts) > 1000


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_made_up_prompts() -> None:
    for text in made_up(4, 100_000):
        check_whole(text)
