"""Combinations that training never shows, and prompts that ask for them.

Promises: a fixed 5 % of (colour, noun), of unordered (noun, noun) and of (count, noun), decided by
a hash of words alone, as `data.is_held_out` does; lists in the order of that hash, so a longer
list begins with the shorter one. A noun is a name without its colour (see `words.noun`), or
"purple apple" would be held out for red apples and trained from green ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from diffusion.train.compose.composition import Kind, Relation
from diffusion.train.compose.phrases import RELATIONS, count_phrase, pair_phrase
from diffusion.train.compose.words import (
    COUNTS,
    coloured,
    coloured_nouns,
    is_countable,
    noun,
    with_article,
)
from diffusion.train.data import HELD_OUT_PERCENT, fraction_of

# Its hue is orange's: the measure by hue cannot tell whether it was painted.
_NO_HUE_OF_ITS_OWN = frozenset({"brown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """A prompt that training never showed, and what its picture must show.

    names: for each thing, left or upper first, the names of drawings that are right.
    """

    prompt: str
    kind: Kind
    names: tuple[tuple[str, ...], ...]
    colour: str | None = None
    count: int = 1
    relation: Relation | None = None


def _colour_fraction(colour: str, thing: str) -> float:
    return fraction_of("easel held out colour", colour, thing)


def _pair_fraction(one: str, other: str) -> float:
    return fraction_of("easel held out pair", *sorted((one, other)))


def _count_fraction(count: int, thing: str) -> float:
    return fraction_of("easel held out count", str(count), thing)


def is_colour_held_out(colour: str, name: str) -> bool:
    """Say whether a name in a colour is kept from training; never so for an emoji of its own."""
    thing = noun(name)
    if (colour, thing) in coloured_nouns():
        return False
    return _colour_fraction(colour, thing) < HELD_OUT_PERCENT / 100


def is_pair_held_out(one: str, other: str) -> bool:
    """Say whether two names together, in any order and place, are kept from training."""
    return _pair_fraction(noun(one), noun(other)) < HELD_OUT_PERCENT / 100


def is_count_held_out(count: int, name: str) -> bool:
    """Say whether `count` of a name are kept from training."""
    return _count_fraction(count, noun(name)) < HELD_OUT_PERCENT / 100


def _by_noun(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names by noun, each group in the order of the alphabet."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(noun(name), []).append(name)
    return groups


def held_out_colours(pairs: Iterable[tuple[str, str]], limit: int) -> list[Combination]:
    """List at most `limit` held-out combinations among (colour, name) pairs.

    The pairs say what can be painted at all: take `Stock.colour_pairs`.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for colour, name in sorted(set(pairs)):
        if colour not in _NO_HUE_OF_ITS_OWN and is_colour_held_out(colour, name):
            groups.setdefault((colour, noun(name)), []).append(name)
    order = sorted(groups, key=lambda key: _colour_fraction(*key))
    return [
        Combination(
            prompt=with_article(groups[key][0], coloured(groups[key][0], key[0])),
            kind=Kind.RECOLOURED,
            names=(tuple(groups[key]),),
            colour=key[0],
        )
        for key in order[:limit]
    ]


def held_out_pairs(names: Iterable[str], limit: int) -> list[Combination]:
    """List at most `limit` held-out pairs among the names, layouts drawn by hash as well."""
    groups = _by_noun(names)
    keys = [key for key in combinations(sorted(groups), 2) if is_pair_held_out(*key)]
    found = []
    for one, other in sorted(keys, key=lambda key: _pair_fraction(*key))[:limit]:
        relation = RELATIONS[int(fraction_of("easel relation", one, other) * len(RELATIONS))]
        first, second = groups[one][0], groups[other][0]
        prompt = pair_phrase(first, second, relation)
        found.append(
            Combination(
                prompt=prompt, kind=Kind.PAIR, names=((first,), (second,)), relation=relation
            )
        )
    return found


def held_out_counts(names: Iterable[str], limit: int) -> list[Combination]:
    """List at most `limit` held-out (count, name) combinations among the countable names."""
    groups = _by_noun(name for name in names if is_countable(name))
    keys = [(n, thing) for n in COUNTS for thing in groups if is_count_held_out(n, thing)]
    return [
        Combination(
            prompt=count_phrase(count, groups[thing][0]),
            kind=Kind.COUNTED,
            names=((groups[thing][0],),),
            count=count,
        )
        for count, thing in sorted(keys, key=lambda key: _count_fraction(*key))[:limit]
    ]
