"""Hue and background measures: on renders that must pass and on pictures that must fail."""

import numpy as np
import pytest

from diffusion.train.captions import BACKGROUNDS, WHITE, Colour
from diffusion.train.compose.colours import HUES, ComposeError, from_hsv, hue_of, named
from diffusion.train.compose.measure import (
    background_error,
    corner_median,
    hue_share,
    nearest_hue,
    shows_background,
    shows_colour,
)
from diffusion.train.compose.recolour import recolour
from diffusion.train.data import Pixels
from diffusion.train.rasterise import Svg, render_svg

APPLE = (
    '<circle cx="32" cy="36" r="24" fill="#dd2e44"/><circle cx="24" cy="28" r="4" fill="#fff"/>'
    '<circle cx="44" cy="10" r="5" fill="#77b255"/><path fill="#31373d" d="M30 6h3v8h-3z"/>'
)
BY_NAME = {colour.name: colour for colour in (WHITE, *BACKGROUNDS)}


def on(pixels: Pixels, colour: Colour) -> Pixels:
    alpha = pixels[..., 3:] / 255
    mixed = pixels[..., :3] * alpha + np.array(colour.rgb) * (1 - alpha)
    return np.rint(mixed).astype(np.uint8)


def apple(colour: str, background: Colour = WHITE) -> Pixels:
    drawing = render_svg(Svg(body=APPLE, left=0, top=0, width=64, height=64), 64)
    return on(drawing if colour == "red" else recolour(drawing, named(colour)), background)


def plain(rgb: tuple[int, int, int], size: int = 64) -> Pixels:
    return np.full((size, size, 3), rgb, dtype=np.uint8)


def patch(picture: Pixels, rgb: tuple[int, int, int], share: float) -> Pixels:
    """Lay a square of a colour in the middle that covers a share of the picture."""
    side = round(picture.shape[0] * share**0.5)
    start = (picture.shape[0] - side) // 2
    out = picture.copy()
    out[start : start + side, start : start + side] = rgb
    return out


@pytest.mark.parametrize("colour", HUES, ids=lambda c: c.name)
@pytest.mark.parametrize("background", ["white", "gray", "black", "light blue", "green"])
def test_an_apple_of_a_colour_shows_it_on_any_other_background(
    colour: Colour, background: str
) -> None:
    if colour.name == background:
        return
    picture = apple(colour.name, BY_NAME[background])
    assert shows_colour(picture, colour)
    found = nearest_hue(picture)
    assert found == colour
    assert shows_background(picture, BY_NAME[background])


def test_every_other_hue_fails() -> None:
    for painted in HUES:
        for asked in HUES:
            apart = abs((hue_of(painted) - hue_of(asked) + 180) % 360 - 180)
            if apart > 40:
                assert not shows_colour(apple(painted.name), asked), (painted, asked)


def test_hue_cannot_tell_brown_from_orange_but_the_nearest_colour_can() -> None:
    assert shows_colour(apple("orange"), named("brown"))
    assert nearest_hue(apple("orange")) == named("orange")
    assert nearest_hue(apple("brown")) == named("brown")


def test_pictures_without_a_thing_fail() -> None:
    purple = named("purple")
    for picture in (plain((255, 255, 255)), plain((128, 128, 128)), plain(purple.rgb)):
        assert hue_share(picture, purple) == 0.0
        assert nearest_hue(picture) is None
    # A few purple pixels on white are no purple thing.
    dot = plain((255, 255, 255))
    dot[30:34, 30:34] = purple.rgb
    assert not shows_colour(dot, purple)
    assert nearest_hue(dot) is None
    assert shows_colour(patch(plain((255, 255, 255)), purple.rgb, 0.05), purple)


def test_the_background_is_not_the_thing() -> None:
    blue = BY_NAME["blue"]
    assert not shows_colour(apple("green", blue), blue)
    assert shows_colour(apple("green", blue), named("green"))


def test_the_share_is_a_share_and_the_bound_is_sixty_percent() -> None:
    for share, hit in ((0.5, False), (0.59, False), (0.62, True), (0.9, True)):
        picture = plain((255, 255, 255), 100)
        picture[10:90, 10:90] = named("blue").rgb
        picture[10 : 10 + round(80 * share), 10:90] = named("green").rgb
        assert hue_share(picture, named("green")) == pytest.approx(share, abs=0.01)
        assert shows_colour(picture, named("green")) is hit


def test_the_window_is_thirty_degrees() -> None:
    for apart, share in ((-31, 0.0), (-29, 1.0), (29, 1.0), (31, 0.0)):
        rgb = np.rint(from_hsv(np.array([hue_of(named("green")) + apart, 0.9, 0.9])))
        picture = patch(plain((255, 255, 255)), (int(rgb[0]), int(rgb[1]), int(rgb[2])), 0.3)
        assert hue_share(picture, named("green")) == share


def test_backgrounds_of_other_names_fail() -> None:
    for asked in (WHITE, *BACKGROUNDS):
        for painted in (WHITE, *BACKGROUNDS):
            picture = apple("red", painted)
            assert shows_background(picture, asked) is (asked == painted), (asked, painted)


def test_one_spoiled_corner_does_not_matter_and_two_colours_do() -> None:
    blue = BY_NAME["blue"]
    picture = plain(blue.rgb)
    picture[:20, :20] = 255
    assert background_error(picture, blue) == pytest.approx(0, abs=1e-9)
    picture[:20, :] = 255
    picture[:, :20] = 255
    assert not shows_background(picture, blue)
    assert shows_background(picture, WHITE)


def test_the_bound_of_the_background_is_a_difference_of_fifteen() -> None:
    # Neutral grays differ in L* alone; 128 has L* = 53.6.
    gray = Colour(name="gray", rgb=(128, 128, 128))
    assert background_error(plain((166, 166, 166)), gray) == pytest.approx(14.3, abs=0.3)
    assert shows_background(plain((166, 166, 166)), gray)
    assert not shows_background(plain((170, 170, 170)), gray)


def test_pictures_of_any_size_and_of_no_other_form() -> None:
    assert corner_median(np.zeros((1, 1, 3), dtype=np.uint8)).shape == (3,)
    assert corner_median(np.zeros((40, 70, 3), dtype=np.uint8)).tolist() == [0, 0, 0]
    for wrong in (np.zeros((8, 8, 4), dtype=np.uint8), np.zeros((8, 8), dtype=np.uint8)):
        with pytest.raises(ComposeError, match="H x W x 3"):
            hue_share(wrong, named("red"))
    with pytest.raises(ComposeError, match="uint8"):
        corner_median(np.zeros((8, 8, 3), dtype=np.uint16))
