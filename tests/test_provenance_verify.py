"""/verify in small: what was worn is found, and what only looks alike is not. The whole table is
`python -m tests.benchmarks.verify`.
"""

import io
import random
from collections.abc import AsyncIterator
from math import inf
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageEnhance

from bot.origins import ALIKE, SAME
from diffusion import Params
from diffusion.likeness import bits_apart, difference, phash
from storage import Store
from tests.benchmarks.verify import (
    GOAL,
    WEARS,
    ask,
    blanks,
    false_matches,
    keep,
    posted,
    strangers,
    strokes,
)
from tests.fakes import model_info

INFO = model_info(scale=4)
GRIDS = 6


def drawn(number: int, *, detail: int = 0) -> Image.Image:
    """Draw a big shape on a field, as one prompt gives with every seed, and details of its own."""
    chance = random.Random(number)  # noqa: S311 - drawings
    picture = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(picture)
    side = chance.randrange(16, 28)
    colour = tuple(chance.randrange(220) for _ in range(3))
    pen.ellipse((32 - side, 32 - side, 32 + side, 32 + side), fill=colour)
    own = random.Random(f"{number} {detail}")  # noqa: S311 - drawings
    for _ in range(4):
        x, y, size = own.randrange(64), own.randrange(64), own.randrange(3, 12)
        fill = tuple(own.randrange(256) for _ in range(3))
        pen.rectangle((x, y, x + size, y + size), fill=fill)
    return picture


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path) as found:
        yield found


async def test_worn_pictures_are_found_and_no_others_named(store: Store) -> None:
    kept, names = [], []
    for grid in range(GRIDS):
        params = Params(prompt="x", seed=grid, width=64, height=64)
        tiles = [drawn(grid, detail=number) for number in range(4)]
        job_id = await keep(store, INFO, params, tiles)
        kept += posted(tiles, INFO)
        names += [(job_id, index) for index in range(5)]
    for wear in WEARS[:3]:
        told = [await ask(store, wear(picture)) for picture in kept]
        found = sum(name in each for name, each in zip(names, told, strict=True))
        assert found >= 0.95 * len(kept), wear
        assert all(each <= {name} for name, each in zip(names, told, strict=True)), wear
    # The same shapes with other details, as other seeds give, and what is nearly blank.
    others = [drawn(grid, detail=9) for grid in range(GRIDS)]
    # The same drawing in other colours: near in grey, and another picture.
    others += [Image.merge("RGB", drawn(grid).split()[::-1]) for grid in range(GRIDS)]
    near = [any(bits_apart(phash(one), phash(each)) <= ALIKE for each in kept) for one in others]
    assert any(near), "the first step alone must find some of them, or the second is not tested"
    plain = list(blanks(random.Random(2)))[:25]  # noqa: S311 - drawings
    for picture in (*others, *plain):
        assert await ask(store, GOAL(picture)) == set()
    asked, _, false = false_matches(kept, strangers(others, 1000))
    assert (asked, false) == (1000, 0)


async def test_a_kept_blank_is_no_other_blank(store: Store) -> None:
    tiles = [Image.new("RGB", (64, 64))] * 4
    job_id = await keep(store, INFO, Params(prompt="x", width=64, height=64), tiles)
    black = io.BytesIO()
    Image.new("RGB", (128, 128)).save(black, "WEBP", quality=90)
    assert len(job_id) == 13
    assert await ask(store, black.getvalue()) == set()


def test_the_second_look_counts_colour_and_is_fair_to_faint_pictures() -> None:
    one = drawn(1)
    assert difference(one, one) == 0
    assert difference(one, one.resize((256, 256), Image.Resampling.LANCZOS)) < SAME
    red, green, blue = one.split()
    assert difference(one, Image.merge("RGB", (blue, red, green))) > SAME
    faint, other = (
        ImageEnhance.Contrast(drawn(2, detail=detail)).enhance(0.15) for detail in range(2)
    )
    assert difference(faint, faint.resize((256, 256), Image.Resampling.LANCZOS)) < SAME
    assert difference(faint, other) > SAME
    blank = Image.new("RGB", (64, 64), "red")
    assert difference(blank, blank) == inf
    dotted = strokes(random.Random(4), count=1, most=2)  # noqa: S311 - drawings
    assert difference(dotted, blank) > SAME
