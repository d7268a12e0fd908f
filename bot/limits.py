"""What is checked before any work begins: length, words, and the cost of one prompt.

Every check is a pure function that returns a `Refusal` with a sentence for the person who asked,
or None. Nothing is cut or changed here: what is too much is refused. How many jobs may wait is the
queue's own rule, checked where the job is stored.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bot import texts, texts_community
from bot.config_models import LimitsConfig, ModerationConfig, PlaceWords
from bot.escape import utf16_length
from bot.patterns import compiled
from diffusion import Params

MAX_IMAGES: Final = 4
"""A grid is two by two, and its buttons are counted so."""

_ACCENTS: Final = re.compile("[\u0300-\u036f]")
# Scripts written without spaces: a word in them has no boundary to look for.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


class RefusalCode(StrEnum):
    """Why a prompt is refused, for logs and tests."""

    PROMPT_TOO_LONG = "prompt_too_long"
    BLOCKED_WORD = "blocked_word"
    BLOCKED_PATTERN = "blocked_pattern"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    TOO_MANY_STEPS = "too_many_steps"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_IMAGES = "too_many_images"
    TOO_MANY_REPEATS = "too_many_repeats"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A refusal: its code, and the sentence for the person who asked."""

    code: RefusalCode
    text: str


def check_length(text: str, limits: LimitsConfig) -> Refusal | None:
    """Refuse a prompt that is longer than allowed, counted as Discord counts."""
    length = utf16_length(text)
    if length <= limits.max_prompt:
        return None
    told = texts.prompt_too_long(length=length, limit=limits.max_prompt)
    return Refusal(code=RefusalCode.PROMPT_TOO_LONG, text=told)


def check_words(
    prompt: str,
    moderation: ModerationConfig,
    *,
    guild_id: int | None = None,
    channels: Collection[int] = (),
) -> Refusal | None:
    """Refuse a prompt with something blocked in it, here or everywhere.

    What it says `--no` to may be any. `channels` are the channel and what it is a thread of.
    """
    for one in _lists(moderation, guild_id, channels):
        word = blocked_word(prompt, one.blocked_words)
        if word is not None:
            return Refusal(code=RefusalCode.BLOCKED_WORD, text=texts.blocked_word(word))
        pattern = blocked_pattern(prompt, one.blocked_patterns)
        if pattern is not None:
            told = texts_community.blocked_pattern(pattern)
            return Refusal(code=RefusalCode.BLOCKED_PATTERN, text=told)
    return None


def check_model(alias: str, allowed: Collection[str] | None) -> Refusal | None:
    """Refuse a model that is not among those allowed; None allows all."""
    if allowed is None or alias in allowed:
        return None
    told = texts_community.model_not_allowed(alias, sorted(allowed))
    return Refusal(code=RefusalCode.MODEL_NOT_ALLOWED, text=told)


def check_params(
    params: Sequence[Params],
    limits: LimitsConfig,
    *,
    images: int = MAX_IMAGES,
    runs: int | None = None,
) -> Refusal | None:
    """Refuse runs that cost more than one prompt may, also those of older, larger settings.

    `runs` are the most there may be, where a prompt stands for several.
    """
    most = limits.max_repeat if runs is None else runs
    if len(params) > most:
        told = texts.too_many_repeats(repeats=len(params), limit=most)
        return Refusal(code=RefusalCode.TOO_MANY_REPEATS, text=told)
    for one in params:
        refusal = _check_one(one, limits, images)
        if refusal is not None:
            return refusal
    return None


def _check_one(params: Params, limits: LimitsConfig, images: int) -> Refusal | None:
    if params.steps > limits.max_steps:
        told = texts.too_many_steps(steps=params.steps, limit=limits.max_steps)
        return Refusal(code=RefusalCode.TOO_MANY_STEPS, text=told)
    if params.width * params.height > limits.max_pixels:
        told = texts.too_many_pixels(
            width=params.width, height=params.height, limit=limits.max_pixels
        )
        return Refusal(code=RefusalCode.TOO_MANY_PIXELS, text=told)
    if params.images > images:
        told = texts.too_many_images(images=params.images, limit=images)
        return Refusal(code=RefusalCode.TOO_MANY_IMAGES, text=told)
    return None


def blocked_word(text: str, words: Sequence[str]) -> str | None:
    """Return the first blocked word or phrase a text contains, as the list spells it."""
    plain = _plain(text)
    for word in words:
        parts = _plain(word).split()
        # Looking for the letters first keeps long lists cheap.
        if parts and all(part in plain for part in parts) and _pattern(parts).search(plain):
            return word
    return None


def blocked_pattern(text: str, patterns: Sequence[str]) -> str | None:
    """Return the first pattern that a text matches, as it is typed or without its disguises."""
    if not patterns:
        return None
    plain = _plain(text)
    for pattern in patterns:
        found = compiled(pattern)
        if found.search(plain) or found.search(text):
            return pattern
    return None


def _lists(
    moderation: ModerationConfig, guild_id: int | None, channels: Collection[int]
) -> list[ModerationConfig | PlaceWords]:
    found: list[ModerationConfig | PlaceWords] = [moderation]
    places = [moderation.guilds.get(str(guild_id))]
    places += [moderation.channels.get(str(channel)) for channel in channels]
    return found + [place for place in places if place is not None]


def _plain(text: str) -> str:
    """Fold case, widths, accents and invisible signs, which people use to slip past a list."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = _ACCENTS.sub("", unicodedata.normalize("NFKD", folded))
    folded = re.sub(r"\s+", " ", folded)
    return "".join(sign for sign in folded if unicodedata.category(sign) not in {"Cf", "Cc"})


def _pattern(parts: Sequence[str]) -> re.Pattern[str]:
    """Write the pattern of a word: whole words only, any space between those of a phrase."""
    middle = r"[\s_-]+".join(map(re.escape, parts))
    if _UNSPACED.search(middle):
        return re.compile(middle)
    return re.compile(rf"(?<![^\W_]){middle}(?![^\W_])")
