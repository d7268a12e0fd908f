"""Room around a picture, painted by the shipped model, with the old pixels back in their place."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion import Params, describe_model, generate, load_model
from diffusion.canvas import paste_back, zoom_out

FEATHER = 4


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


def test_a_painted_heart_is_zoomed_out_without_a_seam() -> None:
    info, model = describe_model("emoji"), load_model("emoji")
    params = Params(
        prompt="a red heart",
        seed=3,
        steps=12,
        images=1,
        width=info.native_width,
        height=info.native_height,
        guidance_scale=info.defaults.guidance_scale,
        schedule=info.defaults.schedule,
    )
    painted = list(generate(model, params))[-1].pictures
    assert painted is not None
    canvas, mask = zoom_out(painted[0], 1.5, multiple=info.size_multiple, feather=FEATHER)
    assert canvas.size == mask.size == painted[0].size
    more = replace(params, init_image="0" * 64, mask="1" * 64, strength=0.8)
    new = list(generate(model, more, init_image=canvas, mask=mask))[-1].pictures
    assert new is not None
    whole = array(paste_back(canvas, new[0], mask))
    share = np.asarray(mask)
    assert (share == 0).any()
    assert np.array_equal(whole[share == 0], array(canvas)[share == 0])
    assert not np.array_equal(whole[share == 255], array(canvas)[share == 255])
    # The seam is where the mask falls, and one pixel to either side.
    blended = (share > 0) & (share < 255)
    seam = blended.copy()
    for axis in (0, 1):
        for way in (-1, 1):
            seam |= np.roll(blended, way, axis)
    assert steepest(whole, seam) <= steepest(whole, share == 0)
