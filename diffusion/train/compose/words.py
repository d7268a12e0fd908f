"""The English of compositions: colours in names, articles, plurals, and when there is none.

Promises: words from words alone, no picture needed; `noun` names what a combination is about, so
that "red apple" and "green apple" are one noun, and "cat face" is the "cat" that people type.
Never: a plural guessed for a name outside the committed list.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import Final

from diffusion.train.captions import BACKGROUNDS
from diffusion.train.compose.colours import HUES, ComposeError
from diffusion.train.data import known_names

COUNTS: Final = MappingProxyType({2: "two", 3: "three", 4: "four"})

# "light blue" comes before "blue": the longest is replaced.
_COLOUR_WORDS: Final = tuple(
    sorted((*(c.name for c in BACKGROUNDS), "white", "grey"), key=lambda w: (-len(w), w))
)
_ANIMAL_FACES: Final = frozenset(
    {"cat face", "dog face", "mouse face", "rabbit face", "tiger face", "cow face", "pig face"}
    | {"monkey face", "horse face", "dragon face"}
)
# Emoji whose own name says one of the hues: plain drawings teach these, so nothing can hold them
# out as combinations. A constant, because the split depends on words alone.
COLOURED_NAMES: Final = frozenset(
    {f"{colour} heart" for colour in ("red", "orange", "yellow", "green", "blue", "purple", "pink")}
    | {f"{colour} circle" for colour in ("red", "orange", "yellow", "green", "blue", "purple")}
    | {f"{colour} square" for colour in ("red", "orange", "yellow", "green", "blue", "purple")}
    | {"brown heart", "brown circle", "brown square", "brown mushroom", "hollow red circle"}
    | {"red apple", "green apple", "green salad", "green book", "blue book", "orange book"}
    | {"red envelope", "red wine glass", "red paper lantern", "mahjong red dragon"}
    | {"person red hair", "red exclamation mark", "red question mark", "red triangle pointed up"}
    | {"red triangle pointed down", "large blue diamond", "small blue diamond"}
    | {"large orange diamond", "small orange diamond"}
)

# Stuff, games, states and gestures: "two breads" and "a locked" are no English.
_UNCOUNTED: Final = frozenset(
    {"bread", "fire", "sushi", "broccoli", "cooking", "tennis", "high voltage", "thumbs up"}
    | {"locked", "hourglass done"}
)
_IRREGULAR: Final = MappingProxyType(
    {"mouse": "mice", "wolf": "wolves", "leaf": "leaves", "die": "dice", "cactus": "cacti"}
    | {"shrimp": "shrimp", "ox": "oxen", "goose": "geese", "foot": "feet", "tooth": "teeth"}
    | {"knife": "knives", "loaf": "loaves", "person": "people", "child": "children"}
    | {"sheep": "sheep", "deer": "deer"}
    | {"potato": "potatoes", "tomato": "tomatoes", "volcano": "volcanoes"}
)
_HEAD_ENDS: Final = (" with ", " without ", " of ", " showing ", " in ", " on ")
# Spelled with a vowel, spoken with a consonant.
_CONSONANT_SOUND: Final = ("uni", "eu", "ewe", "one")


def split_colour(name: str) -> tuple[str | None, str]:
    """Return the colour word in a name, None without one, and the rest of the name.

    At the end of a name a colour is a thing: "orange", the fruit, and "leafy green".
    """
    padded = f" {name} "
    for word in _COLOUR_WORDS:
        if f" {word} " in padded and not padded.endswith(f" {word} "):
            return word, " ".join(padded.replace(f" {word} ", " ", 1).split())
    return None, name


def spoken(name: str) -> str:
    """Return what people call the thing: "cat" for "cat face", else the name."""
    return name.removesuffix(" face") if name in _ANIMAL_FACES else name


def noun(name: str) -> str:
    """Return the thing without colour, on which the split of combinations is decided."""
    return split_colour(spoken(name))[1]


def coloured(name: str, colour: str) -> str:
    """Return the name with a colour: its own colour word is replaced, or one is put in front."""
    if colour not in {hue.name for hue in HUES}:
        raise ComposeError(f"{colour!r} is no named hue.")
    word, rest = split_colour(spoken(name))
    if word is None:
        return f"{colour} {rest}"
    return f" {name} ".replace(f" {word} ", f" {colour} ", 1).strip()


@cache
def coloured_nouns() -> frozenset[tuple[str, str]]:
    """Return (colour, noun) of every emoji whose own name says a hue."""
    found = set()
    for name in COLOURED_NAMES:
        colour, rest = split_colour(name)
        if colour is not None:
            found.add((colour, rest))
    return frozenset(found)


def head(name: str) -> str:
    """Return the part of a name that takes the plural: "ear" of "ear of corn"."""
    ends = [name.index(end) for end in _HEAD_ENDS if end in name]
    return name[: min(ends)] if ends else name


def is_plural(name: str) -> bool:
    """Say whether the head of a name is a plural already ("grapes", "eyes", "glasses")."""
    word = head(name).split()[-1]
    return word.endswith("s") and not word.endswith(("ss", "us", "is", "as"))


@cache
def _committed() -> frozenset[str]:
    return frozenset(known_names())


def is_countable(name: str) -> bool:
    """Say whether "two ..." of a name is English.

    Rule: it is in the committed list of names, its head is no plural already, and it is none of the
    few names of stuff, games, states and gestures.
    """
    return name in _committed() and not is_plural(name) and name not in _UNCOUNTED


def plural(name: str) -> str:
    """Return the plural of a countable name as spoken; ComposeError for any other."""
    if not is_countable(name):
        raise ComposeError(f"{name!r} has no plural here: not listed, plural already, or stuff.")
    said = spoken(name)
    first = head(said)
    start, _, last = first.rpartition(" ")
    return " ".join(part for part in (start, _plural_word(last)) if part) + said[len(first) :]


def _plural_word(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("fish"):
        return word
    if word.endswith("man"):
        return word[:-2] + "en"
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word + "s"


def with_article(name: str, phrase: str | None = None) -> str:
    """Put "a" or "an" in front of `phrase` (else what `name` is called) where English wants one.

    Names that cannot be counted, and those outside the committed list, keep none.
    """
    said = phrase if phrase is not None else spoken(name)
    if not is_countable(name):
        return said
    vowel = said[0] in "aeiou" and not said.startswith(_CONSONANT_SOUND)
    return f"{'an' if vowel else 'a'} {said}"
