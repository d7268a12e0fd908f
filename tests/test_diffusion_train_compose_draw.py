"""Compositions drawn for training: nothing held out, captions true of the picture, rates kept."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace
from functools import cache

import numpy as np
import pytest

from diffusion.train.captions import BACKGROUNDS, DEFAULT_RATES, Rates
from diffusion.train.compose import split
from diffusion.train.compose.colours import HUES, ComposeError, from_hsv, named
from diffusion.train.compose.composition import (
    Composition,
    Kind,
    Mix,
    Relation,
    Size,
    sample_caption,
)
from diffusion.train.compose.draw import Stock, draw, make_stock, trained_colours
from diffusion.train.compose.layout import Box
from diffusion.train.compose.measure import hue_share
from diffusion.train.compose.words import COUNTS, coloured_nouns, is_countable, noun, plural
from diffusion.train.data import Row, is_held_out, known_names

STYLES = ("3d", "twemoji")
ALWAYS = Rates(empty=0, by_keywords=0, with_keywords=0, article=1, no_style=0, background=0)
NEVER = replace(ALWAYS, article=0, no_style=1)
SEEDS = range(40)


def make_row(number: int, style: str, name: str, *, weight: float = 1.0) -> Row:
    return Row(
        row=number,
        style=style,
        name=name,
        keywords=("k1", "k2", "k3"),
        group="",
        code_points="",
        icon=name,
        weight=weight,
        flip=name != "mobile phone",
        held_out=is_held_out(style, name),
        unseen_by_judge=False,
    )


def discs(rows: Sequence[Row], size: int = 32) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Draw for each row a disc of its own hue, every tenth gray."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inside = x**2 + y**2 < (0.45 * size) ** 2
    pixels = np.zeros((len(rows), size, size, 4), dtype=np.uint8)
    for i in range(len(rows)):
        colour = np.array([i * 37 % 360, 0.0 if i % 10 == 9 else 0.8, 0.85])
        pixels[i, inside] = (*np.rint(from_hsv(colour)).astype(int), 255)
    return pixels


def stock_of(names: Sequence[str], styles: Sequence[str] = STYLES) -> Stock:
    rows = [
        make_row(i, style, name)
        for i, (style, name) in enumerate((style, name) for style in styles for name in names)
    ]
    return make_stock(discs(rows), rows)


@cache
def stock() -> Stock:
    return stock_of(known_names())


def only(kind: Kind) -> Mix:
    return Mix(**{each.value: float(each is kind) for each in Kind})


@cache
def drawn(kind: Kind) -> tuple[Composition, ...]:
    """Draw many compositions of a kind, over many seeds."""
    found = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        found += [draw(stock(), rng, only(kind)) for _ in range(25)]
    return tuple(found)


def caption(composition: Composition, rates: Rates = ALWAYS) -> str:
    return sample_caption(composition, np.random.default_rng(0), rates=rates)


def test_rates_are_probabilities_that_sum_to_one() -> None:
    assert sum(Mix().values()) == pytest.approx(1)
    with pytest.raises(ComposeError, match=r"pair=1\.5 is not a probability"):
        Mix(pair=1.5)
    with pytest.raises(ComposeError, match=r"sized=-0\.1 is not a probability"):
        Mix(sized=-0.1)
    with pytest.raises(ComposeError, match=r"sum to 1\.5"):
        Mix(plain=1.0)
    with pytest.raises(ComposeError, match="nan is not"):
        Mix(plain=float("nan"))


def test_the_rates_stand_in_the_order_of_the_kinds() -> None:
    for kind in Kind:
        assert only(kind).values()[tuple(Kind).index(kind)] == 1.0
        assert draw(stock(), np.random.default_rng(0), only(kind)).kind is kind


def test_kinds_are_drawn_at_their_rates() -> None:
    mix = Mix(plain=0.4, recoloured=0.3, pair=0.15, counted=0.1, sized=0.05)
    rng = np.random.default_rng(1)
    kinds = Counter(draw(stock(), rng, mix).kind for _ in range(3000))
    for kind, rate in zip(Kind, mix.values(), strict=True):
        assert kinds[kind] / 3000 == pytest.approx(rate, abs=0.035)


def test_the_same_generator_draws_the_same() -> None:
    one, other = (draw(stock(), np.random.default_rng(9)) for _ in range(2))
    assert one.subject == other.subject
    np.testing.assert_array_equal(one.canvas, other.canvas)
    with pytest.raises(FrozenInstanceError):
        one.subject = "x"  # type: ignore[misc]


def test_no_held_out_drawing_is_ever_used() -> None:
    held_out = {(s, n) for s in STYLES for n in known_names() if is_held_out(s, n)}
    assert len(held_out) > 10
    for kind in Kind:
        for composition in drawn(kind):
            assert not held_out & {(row.style, row.name) for row in composition.rows}


def test_rows_marked_as_held_out_are_dropped_too() -> None:
    rows = [make_row(0, "3d", "red heart"), replace(make_row(1, "3d", "cat face"), held_out=True)]
    assert [row.name for row in make_stock(discs(rows), rows).rows] == ["red heart"]
    with pytest.raises(ComposeError, match="no drawing"):
        make_stock(discs(rows), rows[1:])


def test_rows_that_words_hold_out_are_dropped_whatever_they_are_marked() -> None:
    name = next(name for name in known_names() if is_held_out("3d", name))
    rows = [make_row(0, "3d", "red heart"), replace(make_row(1, "3d", name), held_out=False)]
    assert [row.name for row in make_stock(discs(rows), rows).rows] == ["red heart"]


def test_no_held_out_combination_is_ever_drawn() -> None:
    # Built from the lists for the evaluation, not from the functions that drawing itself asks.
    everything = 10**6
    colours = {
        (c.colour, noun(c.names[0][0]))
        for c in split.held_out_colours(
            ((hue.name, name) for hue in HUES for name in known_names()), everything
        )
    }
    pairs = {
        frozenset(noun(names[0]) for names in c.names)
        for c in split.held_out_pairs(known_names(), everything)
    }
    counts = {
        (c.count, noun(c.names[0][0])) for c in split.held_out_counts(known_names(), everything)
    }
    assert len(colours) > 50 and len(pairs) > 1000 and len(counts) > 20
    for composition in drawn(Kind.RECOLOURED):
        assert (composition.colour, noun(composition.names[0])) not in colours
    for composition in drawn(Kind.PAIR):
        assert frozenset(map(noun, composition.names)) not in pairs
    for composition in drawn(Kind.COUNTED):
        assert (composition.count, noun(composition.names[0])) not in counts


def test_a_stock_of_held_out_combinations_alone_draws_none() -> None:
    pair = split.held_out_pairs(known_names(), 10**6)
    both = next(c.names for c in pair if not any(is_held_out("3d", n[0]) for n in c.names))
    little = stock_of([both[0][0], both[1][0]], ["3d"])
    with pytest.raises(ComposeError, match="none of 2 drawings can be pair"):
        draw(little, np.random.default_rng(0), only(Kind.PAIR))
    with pytest.raises(ComposeError, match="can be counted"):
        draw(stock_of(["fire", "grapes"]), np.random.default_rng(0), only(Kind.COUNTED))


def test_a_recoloured_drawing_is_no_held_out_emoji() -> None:
    """A blue heart from a red one is out where that style's "blue heart" is held out."""
    hearts = [f"{hue.name} heart" for hue in HUES if (hue.name, "heart") in coloured_nouns()]
    assert len(hearts) == 8
    # Teal hearts are no emoji: they go by the split of combinations.
    assert not split.is_colour_held_out("teal", "heart")
    styles = [f"style {i}" for i in range(40)]
    held_out = {(style, name) for style in styles for name in hearts if is_held_out(style, name)}
    assert held_out
    for style in styles:
        row = make_row(0, style, "red heart")
        left = set(trained_colours(row, [hue.name for hue in HUES]))
        missing = {(style, f"{hue.name} heart") for hue in HUES if hue.name not in left}
        assert missing == {pair for pair in held_out if pair[0] == style}


def test_both_parts_of_a_pair_have_one_style_and_are_different_things() -> None:
    styles = set()
    for composition in drawn(Kind.PAIR):
        first, second = composition.rows
        assert first.style == second.style == composition.style
        assert noun(first.name) != noun(second.name)
        styles.add(first.style)
    assert styles == set(STYLES)


def test_parts_never_overlap_and_nothing_lies_outside_the_boxes() -> None:
    for kind in Kind:
        for composition in drawn(kind):
            canvas = composition.canvas
            assert canvas.shape == (32, 32, 4) and canvas.dtype == np.uint8
            covered = np.zeros((32, 32), dtype=int)
            for box in composition.boxes:
                place = slice(box.top, box.top + box.side), slice(box.left, box.left + box.side)
                covered[place] += 1
                assert canvas[place][..., 3].any()
            assert covered.max() == 1
            assert not canvas[covered == 0].any()


def usual(composition: Composition, box: Box) -> tuple[int, ...]:
    """Return the colour in the middle of a box: discs are of one colour."""
    middle = box.top + box.side // 2, box.left + box.side // 2
    return tuple(composition.canvas[middle][:3].tolist())


def fill(row: Row) -> tuple[int, ...]:
    return tuple(stock().drawing(row)[16, 16, :3].tolist())


def test_captions_of_pairs_match_their_layouts() -> None:
    relations: Counter[Relation] = Counter()
    joints: Counter[str] = Counter()
    for composition in drawn(Kind.PAIR):
        first, second = composition.boxes
        assert np.abs(np.subtract(usual(composition, first), fill(composition.rows[0]))).max() <= 1
        assert np.abs(np.subtract(usual(composition, second), fill(composition.rows[1]))).max() <= 1
        said = re.fullmatch(r"(.+?) (next to|above|below|and) (.+)", composition.subject)
        assert said is not None
        subjects = [re.sub("^an? ", "", part) for part in (said[1], said[3])]
        names = [name.removesuffix(" face") for name in composition.names]
        in_order = [s.removesuffix(" face") for s in subjects] == names
        if not in_order:
            assert [s.removesuffix(" face") for s in subjects] == names[::-1]
        if composition.relation is Relation.BESIDE:
            assert first.left + first.side <= second.left
            assert said[2] in {"next to", "and"}
        else:
            assert first.top + first.side <= second.top
            assert said[2] == "and" or (said[2] == "above") is in_order
            assert said[2] != "next to"
        assert composition.relation is not None
        relations[composition.relation] += 1
        joints[said[2]] += 1
    assert min(relations.values()) > 0.4 * len(drawn(Kind.PAIR))
    assert set(joints) == {"next to", "above", "below", "and"}
    assert min(joints.values()) > 0.1 * len(drawn(Kind.PAIR))


def test_captions_of_counts_match_their_boxes() -> None:
    seen = set()
    for composition in drawn(Kind.COUNTED):
        name = composition.names[0]
        assert is_countable(name)
        assert len(composition.boxes) == composition.count
        assert composition.subject == f"{COUNTS[composition.count]} {plural(name)}"
        assert caption(composition) == f"{composition.subject}, {composition.style} style"
        seen.add(composition.count)
    assert seen == {2, 3, 4}


def test_captions_of_recoloured_drawings_name_their_hue() -> None:
    seen = set()
    for composition in drawn(Kind.RECOLOURED):
        assert composition.colour is not None
        seen.add(composition.colour)
        on_white = composition.canvas[..., :3].copy()
        on_white[composition.canvas[..., 3] == 0] = 255
        assert hue_share(on_white, named(composition.colour)) == 1.0
        words = composition.subject.split()
        assert [word for word in words if word in {h.name for h in HUES}] == [composition.colour]
    assert seen == {hue.name for hue in HUES}


def test_sizes_are_named_and_kept() -> None:
    shares = {}
    for composition in drawn(Kind.SIZED):
        word = composition.subject.split()[0]
        assert word == composition.size.value
        shares[word] = composition.boxes[0].side / 32
    assert shares == {"tiny": pytest.approx(0.28, abs=0.02), "small": pytest.approx(0.55, abs=0.02)}
    plain = drawn(Kind.PLAIN)[0]
    assert plain.size is Size.NORMAL and Size.NORMAL.share == 1.0
    assert plain.subject == plain.names[0]
    np.testing.assert_array_equal(plain.canvas, stock().drawing(plain.rows[0]))


def test_captions_join_style_and_background_and_drop_parts_at_their_rates() -> None:
    made = drawn(Kind.RECOLOURED)[0]
    orange = next(colour for colour in BACKGROUNDS if colour.name == "orange")
    rng = np.random.default_rng(0)
    said = sample_caption(made, rng, orange, NEVER)
    assert said == f"{made.subject}, on an orange background"
    assert re.fullmatch(rf"(an? )?{made.subject}, {made.style} style", caption(made))
    rates = replace(DEFAULT_RATES, empty=0.2, no_style=0.3)
    texts = [sample_caption(made, rng, rates=rates) for _ in range(3000)]
    assert texts.count("") / 3000 == pytest.approx(0.2, abs=0.03)
    kept = [text for text in texts if text]
    assert sum("style" not in text for text in kept) / len(kept) == pytest.approx(0.3, abs=0.03)
    assert sum(text.startswith("a") for text in kept) / len(kept) == pytest.approx(0.25, abs=0.03)


def test_plain_drawings_keep_their_captions_with_keywords() -> None:
    plain = drawn(Kind.PLAIN)[0]
    texts = {sample_caption(plain, np.random.default_rng(seed)) for seed in range(100)}
    assert any("k1" in text for text in texts)
    assert "" in texts


def test_canvases_are_copies() -> None:
    pixels = stock().pixels.copy()
    for kind in Kind:
        draw(stock(), np.random.default_rng(0), only(kind)).canvas[:] = 7
    np.testing.assert_array_equal(stock().pixels, pixels)


def test_pairs_worth_asking_for_are_those_no_drawing_shows_already() -> None:
    """A red drawing says "pink" to the measure of hue, and a gray one cannot be coloured."""
    rows = [make_row(0, "3d", "bell"), make_row(1, "3d", "key"), make_row(2, "3d", "bell")]
    pixels = np.zeros((3, 8, 8, 4), dtype=np.uint8)
    pixels[0], pixels[1], pixels[2] = (221, 46, 68, 255), (128, 128, 128, 255), (40, 100, 215, 255)
    one, both = make_stock(pixels, rows[:2]), make_stock(pixels, rows)
    every = {hue.name for hue in HUES}
    assert one.colours == (tuple(h.name for h in HUES if h.name != "red"), ())
    assert one.colour_pairs == {(colour, "bell") for colour in every - {"red", "pink"}}
    assert both.colour_pairs == {(colour, "bell") for colour in every - {"red", "pink", "blue"}}


def test_a_name_is_not_given_the_colour_it_says() -> None:
    rows = [make_row(0, "3d", "red apple")]
    pixels = np.zeros((1, 8, 8, 4), dtype=np.uint8)
    pixels[:] = (200, 60, 160, 255)  # nearest to pink, but it is called red
    assert "red" not in make_stock(pixels, rows).colours[0]
    assert "red" in make_stock(pixels, [replace(rows[0], name="rose")]).colours[0]


def test_rows_are_drawn_by_weight_and_mirrored_only_where_all_may() -> None:
    rows = [make_row(0, "3d", "red heart", weight=3.0), make_row(1, "3d", "cat face", weight=1.0)]
    little = make_stock(discs(rows), rows)
    rng = np.random.default_rng(2)
    names = Counter(draw(little, rng, only(Kind.PLAIN)).names[0] for _ in range(2000))
    assert names["red heart"] / 2000 == pytest.approx(0.75, abs=0.04)
    for kind in Kind:
        for composition in drawn(kind):
            assert composition.flip is ("mobile phone" not in composition.names)
