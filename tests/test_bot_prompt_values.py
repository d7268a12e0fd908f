"""Values of flags: ranges at their edges, spellings, and what is suggested instead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.prompt import FLAGS, Aspect, PromptError, parse
from bot.prompt.flags import Flag, Kind


def fault(text: str) -> PromptError:
    """Return the error a text gives."""
    with pytest.raises(PromptError) as caught:
        parse(text)
    return caught.value


WHOLES = [flag for flag in FLAGS if flag.kind is Kind.WHOLE]


@pytest.mark.parametrize("flag", WHOLES, ids=lambda flag: flag.name)
def test_whole_numbers_at_the_edges_of_their_range(flag: Flag) -> None:
    low, high = int(flag.minimum or 0), int(flag.maximum or 0)
    for value in (low, high):
        assert getattr(parse(f"cat --{flag.name} {value}"), flag.name) == value
    for value in (low - 1, high + 1):
        error = fault(f"cat --{flag.name} {value}")
        assert str(low) in error.message
        assert str(high) in error.message
        assert error.text[error.start : error.end] == str(value)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("--steps 5000", "cat --steps 1000"),
        ("--steps 0", "cat --steps 1"),
        ("--steps 20.0", "cat --steps 20"),
        ("--steps 20,", "cat --steps 20"),
        ("--stop 60%", "cat --stop 60"),
        ("--stop 5", "cat --stop 10"),
        ("--repeat 50", "cat --repeat 10"),
        ("--repeat 1", "cat"),
        ("--seed -1", "cat"),
        ("--seed random", "cat"),
        ("--seed 4294967296", "cat --seed 4294967295"),
        ("--seed " + "9" * 5000, "cat"),
        ("--cfg 0.5", "cat --cfg 1"),
        ("--cfg 7,5", "cat --cfg 7.5"),
        ("--cfg 101", "cat --cfg 100"),
        ("--cfg nan", "cat"),
        ("--cfg inf", "cat"),
        ("--cfg 1e1", "cat"),
        ("--q 4", "cat --quality 2"),
        ("--q .3", "cat --quality 0.25"),
        ("--q high", "cat"),
        ("--ar 1.85:1", "cat --ar 37:20"),
        ("--ar 2.39:1", "cat --ar 239:100"),
        ("--ar 16/9", "cat --ar 16:9"),
        ("--ar 16x9", "cat --ar 16:9"),
        ("--ar 16×9", "cat --ar 16:9"),
        ("--ar 16 : 9", "cat --ar 16:9"),
        ("--ar 1920x1080", "cat --ar 16:9"),
        ("--ar 1.5", "cat --ar 3:2"),
        ("--ar portrait", "cat --ar 2:3"),
        ("--ar 3:2.", "cat --ar 3:2"),
        ("--ar 0:1", "cat"),
        ("--ar 1:0", "cat"),
        ("--ar 3:2:1", "cat"),
        ("--ar wide", "cat"),
        ("--ar 99999:1", "cat"),
        ("--model " + "x" * 65, "cat"),
        ("--model 'two words'", "cat"),
        ('--seed ""', 'cat ""'),
    ],
)
def test_a_bad_value_is_refused_with_what_was_meant(text: str, suggestion: str) -> None:
    assert fault(f"cat {text}").suggestion == suggestion


def test_the_sentence_for_a_broken_ratio_names_the_whole_one() -> None:
    assert "Did you mean 37:20?" in fault("cat --ar 1.85:1").message


@pytest.mark.parametrize("text", ['"7"', "'7'", "“7”", "„7“", "«7»", "「7」", "７", "٧"])
def test_quotes_and_digits_of_all_keyboards(text: str) -> None:
    assert parse(f"cat --seed {text}").seed == 7


@pytest.mark.parametrize("value", ["²", "½", "Ⅶ", "0x10", "1_000", "+5", "5-", "五"])
def test_signs_that_are_no_digits(value: str) -> None:
    # A power or a fraction folds to other digits; only what reads as digits alone may pass.
    try:
        parsed = parse(f"cat --steps {value}")
    except PromptError as error:
        assert "--steps" in error.message
    else:
        assert value == "²"
        assert parsed.steps == 2


def test_a_free_text_keeps_its_signs() -> None:
    assert parse("cat --no “blur”, it's, a-b").negative_prompt == "“blur”, it's, a-b"


@given(st.integers(1, 9999), st.integers(1, 9999))
def test_every_whole_ratio_is_read_as_typed(width: int, height: int) -> None:
    assert parse(f"cat --ar {width}:{height}").aspect == Aspect(width=width, height=height)


@given(st.text(min_size=1, max_size=30).filter(lambda text: text.strip()))
def test_a_sentence_never_holds_more_than_a_piece_of_a_value(value: str) -> None:
    try:
        parse(f"cat --steps {value * 50}")
    except PromptError as error:
        assert len(error.message) < 250
