"""Limits: each at its edge, and words that are blocked."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config import LimitsConfig, ModerationConfig
from bot.limits import (
    RefusalCode,
    blocked_word,
    check_length,
    check_model,
    check_params,
    check_words,
)
from diffusion import Params

LIMITS = LimitsConfig(max_prompt=10, max_steps=20, max_pixels=64 * 64, max_repeat=2)
PARAMS = Params(prompt="a cat", steps=20, width=64, height=64, images=4)


@pytest.mark.parametrize("sign", ["x", "🦊", "猫"])
def test_length_is_counted_as_discord_counts(sign: str) -> None:
    units = len(sign.encode("utf-16-le")) // 2
    fits = sign * (10 // units)
    assert check_length(fits, LIMITS) is None
    refusal = check_length(fits + "x", LIMITS)
    assert refusal is not None
    assert refusal.code is RefusalCode.PROMPT_TOO_LONG
    assert "11" in refusal.text
    assert "10" in refusal.text


def test_six_thousand_characters_are_more_than_the_default() -> None:
    assert check_length("x" * 4000, LimitsConfig()) is None
    assert check_length("x" * 4001, LimitsConfig()) is not None
    assert check_length("x" * 6000, LimitsConfig(max_prompt=6000)) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"steps": 21}, RefusalCode.TOO_MANY_STEPS),
        ({"width": 72}, RefusalCode.TOO_MANY_PIXELS),
        ({"images": 5}, RefusalCode.TOO_MANY_IMAGES),
    ],
)
def test_params_at_their_edges(change: dict[str, int], code: RefusalCode) -> None:
    assert check_params([PARAMS], LIMITS) is None
    refusal = check_params([PARAMS, dataclasses.replace(PARAMS, **change)], LIMITS)  # type: ignore[arg-type]
    assert refusal is not None
    assert refusal.code is code
    assert str(next(iter(change.values()))) in refusal.text


def test_repeats_at_their_edge() -> None:
    assert check_params([PARAMS] * 2, LIMITS) is None
    refusal = check_params([PARAMS] * 3, LIMITS)
    assert refusal is not None
    assert refusal.code is RefusalCode.TOO_MANY_REPEATS
    assert check_params([], LIMITS) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a bad cat", "bad"),
        ("A BAD cat", "bad"),
        ("bad", "bad"),
        ("(bad:1.3)", "bad"),
        ("very_bad_cat", "bad"),
        ("b\u200bad", "bad"),
        ("b\u00e4d", "bad"),
        ("ＢＡＤ", "bad"),
        ("really  awful\nthing", "awful thing"),
        ("awful-thing", "awful thing"),
        ("とても悪い猫", "悪い"),
        ("🔪 in hand", "🔪"),
        ("straße", "strasse"),
        ("c++ code", "c++"),
    ],
)
def test_blocked_words_are_found(text: str, word: str) -> None:
    assert blocked_word(text, ["zebra", word]) == word


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a badge", "bad"),
        ("forbade", "bad"),
        ("bad1", "bad"),
        ("awful big thing", "awful thing"),
        ("はか", "ばか"),
        ("anything", ""),
        ("anything", " "),
        ("ca", "c.*"),
    ],
)
def test_innocent_words_are_left(text: str, word: str) -> None:
    assert blocked_word(text, [word]) is None


def test_a_blocked_word_is_named_to_its_writer() -> None:
    moderation = ModerationConfig(blocked_words=("bad",))
    refusal = check_words("a BAD cat", moderation)
    assert refusal is not None
    assert refusal.code is RefusalCode.BLOCKED_WORD
    assert "`bad`" in refusal.text
    assert check_words("a cat", moderation) is None


@given(st.text(max_size=60), st.lists(st.text(max_size=6), max_size=5))
def test_any_text_and_any_list_give_an_answer(text: str, words: list[str]) -> None:
    found = blocked_word(text, words)
    assert found is None or found in words


@given(st.text(st.characters(categories=["Ll", "Lu", "Nd", "Lo"]), min_size=1, max_size=8))
def test_a_word_alone_is_always_found(word: str) -> None:
    assert blocked_word(f"x, {word}!", [word]) == word


def places(**given: object) -> ModerationConfig:
    return ModerationConfig.model_validate(given)


def test_words_of_a_place_hold_there_alone() -> None:
    moderation = places(
        blocked_words=["bad"],
        guilds={"7": {"blocked_words": ["zebra"]}},
        channels={"8": {"blocked_patterns": [r"fo+x"]}, "9": {"blocked_words": ["hen"]}},
    )
    assert check_words("a zebra, a foox, a hen", moderation) is None
    for prompt, code in (
        ("a zebra", RefusalCode.BLOCKED_WORD),
        ("a FOOX", RefusalCode.BLOCKED_PATTERN),
        ("a hen", RefusalCode.BLOCKED_WORD),
        ("bad", RefusalCode.BLOCKED_WORD),
    ):
        refusal = check_words(prompt, moderation, guild_id=7, channels=(8, 9))
        assert refusal is not None
        assert refusal.code is code
    assert check_words("a foox", moderation, guild_id=7, channels=(9,)) is None


def test_a_pattern_is_named_to_its_writer_and_finds_what_is_disguised() -> None:
    moderation = places(blocked_patterns=[r"b[a4]d\s*fox"])
    for prompt in ("a B\u200bad fox", "b4d   fox", "bäd fox", "ＢＡＤfox"):
        refusal = check_words(prompt, moderation)
        assert refusal is not None
        assert r"b[a4]d\s*fox" in refusal.text
    assert check_words("a good fox", moderation) is None


def test_a_model_outside_a_roles_list_is_refused() -> None:
    assert check_model("emoji", None) is None
    assert check_model("emoji", {"emoji"}) is None
    refusal = check_model("emoji", {"big"})
    assert refusal is not None
    assert refusal.code is RefusalCode.MODEL_NOT_ALLOWED
    assert "`big`" in refusal.text
