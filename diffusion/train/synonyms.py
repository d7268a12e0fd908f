"""A hundred synonyms of the known names, kept out of every caption to measure with.

Promises: words a speaker would type for something the shipped model paints, chosen by hand before
any thesaurus was opened, none of them a word of a known name. Never: an entry that a caption, a
table or a threshold is made from: a measure stays one only while nothing is tuned on it.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_WORDS: Final = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Synonym:
    """What somebody types, and every known name that would be a right picture of it."""

    word: str
    names: tuple[str, ...]


@cache
def synonyms() -> tuple[Synonym, ...]:
    """Return the committed list of a hundred."""
    path = Path(__file__).with_name("synonyms.json")
    groups = json.loads(path.read_text("utf-8")).values()
    return tuple(Synonym(word=w, names=tuple(n)) for group in groups for w, n in group.items())


def is_kept_out(keyword: str) -> bool:
    """Say whether a keyword of captions holds one of the words, whole, in any case or plural.

    "puppy dog", "PUPPIES" and "puppy-like" are kept out; "cabbage" is not, though "cab" is listed.
    """
    words = tuple(_WORDS.findall(keyword.lower()))
    forms = _forms()
    runs = range(1, max(map(len, forms)) + 1)
    return any(words[i : i + n] in forms for n in runs for i in range(len(words) - n + 1))


@cache
def _forms() -> frozenset[tuple[str, ...]]:
    phrases = (tuple(_WORDS.findall(synonym.word)) for synonym in synonyms())
    return frozenset((*phrase[:-1], last) for phrase in phrases for last in _numbers(phrase[-1]))


def _numbers(word: str) -> set[str]:
    """Return a word with its simple plurals and, where it is one itself, its singular."""
    forms = {word, f"{word}s", f"{word}es"}
    if word.endswith("y"):
        forms.add(f"{word[:-1]}ies")
    if word.endswith("f"):
        forms.add(f"{word[:-1]}ves")
    if word.endswith("s"):
        forms.add(word[:-1])
    return forms
