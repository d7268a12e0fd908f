"""The measures on pictures that are right, and wrong, by construction."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from diffusion.train.captions import BACKGROUNDS
from diffusion.train.compose.colours import named
from diffusion.train.compose.composition import Relation
from diffusion.train.compose.draw import make_stock
from diffusion.train.compose.layout import lay, tidy
from diffusion.train.evaluate import measures
from diffusion.train.evaluate.asks import (
    Ask,
    AskSet,
    ask_backgrounds,
    ask_colours,
    ask_counts,
    ask_drawings,
    ask_pairs,
)
from diffusion.train.evaluate.drawings import on_colour
from diffusion.train.evaluate.measures import (
    Measure,
    Namer,
    measured,
    right_among_any,
    score_chance,
)
from diffusion.train.evaluate.things import count_things, halves, region_areas
from diffusion.train.judge.measure import right_among
from tests.drawn_names import SIZE, STYLES, NearestJudge, drawing, make_drawings


@cache
def namer() -> Namer:
    return Namer(NearestJudge())


@cache
def sets(kind: str) -> AskSet:
    drawings = make_drawings()
    if kind == "trained":
        return ask_drawings("trained", drawings, drawings.trained, 100, 1, 1)
    if kind == "backgrounds":
        return ask_backgrounds(drawings, 100, 1)
    stock = make_stock(drawings.pixels, drawings.trained)
    makers: dict[str, Callable[..., AskSet]]
    makers = {"colours": ask_colours, "pairs": ask_pairs, "counts": ask_counts}
    return makers[kind](stock, 100, 1)


def mean(measure: Measure, pictures: list[Image.Image], asks: tuple[Ask, ...]) -> float:
    return float(measure(pictures, asks).mean())


@pytest.mark.parametrize(
    ("kind", "measure"),
    [
        ("trained", "name"),
        ("trained", "style"),
        ("colours", "hue"),
        ("colours", "shape"),
        ("colours", "hue_and_shape"),
        ("backgrounds", "background"),
        ("pairs", "both"),
        ("counts", "count"),
    ],
)
def test_real_pictures_are_right_and_those_of_others_are_not(kind: str, measure: str) -> None:
    asks = sets(kind).asks
    assert len(asks) > 1
    how = getattr(namer(), measure, None) or getattr(measures, measure)
    real = [[ask.real] for ask in asks]
    assert measured(how, real, asks)[0].mean() == 1.0
    chance = score_chance(how, real, asks, 0)
    assert chance is not None
    assert chance.value < 0.75


def test_a_wrong_colour_is_wrong_and_a_wrong_thing_in_the_right_colour_too() -> None:
    asks = sets("colours").asks
    wrong = {"red": "blue", "pink": "green", "blue": "orange", "teal": "red", "orange": "blue"}
    for ask in asks:
        assert ask.colour is not None
        other = named(wrong.get(ask.colour.name, "teal"))
        moved = replace(ask, colour=other)
        assert mean(measures.hue, [ask.real], (moved,)) == 0
        assert mean(namer().shape, [ask.real], (moved,)) == 1, "the colour is none of its business"
        assert mean(namer().hue_and_shape, [ask.real], (moved,)) == 0
    square = Image.new("RGB", (SIZE, SIZE), "white")
    colour = asks[0].colour
    assert colour is not None
    ImageDraw.Draw(square).rectangle((40, 40, 50, 50), fill=colour.rgb)
    assert mean(measures.hue, [square], asks[:1]) == 1
    assert mean(namer().hue_and_shape, [square], asks[:1]) == 0


def test_a_judge_of_colours_needs_all_hues_to_know_a_recoloured_thing() -> None:
    """Why `shape` exists: the plain question calls most recoloured things something else."""
    asks = sets("colours").asks
    real = [ask.real for ask in asks]
    assert mean(namer().name, real, asks) < mean(namer().shape, real, asks) == 1.0


def test_the_background_is_that_of_the_corners_and_not_of_the_thing() -> None:
    ask = sets("backgrounds").asks[0]
    assert ask.background is not None
    picture = Image.new("RGB", (SIZE, SIZE), "white")
    ImageDraw.Draw(picture).ellipse((4, 4, 60, 60), fill=ask.background.rgb)
    assert mean(measures.background, [picture], (ask,)) == 0
    for colour in BACKGROUNDS:
        plain = Image.new("RGB", (SIZE, SIZE), colour.rgb)
        assert mean(measures.background, [plain], (replace(ask, background=colour),)) == 1


def test_of_two_things_one_is_not_enough_and_above_is_not_below() -> None:
    asks = sets("pairs").asks
    kinds = {ask.relation for ask in asks}
    assert kinds == set(Relation), "the names were chosen so that there is a pair of each"
    for ask in asks:
        beside = ask.relation is Relation.BESIDE
        swapped = (ImageOps.mirror if beside else ImageOps.flip)(ask.real)
        # The shapes are symmetric enough for the judge; left and right are not asked for.
        same = replace(ask, names=ask.names[::-1])
        assert mean(namer().both, [ask.real], (ask,)) == 1
        assert mean(namer().both, [ask.real], (same,)) == (1 if beside else 0)
        if not beside:
            assert mean(namer().both, [swapped], (ask,)) == 0
        half = np.array(ask.real)
        half[:, : SIZE // 2] = 255
        half[: 0 if beside else SIZE // 2] = 255
        assert mean(namer().both, [Image.fromarray(half)], (ask,)) == 0
        assert mean(namer().both, [Image.new("RGB", (SIZE, SIZE), "white")], (ask,)) == 0


@pytest.mark.parametrize("count", [2, 3, 4])
def test_things_are_counted_and_crumbs_are_not(count: int) -> None:
    for number in range(12):
        parts = [drawing(number, STYLES[0])] * count
        pixels = np.array(on_colour(lay(parts, tidy(SIZE, count), SIZE)))
        assert count_things(pixels) == count
        assert count_things(np.asarray(on_colour(drawing(number, STYLES[0])))) == 1
        # A spark in the middle, where nothing lies.
        pixels[SIZE // 2, SIZE // 2] = 0
        assert count_things(pixels) == count
    assert count_things(np.full((SIZE, SIZE, 3), 255, dtype=np.uint8)) == 0
    large = np.full((256, 256, 3), 255, dtype=np.uint8)
    for x in range(count):
        large[100:150, 60 * x + 4 : 60 * x + 44] = 0
    assert count_things(large) == count


def test_regions_hang_together_at_corners() -> None:
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.bool_)
    assert sorted(region_areas(mask)) == [1, 1, 2]
    spiral = np.array([[1, 1, 1, 1], [0, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]], dtype=np.bool_)
    assert region_areas(spiral).tolist() == [12]
    assert region_areas(np.zeros((3, 3), dtype=np.bool_)).tolist() == []


def test_halves_are_cut_to_the_thing_whatever_the_background() -> None:
    picture = np.full((SIZE, SIZE, 3), (30, 150, 150), dtype=np.uint8)
    picture[40:50, 4:24] = (250, 215, 70)
    left, right = halves(picture, Relation.BESIDE)
    assert right is None
    assert left is not None
    assert left.shape == (SIZE, SIZE, 3)
    yellow = left[..., 0] > 200
    assert yellow.any(axis=0).mean() == pytest.approx(1 / 1.12, abs=0.06)
    assert yellow.any(axis=1).mean() == pytest.approx(0.5 / 1.12, abs=0.06)


def test_several_right_names_are_one_question() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(300, 150)).astype(np.float32)
    wanted = rng.integers(150, size=300)
    alone = right_among_any(scores, [[int(w)] for w in wanted], 99, 4)
    assert (alone == right_among(scores, wanted, 99, 4)).all()
    # The best of all names wins wherever it is among the right ones, and never against itself.
    best = scores.argmax(axis=1)
    both = [[int(w), int(b)] for w, b in zip(wanted, best, strict=True)]
    assert right_among_any(scores, both, 99, 4).all()


def test_chance_needs_another_prompt() -> None:
    asks = sets("trained").asks[:1]
    assert score_chance(namer().name, [[asks[0].real]], asks, 0) is None
