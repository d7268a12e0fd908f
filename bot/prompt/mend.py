"""Small tools for mending a text: the nearest known name, and one piece put in place of another."""

import difflib
from collections.abc import Iterable
from typing import Final

SHOWN: Final = 40
_ALIKE: Final = 0.6


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the known name that looks most like the word, or None when none does."""
    known, word = list(names), word[:SHOWN]
    # Swapped letters are the commonest slip, and in short names difflib sees nothing alike.
    swapped = [name for name in known if sorted(name) == sorted(word)]
    # What shares too few letters cannot be alike, and is told quicker here than by difflib.
    able = [name for name in known if _common(word, name) >= _ALIKE * (len(word) + len(name)) / 2]
    found = swapped or difflib.get_close_matches(word, able, n=1, cutoff=_ALIKE)
    return found[0] if found else None


def _common(word: str, name: str) -> int:
    return sum(letter in word for letter in name)


def clip(text: str) -> str:
    """Shorten a typed value for use inside a sentence."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def splice(text: str, start: int, end: int, piece: str) -> str:
    """Put a piece in place of text[start:end], with single spaces at the seams."""
    before, after = text[:start].rstrip(), text[end:].lstrip()
    return " ".join(part for part in (before, piece.strip(), after) if part)
