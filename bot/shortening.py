"""Which words of a prompt matter, and what is left when the idle ones go.

Promises that the words keep their order and spelling, that every shorter prompt is shorter than the
one before it and keeps the flags, and that the same measurement gives the same prompts. Measures
nothing itself: `Influence` comes from the engine.
"""

from collections.abc import Sequence
from typing import Final

from bot.escape import escape
from diffusion import Influence

# Beside a word's fair part of the attention.
STRONG: Final = 1.25
IDLE: Final = 0.7
# How much of the attention the shorter prompts keep, at least.
_KEPT: Final = (0.9, 0.75, 0.6, 0.45, 0.3)
_JOINING: Final = frozenset({"a", "an", "the", "of", "in", "on", "at", "with", "and", "to"})


def marked(words: Sequence[Influence]) -> str:
    """Write a prompt with its strong words bold and its idle ones struck out."""
    fair = 1 / max(1, len(words))
    return " ".join(_marked(each, fair) for each in words)


def _marked(word: Influence, fair: float) -> str:
    text = escape(word.word, 100)
    if word.share >= STRONG * fair:
        return f"**{text}**"
    return f"~~{text}~~" if word.share <= IDLE * fair else text


def shorter(words: Sequence[Influence], flags: str) -> tuple[str, ...]:
    """Return three to five shorter prompts, the longest first; fewer where words are few."""
    strongest = sorted(range(len(words)), key=lambda place: (-words[place].share, place))
    total = sum(each.share for each in words)
    found: list[str] = []
    for part in _KEPT:
        kept: set[int] = set()
        while sum(words[place].share for place in kept) < part * total:
            kept.add(strongest[len(kept)])
        text = _joined([words[place].word for place in sorted(kept)])
        if text and len(kept) < len(words) and text not in found:
            found.append(text)
    return tuple(f"{text} {flags}".strip() for text in found)


def _joined(words: Sequence[str]) -> str:
    """Join words; what only joined others to them is no end of a prompt."""
    kept = list(words)
    while kept and kept[-1].casefold().strip(",.;:") in _JOINING:
        kept.pop()
    return " ".join(kept).strip(" ,;:")
