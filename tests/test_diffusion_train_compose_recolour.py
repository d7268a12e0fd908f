"""Colours as numbers, the rule for one dominant hue, and drawings turned to another colour."""

import colorsys

import numpy as np
import pytest

from diffusion.train.captions import BACKGROUNDS, WHITE
from diffusion.train.compose.colours import (
    HUES,
    ComposeError,
    difference,
    from_hsv,
    hue_of,
    hue_offset,
    named,
    to_hsv,
    to_lab,
)
from diffusion.train.compose.recolour import dominant_hue, has_hue, recolour, targets
from diffusion.train.data import Pixels
from diffusion.train.rasterise import Svg, render_svg

APPLE = (
    '<path fill="#31373d" d="M30 4h4v12h-4z"/><circle cx="32" cy="36" r="24" fill="#be1931"/>'
    '<circle cx="31" cy="35" r="20" fill="#dd2e44"/><circle cx="24" cy="28" r="4" fill="#fff"/>'
    '<circle cx="44" cy="10" r="6" fill="#77b255"/>'
)


def picture(body: str, size: int = 64) -> Pixels:
    return render_svg(Svg(body=body, left=0, top=0, width=64, height=64), size)


def disc(fill: str, rest: str = "") -> Pixels:
    return picture(f'<circle cx="32" cy="32" r="28" fill="{fill}"/>{rest}')


def test_hsv_agrees_with_colorsys_both_ways() -> None:
    rng = np.random.default_rng(0)
    rgb = np.concatenate([rng.integers(0, 256, (500, 3)), [[0, 0, 0], [7, 7, 7], [255] * 3]])
    hsv = to_hsv(rgb)
    wanted = np.array([colorsys.rgb_to_hsv(*(pixel / 255)) for pixel in rgb]) * [360, 1, 1]
    np.testing.assert_allclose(hsv, wanted, atol=1e-9)
    np.testing.assert_allclose(from_hsv(hsv), rgb, atol=1e-9)


def test_lab_of_known_colours() -> None:
    # Lindbloom's calculator, sRGB, D65.
    known = {(255, 0, 0): (53.24, 80.09, 67.20), (0, 0, 255): (32.30, 79.19, -107.86)}
    for rgb, lab in {**known, (255, 255, 255): (100, 0, 0), (0, 0, 0): (0, 0, 0)}.items():
        np.testing.assert_allclose(to_lab(rgb), lab, atol=0.05)
    assert difference((255, 255, 255), (0, 0, 0)) == pytest.approx(100, abs=0.01)


def test_hue_offsets_go_round_the_circle() -> None:
    offsets = hue_offset(np.array([350.0, 10.0, 190.0]), 0.0)
    np.testing.assert_allclose(offsets, [-10, 10, -170])


def test_the_named_hues_are_those_of_the_backgrounds() -> None:
    assert [c.name for c in HUES] == (
        ["red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown"]
    )
    assert set(HUES) <= set(BACKGROUNDS)
    assert named("teal") in HUES
    with pytest.raises(ComposeError, match="no hue is called 'gray'"):
        named("gray")


def test_one_hue_rules_an_apple_in_spite_of_stem_leaf_and_highlight() -> None:
    found = dominant_hue(picture(APPLE))
    assert found is not None
    assert abs(float(hue_offset(np.array(found.hue), 352))) < 5
    assert found.saturation > 0.7


@pytest.mark.parametrize(
    ("why", "pixels"),
    [
        ("gray", disc("#808080")),
        ("white", disc("#ffffff")),
        ("nearly black, a little blue", disc("#1a1a26")),
        ("hardly saturated", disc("#8a7068")),
        ("dull brown", disc("#664b3d")),
        ("two hues", disc("#dd2e44", '<path fill="#3b88c3" d="M32 4v60h32V4z"/>')),
        ("mostly white", disc("#ffffff", '<circle cx="32" cy="32" r="12" fill="#dd2e44"/>')),
        ("empty", np.zeros((64, 64, 4), dtype=np.uint8)),
    ],
)
def test_no_hue_rules_these(why: str, pixels: Pixels) -> None:
    assert dominant_hue(pixels) is None, why
    with pytest.raises(ComposeError, match="cannot be made blue"):
        recolour(pixels, named("blue"))


def test_two_hues_at_both_edges_of_the_window_do_not_crash() -> None:
    for degrees in range(0, 360, 7):
        halves = from_hsv(np.array([[degrees, 0.9, 0.9], [degrees + 50.0, 0.9, 0.9]]))
        pixels = np.full((8, 8, 4), 255, dtype=np.uint8)
        pixels[:, :4, :3], pixels[:, 4:, :3] = halves
        assert dominant_hue(pixels) is None


@pytest.mark.parametrize("colour", [c for c in HUES if c.name != "red"], ids=lambda c: c.name)
def test_an_apple_gets_the_named_colour_and_the_rest_stays(colour: object) -> None:
    goal = next(c for c in HUES if c == colour)
    before = picture(APPLE)
    after = recolour(before, goal)
    np.testing.assert_array_equal(after[..., 3], before[..., 3])
    assert not after[after[..., 3] == 0].any()
    # Most of the apple is its light red, so that is what becomes the named colour.
    assert float(difference(after[44, 28, :3], goal.rgb)) < 3
    for row, column in ((8, 32), (28, 24), (10, 44)):  # stem, highlight, leaf
        np.testing.assert_allclose(
            after[row, column].astype(int), before[row, column].astype(int), atol=2
        )
    # The shaded rim stays the darker part.
    assert to_hsv(after[56, 32, :3])[2] < to_hsv(after[44, 28, :3])[2]
    body = after[30:50, 20:40, :3].reshape(-1, 3)
    assert (np.abs(hue_offset(to_hsv(body)[:, 0], hue_of(goal))) < 15).mean() > 0.9


def test_shading_keeps_its_order_and_noise_is_not_blown_up() -> None:
    pixels = np.full((64, 64, 4), 255, dtype=np.uint8)
    value = np.linspace(0.5, 1.0, 64)
    ramp = from_hsv(np.stack([np.full(64, 48.0), np.full(64, 0.8), value], axis=-1))
    pixels[..., :3] = np.rint(ramp)
    brightness = to_hsv(recolour(pixels, named("teal"))[0, :, :3])[:, 2]
    assert (np.diff(brightness) >= -1e-9).all()
    assert np.diff(brightness).max() < 2.5 * np.diff(value).max()
    bright = disc("#ffcc4d").copy()
    bright[20:30, 20:30, :3] += np.array([0, 3, 3], dtype=np.uint8)
    out = recolour(bright, named("blue"))
    assert np.abs(out[25, 25].astype(int) - out[40, 40].astype(int)).max() < 12


def test_a_little_brighter_stays_a_little_brighter() -> None:
    """Where nearly all is as bright as can be, the rest of the way must not become a step."""
    nearly, brightest = disc("#fac846"), disc("#fac846")
    brightest[20:30, 20:30, 0] = 255
    for colour in HUES:
        if colour.name not in {"orange", "yellow"}:
            one, other = recolour(nearly, colour), recolour(brightest, colour)
            assert np.abs(one[25, 25].astype(int) - other[25, 25].astype(int)).max() < 20


def test_a_flame_of_several_near_hues_becomes_one_colour() -> None:
    pixels = np.full((64, 64, 4), 255, dtype=np.uint8)
    hues = np.linspace(15.0, 55.0, 64)
    flame = from_hsv(np.stack([hues, np.full(64, 0.9), np.full(64, 0.9)], axis=-1))
    pixels[..., :3] = np.rint(flame)
    blue = to_hsv(recolour(pixels, named("blue"))[0, :, :3])[:, 0]
    offset = hue_offset(blue, hue_of(named("blue")))
    assert np.abs(offset).max() < 13
    assert np.ptp(offset) > 10  # yet its shades stay apart


def test_a_drawing_is_not_given_the_colour_it_has() -> None:
    red = dominant_hue(picture(APPLE))
    blue = dominant_hue(disc("#2f66cc"))
    assert red is not None and blue is not None
    assert {c.name for c in targets(red)} == {c.name for c in HUES} - {"red"}
    assert "blue" not in {c.name for c in targets(blue)}
    assert "orange" in {c.name for c in targets(blue)}
    assert WHITE not in targets(red)
    assert has_hue(blue, named("blue")) and not has_hue(blue, named("purple"))
    # Red and pink lie 25 degrees apart: a red drawing proves nothing about "pink".
    assert {c.name for c in HUES if has_hue(red, c)} == {"red", "pink"}


def test_recolouring_does_not_change_its_input() -> None:
    before = picture(APPLE)
    copy = before.copy()
    recolour(before, named("green"))
    np.testing.assert_array_equal(before, copy)
