"""The words of a prompt and how much each counts. Never imports torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_WORD: Final = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Influence:
    """How much one word of a prompt counts: `prompt[start:end]` is the word.

    `share` is its part of what all words do to the cross-attention; those of a prompt sum to 1.
    """

    word: str
    start: int
    end: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """Tokens of a prompt, the text encoder's windows it takes, and the words beyond the first."""

    tokens: int
    windows: int
    later: str = ""


def words_of(prompt: str) -> tuple[tuple[int, int], ...]:
    """Return where each word of a prompt starts and ends; white space parts words."""
    return tuple(match.span() for match in _WORD.finditer(prompt))


def without(prompt: str, words: Sequence[Influence]) -> str:
    """Return a prompt without some of its words, single spaces between the others."""
    gone = {(word.start, word.end) for word in words}
    return " ".join(
        prompt[start:end] for start, end in words_of(prompt) if (start, end) not in gone
    )
