"""Which words of a prompt matter, and what is left when the idle ones go.

Promises that the words keep their order and spelling (but for "a" and "an"), that a noun stays with
what is said of it, that every shorter prompt is shorter than the one before it and keeps LoRA tags
and flags, and that the same measurement gives the same prompts. Measures nothing itself:
`Influence` comes from the engine.

## Why praise is never bold
A model that was taught "a red heart" and not "a lovely red heart" paints another picture of the
second: what an unknown word changes is measured, and is an accident. It is no reason to keep it.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Final

from bot.escape import escape
from diffusion import Influence

# Beside a word's fair part of the influence: what `tests.benchmarks.influence` found to tell apart
# words that change a picture more, and less than half as much, as the mean.
STRONG: Final = 1.25
IDLE: Final = 0.5
# How much of the influence the shorter prompts keep, at least.
_KEPT: Final = (0.9, 0.7, 0.5)
_ARTICLES: Final = frozenset({"a", "an", "the"})
_JOINING: Final = _ARTICLES | {
    "of", "in", "on", "at", "with", "without", "and", "or", "to", "by", "for", "from", "under",
    "over", "near", "into", "onto", "wearing", "holding",
}  # fmt: skip
_PRAISE: Final = frozenset({
    "amazing", "awesome", "beautiful", "breathtaking", "fantastic", "gorgeous", "incredible",
    "just", "lovely", "magnificent", "nice", "perfect", "please", "pretty", "quite", "rather",
    "really", "so", "stunning", "superb", "truly", "very", "wonderful",
})  # fmt: skip
# Joins that stay between what they join; others become a comma.
_BONDS: Final = ("of", "and")
# What is no picture by itself.
_SETTING: Final = frozenset({"background", "backdrop", "style"})
_TAG: Final = re.compile(r"<lora:[^<>]*>")
_EDGES: Final = " ,.;:"


def marked(words: Sequence[Influence]) -> str:
    """Write a prompt with its strong words bold and its idle ones struck out."""
    fair = 1 / max(1, len(words))
    return " ".join(_marked(each, fair) for each in words)


def _marked(word: Influence, fair: float) -> str:
    text = escape(word.word, 100)
    if word.share >= STRONG * fair and not _is(word, _PRAISE):
        return f"**{text}**"
    return f"~~{text}~~" if word.share <= IDLE * fair else text


def shorter(words: Sequence[Influence], flags: str) -> tuple[str, ...]:
    """Return up to five shorter prompts, the longest first; fewer where words are few."""
    tags = [each.word for each in words if _TAG.fullmatch(each.word)]
    spoken = [each for each in words if not _TAG.fullmatch(each.word)]
    phrases = _phrases(spoken)
    before = len(" ".join(each.word for each in spoken))
    found: list[str] = []
    for text in (_tidied(spoken, phrases), *_cut(spoken, phrases)):
        if text and len(text) < before and _is_balanced(text):
            found.append(" ".join((text, *tags, flags)).strip())
            before = len(text)
    return tuple(found)


def _phrases(words: Sequence[Influence]) -> list[list[int]]:
    """Return the places of what is neither praise nor joins others, as phrases: each ends in what
    it is about.
    """
    praise = _PRAISE if any(not _is(each, _PRAISE | _JOINING) for each in words) else frozenset()
    phrases: list[list[int]] = [[]]
    for place, each in enumerate(words):
        if _is(each, _JOINING):
            phrases.append([])
            continue
        if not _is(each, praise):
            phrases[-1].append(place)
        if each.word[-1] in _EDGES:
            phrases.append([])
    return [phrase for phrase in phrases if phrase]


def _tidied(words: Sequence[Influence], phrases: Sequence[Sequence[int]]) -> str:
    """Leave out praise, and what is said idly of something."""
    idle = IDLE / max(1, len(words))
    kept = {
        place
        for phrase in phrases
        for place in phrase
        if place == phrase[-1] or words[place].share > idle
    }
    kept |= {place for place, each in enumerate(words) if _is(each, _JOINING)}
    text, gone = "", False
    for place in range(len(words) - 1, -1, -1):
        word = words[place].word
        if place not in kept:
            gone = True
            continue
        if gone and word.casefold() in {"a", "an"}:
            word = word[0] + ("n" if text[:1].casefold() in set("aeiou") else "")
        text, gone = f"{word} {text}".strip(), False
    return text.strip(_EDGES)


def _cut(words: Sequence[Influence], phrases: Sequence[Sequence[int]]) -> Iterator[str]:
    """Yield ever fewer of the strongest words, in the end one that is a picture by itself."""
    heads = {place: phrase[-1] for phrase in phrases for place in phrase}
    strongest = sorted(heads, key=lambda place: (-words[place].share, place))
    total = sum(words[place].share for place in heads)

    def is_thing(place: int) -> bool:
        # "black" of "black and white ball" is none.
        goes_on = any(_is(each, {"and"}) for each in words[place + 1 : place + 2])
        return heads[place] == place and not goes_on and not _is(words[place], _SETTING)

    for part in _KEPT:
        kept: set[int] = set()
        for place in strongest:
            if kept and sum(words[one].share for one in kept) >= part * total:
                break
            kept |= {place, heads[place]}
        yield _joined(words, kept, heads)
    yield next((words[place].word.strip(_EDGES) for place in strongest if is_thing(place)), "")


def _joined(words: Sequence[Influence], kept: Collection[int], heads: dict[int, int]) -> str:
    """Join words; what stood between two phrases is their bond, or a comma."""
    places = sorted(kept)
    text = words[places[0]].word if places else ""
    for before, place in pairwise(places):
        between = {each.word.casefold() for each in words[before + 1 : place]}
        bond = next((f" {each} " for each in _BONDS if each in between), ", ")
        joint = " " if heads[before] == heads[place] else bond
        text = f"{text.rstrip(_EDGES)}{joint}{words[place].word}"
    return text.strip(_EDGES)


def _is(word: Influence, table: Collection[str]) -> bool:
    return word.word.casefold().strip(_EDGES) in table


def _is_balanced(text: str) -> bool:
    """Whether no bracket lost its other half with the words that went."""
    return all(text.count(opening) == text.count(end) for opening, end in ("()", "[]", "{}"))
