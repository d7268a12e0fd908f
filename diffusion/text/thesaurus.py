"""A thesaurus: words that a small model never saw, read as words that it knows.

A model folder may bring a `thesaurus.json` beside its tokenizer:

    {"format": 1,
     "known": ["a", "cat", "dog", "face", "hot dog", ...],    words and phrases of its captions
     "synonyms": {"dog face": ["puppy", "great dane", ...]},  what it knows: what is typed for it
     "plurals": {"dog face": "dogs"}}                         optional: for what is typed in plural

`easel train thesaurus` writes it. The text encoder calls `Thesaurus.read` on every plain piece of a
prompt, after LoRA tags, emphasis, BREAK and embeddings have been taken out, so all of these stay as
typed. Every replacement is a line in the log at level DEBUG.

Promises: the longest phrase counts, whole words, any case, simple plurals; what the model knows and
what nobody knows stays as typed, to the letter; the same text always gives the same text; the time
is linear in its length, whatever it holds. Never: a guess at reading time, or another table than
the model's own.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from diffusion.errors import CheckpointError

THESAURUS_NAME: Final = "thesaurus.json"
FORMAT: Final = 1
MAX_BYTES: Final = 4 << 20

_log = logging.getLogger(__name__)
_WORD: Final = re.compile(r"\w+")
_ARTICLES: Final = frozenset({"a", "an"})


def singulars(word: str) -> Iterator[str]:
    """Yield what a word may be the simple plural of, the likeliest first; nothing for most words.

    "puppies" gives "puppy", "loaves" "loaf" and "loave", "buses" "buse" and "bus".
    """
    if len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return
    if word.endswith("ies"):
        yield f"{word[:-3]}y"
    if word.endswith("ves"):
        yield f"{word[:-3]}f"
        yield f"{word[:-3]}fe"
    yield word[:-1]
    if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        yield word[:-2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thesaurus:
    """What to read for words that the model does not know.

    Phrases are lower-case words with single spaces. `known` is left as typed, `synonyms` gives what
    is read for a phrase, `plurals` what is read instead where the phrase is typed in plural.
    ValueError for a phrase of `synonyms` that is known: it would never be read.
    """

    known: frozenset[str]
    synonyms: Mapping[str, str]
    plurals: Mapping[str, str] = field(default_factory=dict)
    _longest: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = sorted(self.known & self.synonyms.keys())
        if known:
            raise ValueError(f"{known[0]!r} is among the known words and among the synonyms")
        for phrase in (*self.known, *self.synonyms):
            words = phrase.split()
            if words:
                self._longest[words[0]] = max(len(words), self._longest.get(words[0], 0))

    def read(self, text: str) -> str:
        """Return a text with its unknown words replaced; all else is kept to the letter.

        An article right before a replaced phrase is made to fit ("an alligator": "a crocodile").
        """
        found = list(_WORD.finditer(text))
        words = [match[0].lower() for match in found]
        pieces: list[str] = []
        end = place = 0
        while place < len(found):
            count, meant = self._at(text, found, words, place)
            if meant is not None:
                first, last = found[place], found[place + count - 1]
                before = text[end : first.start()]
                if place and words[place - 1] in _ARTICLES:
                    before = _with_article(before, words[place - 1], meant)
                pieces += [before, meant]
                end = last.end()
                if _log.isEnabledFor(logging.DEBUG):
                    typed = " ".join(words[place : place + count])
                    _log.debug("%s is read as %s", typed, meant)
            place += count
        return "".join((*pieces, text[end:])) if pieces else text

    def _at(
        self, text: str, found: list[re.Match[str]], words: list[str], place: int
    ) -> tuple[int, str | None]:
        """Return how many words belong together at a place, and what is read for them, if other."""
        if place and _is_hyphen(text, found, place):
            return 1, None
        # A plural's first word is the singular only where the phrase is that one word.
        room = min(max(1, self._longest.get(words[place], 1)), len(found) - place)
        joined = 1
        while joined < room and _is_joint(text, found, place + joined):
            joined += 1
        for count in range(joined, 0, -1):
            if place + count < len(found) and _is_hyphen(text, found, place + count):
                continue
            phrase = words[place : place + count]
            if " ".join(phrase) in self.known:
                return count, None
            meant = self._meant(phrase)
            if meant is not None:
                return count, meant
        return 1, None

    def _meant(self, phrase: list[str]) -> str | None:
        meant = self.synonyms.get(" ".join(phrase))
        if meant is not None:
            return meant
        ones = [" ".join((*phrase[:-1], singular)) for singular in singulars(phrase[-1])]
        if self.known.intersection(ones):
            # A plural of what it knows is nearer to it than any replacement.
            return None
        meant = next((self.synonyms[one] for one in ones if one in self.synonyms), None)
        return None if meant is None else self.plurals.get(meant, meant)


def _gap(text: str, found: list[re.Match[str]], place: int) -> str:
    return text[found[place - 1].end() : found[place].start()]


def _is_joint(text: str, found: list[re.Match[str]], place: int) -> bool:
    """Whether the word at a place goes on with the phrase of the one before it."""
    gap = _gap(text, found, place)
    return gap == "-" or gap.isspace()


def _is_hyphen(text: str, found: list[re.Match[str]], place: int) -> bool:
    """Whether a hyphen alone is between a word and the one before: they are one word, as x-ray."""
    start = found[place - 1].end()
    return found[place].start() == start + 1 and text[start] == "-"


def _with_article(before: str, article: str, meant: str) -> str:
    """Return the text between two replacements, its last word made "a" or "an" as `meant` wants."""
    spaces = len(before) - len(before.rstrip())
    typed = before[: len(before) - spaces]
    wanted = "an" if meant[0] in "aeiou" else "a"
    if not spaces or article == wanted or not typed.lower().endswith(article):
        return before
    # In the case in which it was typed.
    return (f"{typed}n" if wanted == "an" else typed[:-1]) + before[len(typed) :]


def load_thesaurus(path: Path) -> Thesaurus:
    """Read a model's thesaurus; CheckpointError when the file is not as described above."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is no thesaurus: larger than {MAX_BYTES >> 20} MiB.")
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise CheckpointError(f"{path} has format {data['format']!r:.20}, wanted {FORMAT}.")
        groups = data["synonyms"].items()
        synonyms = {_phrase(word): _phrase(name) for name, words in groups for word in words}
        return Thesaurus(
            known=frozenset(map(_phrase, data["known"])),
            synonyms=synonyms,
            plurals={_phrase(k): _phrase(v) for k, v in data.get("plurals", {}).items()},
        )
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is no thesaurus ({error}). Copy it again from where it came, or delete it: "
            "prompts are then read as typed."
        ) from error


def _phrase(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{value!r:.40} is no phrase")
    return value


def find_thesaurus(folder: Path) -> Thesaurus | None:
    """Return the thesaurus of a model's folder, None where it brings none."""
    path = folder / THESAURUS_NAME
    return load_thesaurus(path) if path.exists() else None
