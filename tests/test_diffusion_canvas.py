"""Room around a picture, masks, and the old pixels back in their place."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from diffusion.canvas import extend, latent_mask, make_square, paste_back, zoom_out
from diffusion.errors import ParamsError


def picture(width: int = 64, height: int = 48) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 / width, y * 255 / height, (x + y) % 64 + 90], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def array(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image).astype(np.int64)


@pytest.mark.parametrize(
    ("sides", "size", "offset"),
    [
        ({"right": 30}, (96, 48), (0, 0)),
        ({"left": 30}, (96, 48), (32, 0)),
        ({"top": 16, "bottom": 16}, (64, 80), (0, 16)),
        ({"left": 8, "top": 24, "right": 8, "bottom": 1}, (80, 80), (8, 31)),
        ({"left": 200, "bottom": 200}, (264, 248), (200, 0)),
        ({}, (64, 48), (0, 0)),
    ],
)
def test_old_pixels_stay_and_sizes_fit(
    sides: dict[str, int], size: tuple[int, int], offset: tuple[int, int]
) -> None:
    canvas, mask = extend(picture(), **sides, feather=8)
    assert (canvas.size, canvas.mode, mask.size, mask.mode) == (size, "RGB", size, "L")
    x, y = offset
    box = (x, y, x + 64, y + 48)
    assert np.array_equal(array(canvas.crop(box)), array(picture()))
    inside = np.zeros((size[1], size[0]), bool)
    inside[y : y + 48, x : x + 64] = True
    assert (array(mask)[~inside] == 255).all()
    assert array(mask)[y + 24, x + 32] == 0


def test_the_mask_falls_only_at_the_new_side() -> None:
    _, mask = extend(picture(), right=32, feather=7)
    row = array(mask)[24]
    assert (row[64:] == 255).all()
    assert (row[:57] == 0).all()
    assert (np.diff(row[56:65]) > 0).all()
    assert np.diff(row).max() <= 33
    hard = array(extend(picture(), right=32, feather=0)[1])[24]
    assert set(hard) == {0, 255}


def test_new_colours_continue_the_picture() -> None:
    canvas, _ = extend(picture(), right=32)
    pixels = array(canvas)
    own = np.abs(np.diff(pixels[:, :64], axis=1)).max()
    assert np.abs(pixels[:, 64] - pixels[:, 63]).max() <= own
    # Blurred the more the further out: rows differ less from one column to the next.
    texture = np.abs(np.diff(pixels[..., 2], axis=0)).mean(axis=0)
    assert texture[-1] < 0.6 * texture[64]


def test_zooming_out_keeps_the_size() -> None:
    canvas, mask = zoom_out(picture(), 2.0, feather=4)
    assert canvas.size == (64, 48)
    small = picture().resize((32, 24), Image.Resampling.LANCZOS)
    assert np.array_equal(array(canvas.crop((16, 12, 48, 36))), array(small))
    assert array(mask)[0, 0] == 255
    assert array(mask)[24, 32] == 0


@pytest.mark.parametrize("size", [(64, 48), (40, 64), (50, 30)])
def test_a_square_is_square(size: tuple[int, int]) -> None:
    canvas, mask = make_square(picture(*size))
    side = -(-max(size) // 8) * 8
    assert canvas.size == mask.size == (side, side)


def test_pasting_back_is_exact_outside_and_smooth_across_the_seam() -> None:
    canvas, mask = extend(picture(), right=64, feather=16)
    painted = Image.fromarray((255 - array(canvas)).astype(np.uint8))
    done = array(paste_back(canvas, painted, mask))
    weights = array(mask)
    assert np.array_equal(done[weights == 0], array(canvas)[weights == 0])
    assert np.array_equal(done[weights == 255], array(painted)[weights == 255])
    # A hard cut from the old picture to its negative jumps by up to 255.
    flat, other = (
        Image.new("RGB", canvas.size, (40, 40, 40)),
        Image.new("RGB", canvas.size, "white"),
    )
    across = np.diff(array(paste_back(flat, other, mask))[24, :, 0])
    assert across.min() >= 0
    assert across.max() <= 215 / 17 + 1


def test_the_seam_is_no_steeper_than_the_inside() -> None:
    canvas, mask = extend(picture(), right=64, feather=16)
    pixels = array(canvas)
    shifted = Image.fromarray(np.clip(pixels + 20, 0, 255).astype(np.uint8))
    done = array(paste_back(canvas, shifted, mask))[..., 2]
    steps = np.abs(np.diff(done, axis=1))
    assert steps[:, 40:72].max() <= np.abs(np.diff(pixels[..., 2], axis=1))[:, :40].max() + 2


def test_pictures_of_different_sizes_are_not_pasted() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        paste_back(picture(), picture(), Image.new("L", (8, 8)))


def test_a_latent_mask_is_cut_and_taken_at_the_nearest() -> None:
    grey = np.zeros((32, 48), np.uint8)
    grey[:, 24:] = 255
    grey[0:8, 0:8] = 127
    grey[8:16, 0:8] = 128
    mask = latent_mask(Image.fromarray(grey), 32, 48, downscale=8)
    expected = torch.zeros(1, 4, 6)
    expected[:, :, 3:] = 1
    expected[:, 1, 0] = 1
    assert torch.equal(mask, expected)
    pixels = latent_mask(Image.fromarray(grey), 32, 48)
    assert torch.equal(pixels, torch.from_numpy((grey > 127).astype(np.float32))[None])
    double = Image.fromarray(grey.repeat(2, 0).repeat(2, 1))
    assert torch.equal(latent_mask(double, 32, 48, downscale=8), expected)


def test_a_soft_latent_mask_averages() -> None:
    grey = np.zeros((16, 16), np.uint8)
    grey[:, :12] = 255
    mask = latent_mask(Image.fromarray(grey), 16, 16, downscale=8, soft=True)
    assert torch.allclose(mask, torch.tensor([[[1.0, 0.5], [1.0, 0.5]]]))


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_a_picture_does_not_shrink(side: str) -> None:
    with pytest.raises(ParamsError, match="can only grow"):
        extend(picture(), **{side: -1})


@pytest.mark.parametrize("factor", [1.0, 0.5, 4.5, float("nan")])
def test_zooms_that_are_none(factor: float) -> None:
    with pytest.raises(ParamsError, match="zoom out by more than 1"):
        zoom_out(picture(), factor)


def test_a_multiple_is_positive() -> None:
    with pytest.raises(ParamsError, match="multiples of 1"):
        extend(picture(), right=8, multiple=0)
