"""The split of combinations: a fixed share by words alone, and the prompts that ask for it."""

from itertools import combinations

import pytest

from diffusion.train.compose import split
from diffusion.train.compose.colours import HUES
from diffusion.train.compose.composition import Kind, Relation
from diffusion.train.compose.words import COUNTS, coloured_nouns, is_countable, noun
from diffusion.train.data import known_names

NAMES = known_names()
NOUNS = sorted({noun(name) for name in NAMES})
COLOURS = [hue.name for hue in HUES]


def test_five_percent_of_each_kind_are_held_out() -> None:
    pairs = list(combinations(NOUNS, 2))
    assert sum(split.is_pair_held_out(*pair) for pair in pairs) / len(pairs) == pytest.approx(
        0.05, abs=0.004
    )
    colours = [(c, n) for c in COLOURS for n in NOUNS if (c, n) not in coloured_nouns()]
    share = sum(split.is_colour_held_out(*each) for each in colours) / len(colours)
    assert share == pytest.approx(0.05, abs=0.012)
    counts = [(c, n) for c in COUNTS for n in NOUNS]
    share = sum(split.is_count_held_out(*each) for each in counts) / len(counts)
    assert share == pytest.approx(0.05, abs=0.025)


def test_the_split_never_moves() -> None:
    """Published figures depend on it: a change of these is a new evaluation."""
    assert [c.prompt for c in split.held_out_counts(NAMES, 3)] == [
        *("two thinking faces", "four trophies", "three parrots")
    ]
    assert [c.prompt for c in split.held_out_pairs(NAMES, 3)] == [
        "a flamingo above a t-shirt",
        "a hammer next to a soft ice cream",
        "a carrot above a hot face",
    ]
    every = [(colour, name) for colour in COLOURS for name in NAMES]
    assert [c.prompt for c in split.held_out_colours(every, 3)] == [
        *("a pink television", "a pink taxi", "orange broccoli")
    ]


def test_pairs_have_no_order_and_names_of_one_noun_stand_together() -> None:
    for one, other in combinations(NAMES[:60], 2):
        assert split.is_pair_held_out(one, other) is split.is_pair_held_out(other, one)
    for colour in COLOURS:
        held_out = {split.is_colour_held_out(colour, n) for n in ("red apple", "green apple")}
        assert len(held_out) == 1
    for count in COUNTS:
        assert split.is_count_held_out(count, "cat") is split.is_count_held_out(count, "cat face")


def test_an_emoji_of_its_own_is_no_held_out_combination() -> None:
    for colour, thing in coloured_nouns():
        assert not split.is_colour_held_out(colour, thing)
    assert any(split._colour_fraction(c, n) < 0.05 for c, n in coloured_nouns())


def test_longer_lists_begin_with_shorter_ones() -> None:
    every = [(colour, name) for colour in COLOURS for name in NAMES]
    for limit in (0, 1, 7):
        assert len(split.held_out_counts(NAMES, limit)) == limit
        assert split.held_out_counts(NAMES, limit) == split.held_out_counts(NAMES, 20)[:limit]
        assert split.held_out_pairs(NAMES, limit) == split.held_out_pairs(NAMES, 20)[:limit]
        assert split.held_out_colours(every, limit) == split.held_out_colours(every, 20)[:limit]
    backwards = split.held_out_pairs(NAMES[::-1], 20)
    assert backwards == split.held_out_pairs(NAMES, 20)


def test_prompts_say_what_must_be_seen() -> None:
    every = [(colour, name) for colour in COLOURS for name in NAMES]
    for item in split.held_out_colours(every, 10**6):
        assert item.kind is Kind.RECOLOURED
        assert item.colour is not None and item.colour != "brown"
        assert f"{item.colour} {noun(item.names[0][0])}" in item.prompt
        assert {noun(name) for name in item.names[0]} == {noun(item.names[0][0])}
    layouts = set()
    for item in split.held_out_pairs(NAMES, 200):
        joint = " next to " if item.relation is Relation.BESIDE else " above "
        first, second = item.prompt.split(joint)
        for part, names in ((first, item.names[0]), (second, item.names[1])):
            assert part.endswith((names[0].removesuffix(" face"), names[0]))
        layouts.add(item.relation)
    assert layouts == set(Relation)
    for item in split.held_out_counts(NAMES, 10**6):
        assert item.prompt.startswith(COUNTS[item.count])
        assert is_countable(item.names[0][0])


def test_the_name_that_a_prompt_uses_does_not_depend_on_their_order() -> None:
    names = [f"{colour} heart" for colour in COLOURS]
    assert split._by_noun(names) == split._by_noun(names[::-1]) == {"heart": sorted(names)}


def test_all_names_of_a_noun_are_right_for_a_colour() -> None:
    thing = next(
        f"thing {i}" for i in range(1000) if split.is_colour_held_out("teal", f"thing {i}")
    )
    pairs = [("teal", f"red {thing}"), ("teal", f"green {thing}"), ("brown", thing)]
    (found,) = split.held_out_colours(pairs, 5)
    assert found.names == ((f"green {thing}", f"red {thing}"),)
    assert found.prompt == f"teal {thing}"
    assert found.colour == "teal"


def test_hues_that_cannot_be_measured_are_held_out_but_not_listed() -> None:
    thing = next(
        f"thing {i}" for i in range(999) if split.is_colour_held_out("brown", f"thing {i}")
    )
    assert split.held_out_colours([("brown", thing)], 5) == []
