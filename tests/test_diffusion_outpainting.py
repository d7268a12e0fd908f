"""Pictures by the shipped model whose edges meet something: room around them, or themselves."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from diffusion import Params, describe_model, generate, load_model
from diffusion.canvas import extend, paste_back, zoom_out
from tests.thinning import thinned

FEATHER = 4
# Two latents of the shipped model: one of them is painted anew.
SEAM = 16


def array(image: Image.Image) -> NDArray[np.int16]:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


def steepest(picture: NDArray[np.int16], inside: NDArray[np.bool_]) -> float:
    """Return the 99th percentile of the differences of neighbours within an area."""
    found = []
    for axis in (0, 1):
        both = inside & np.roll(inside, -1, axis)
        step = np.abs(picture - np.roll(picture, -1, axis)).max(axis=-1)
        # What rolled around the border has no neighbour.
        edge = (slice(0, -1), slice(None)) if axis == 0 else (slice(None), slice(0, -1))
        found.append(step[edge][both[edge]])
    return float(np.percentile(np.concatenate(found), 99))


def seam_of(share: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a mask falls, and one pixel to either side."""
    blended: NDArray[np.bool_] = (share > 0) & (share < 255)
    seam = blended.copy()
    for axis in (0, 1):
        for way in (-1, 1):
            seam |= np.roll(blended, way, axis)
    return seam


def native(prompt: str, **more: Any) -> Params:  # noqa: ANN401 - any parameter
    """Return params at the shipped model's own size and settings, but for the steps."""
    info = describe_model("emoji")
    params = Params(
        prompt=prompt,
        seed=3,
        steps=10,
        images=1,
        width=info.native_width,
        height=info.native_height,
        guidance_scale=info.defaults.guidance_scale,
        schedule=info.defaults.schedule,
    )
    return replace(params, **more)


def paint(params: Params, **inputs: Any) -> list[Image.Image]:  # noqa: ANN401 - any input
    pictures = list(generate(load_model("emoji"), params, **inputs))[-1].pictures
    assert pictures is not None
    return list(pictures)


def test_a_painted_heart_is_zoomed_out_without_a_seam() -> None:
    params = native("a red heart", steps=12)
    (painted,) = paint(params)
    multiple = describe_model("emoji").size_multiple
    canvas, mask = zoom_out(painted, 1.5, multiple=multiple, feather=FEATHER)
    assert canvas.size == mask.size == painted.size
    more = replace(params, init_image="0" * 64, mask="1" * 64, strength=0.8)
    (new,) = paint(more, init_image=canvas, mask=mask)
    whole = array(paste_back(canvas, new, mask))
    share = np.asarray(mask)
    assert (share == 0).any()
    assert np.array_equal(whole[share == 0], array(canvas)[share == 0])
    assert not np.array_equal(whole[share == 255], array(canvas)[share == 255])
    assert steepest(whole, seam_of(share)) <= steepest(whole, share == 0)


def lines(picture: Image.Image, axis: int) -> NDArray[np.float64]:
    """Return how much each column (axis 1) or row (axis 0) differs from the next, on average."""
    steps = np.abs(np.diff(array(picture).astype(np.float64), axis=axis))
    found: NDArray[np.float64] = steps.mean(axis=(1 - axis, 2))
    return found


@pytest.mark.parametrize(("side", "axis"), thinned([("right", 1), ("top", 0)], every=2))
def test_a_painted_picture_is_panned_without_a_seam(side: str, axis: int) -> None:
    """A seam of two latents is no steeper than what is drawn inside; an unrelated picture set
    beside the old one is.
    """
    found = []
    for prompt in ("a house", "a blue fish on a yellow background", "cat face"):
        params = native(prompt)
        (old,) = paint(params)
        canvas, mask = extend(old, **{side: old.width * 3 // 10}, multiple=16, feather=SEAM)
        larger = replace(params, width=canvas.width, height=canvas.height)
        more = replace(larger, init_image="0" * 64, mask="1" * 64, strength=0.8)
        (new,) = paint(more, init_image=canvas, mask=mask)
        steps = lines(paste_back(canvas, new, mask), axis)
        share = np.asarray(mask, dtype=np.int16).mean(axis=1 - axis)
        kept = (share[1:] == 0) & (share[:-1] == 0)
        seam = ~kept & ((share[1:] < 255) | (share[:-1] < 255))
        (other,) = paint(replace(larger, prompt="water wave"))
        beside = lines(
            paste_back(canvas, other, mask.point(lambda grey: 255 * (grey == 255))), axis
        )
        found.append((steps[seam].mean(), beside[seam].max(), np.percentile(steps[kept], 95)))
    seams, besides, insides = np.mean(found, axis=0)
    assert seams <= insides < besides
    assert all(seam <= inside for seam, _, inside in found)


def around(picture: Image.Image) -> tuple[float, float]:
    """Return how steep a picture is where its edges meet, and the 95th percentile of its rows and
    columns inside: means of both axes.
    """
    pixels = array(picture).astype(np.float64)
    edges, insides = [], []
    for axis in (0, 1):
        steps = np.abs(pixels - np.roll(pixels, -1, axis)).mean(axis=(1 - axis, 2))
        edges.append(steps[-1])
        insides.append(np.percentile(steps[:-1], 95))
    return float(np.mean(edges)), float(np.mean(insides))


def test_a_tile_goes_on_where_it_ends() -> None:
    """Where nothing says that it is a tile, a wave is cut off by the edges."""
    prompts = ("water wave", "a garden", "a red heart on a blue background")
    found = [
        around(picture)
        for prompt in prompts
        for picture in paint(native(prompt, tile=True, images=2, seed=4))
    ]
    edges, insides = np.mean(found, axis=0)
    assert edges <= insides
    edge, inside = around(paint(native("water wave", seed=4))[0])
    assert edge > 2 * inside
