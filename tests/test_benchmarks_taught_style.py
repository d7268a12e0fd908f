"""The style that is taught in the benchmark is told from others, and asked for with new things."""

import pytest
from PIL import Image

from diffusion.train.judge import Judge
from tests.benchmarks.taught_style import ASKED, INK, PAPER, SHOWN, in_two_inks, printed, split
from tests.workbench import make_row


def test_what_is_printed_is_in_two_inks_and_what_is_not_is_not() -> None:
    spectrum = Image.merge("RGB", [Image.radial_gradient("L"), *[Image.linear_gradient("L")] * 2])
    assert not in_two_inks(spectrum)
    assert in_two_inks(printed(spectrum))
    for colour, wanted in (
        (INK, True),
        (PAPER, True),
        ((255, 255, 255), False),
        ((0, 0, 0), False),
    ):
        assert in_two_inks(Image.new("RGB", (8, 8), colour)) is wanted, colour


def test_a_tenth_of_the_pixels_may_be_of_other_colours() -> None:
    picture = Image.new("RGB", (10, 10), PAPER)
    for place in range(10):
        picture.putpixel((place, 0), (0, 255, 0))
    assert in_two_inks(picture)
    picture.putpixel((0, 1), (0, 255, 0))
    assert not in_two_inks(picture)


def test_nothing_that_is_asked_for_was_shown() -> None:
    judge = Judge.load()
    names = judge.names[: SHOWN + ASKED + 5]
    rows = [make_row(i, "blob", name) for i, name in enumerate(names)]
    shown, asked = split(rows, judge)
    assert (len(shown), len(asked)) == (SHOWN, ASKED)
    assert not {row.name for row in shown} & {row.name for row in asked}
    assert split(rows[::-1], judge) == (shown, asked)
    with pytest.raises(SystemExit, match="choose another"):
        split(rows[:10], judge)
