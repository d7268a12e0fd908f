"""What captions say about two things, or about several of one.

Promises: a phrase is true of the layout it is given; the choice between true phrases comes from the
caller's generator.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from diffusion.train.compose.colours import HUES, ComposeError
from diffusion.train.compose.composition import Relation
from diffusion.train.compose.words import (
    COUNTS,
    coloured,
    is_countable,
    plural,
    spoken,
    with_article,
)

RELATIONS: Final = tuple(Relation)
# People leave articles out when they list things.
_BARE: Final = 0.25


def count_phrase(count: int, name: str) -> str:
    """Return "three apples"; ComposeError for a count without a word or a name without plural."""
    if count not in COUNTS:
        raise ComposeError(f"there is no word for {count}; use one of {tuple(COUNTS)}.")
    return f"{COUNTS[count]} {plural(name)}"


def pair_phrase(first: str, second: str, relation: Relation) -> str:
    """Return the plain phrase for a pair; `first` is the left or the upper one."""
    joint = "next to" if relation is Relation.BESIDE else "above"
    return f"{with_article(first)} {joint} {with_article(second)}"


def sample_pair_phrase(
    first: str, second: str, relation: Relation, rng: np.random.Generator
) -> str:
    """Draw one of the phrases that are true of a pair; `first` is the left or the upper one.

    Beside: "X next to Y" and "X and Y", in both orders. Stacked: "X above Y", "Y below X", and
    "X and Y" in both orders.
    """
    say = spoken if rng.random() < _BARE else with_article
    swapped = rng.random() < 0.5
    one, other = (second, first) if swapped else (first, second)
    joint = "next to"
    if relation is Relation.STACKED:
        joint = "below" if swapped else "above"
    if rng.random() < 1 / 3:
        joint = "and"
    return f"{say(one)} {joint} {say(other)}"


def corpus(names: Iterable[str], seed: int = 0) -> list[str]:
    """Return phrases to train a tokenizer on: every word that captions of compositions may have."""
    rng = np.random.default_rng(seed)
    known = sorted(set(names))
    texts = []
    for name in known:
        other = known[int(rng.integers(len(known)))]
        hue = HUES[int(rng.integers(len(HUES)))]
        texts += [
            sample_pair_phrase(name, other, RELATIONS[int(rng.integers(len(RELATIONS)))], rng),
            coloured(name, hue.name),
            f"tiny {spoken(name)}",
            f"small {spoken(name)}",
        ]
        if is_countable(name):
            texts += [count_phrase(count, name) for count in COUNTS]
    return texts
