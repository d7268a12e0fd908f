"""The picture's edges: making room around it, masks, and putting the old pixels back.

Promises: old pixels outside the seam stay exactly as they were, sizes fit the model, and the mask
is white where there is something to paint. Never paints anything that was not in the picture.

## Why the new area is filled at all
Image to image starts from what is there. A flat colour would be a frame that the model explains as
a frame; the mirrored picture, ever more blurred on the way out, gives it colours to go on from.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional

from diffusion.errors import ParamsError

_WHITE: Final = 255
# A zoom beyond this leaves a dot of the old picture.
_MOST_ZOOM: Final = 4.0


def extend(
    picture: Image.Image,
    *,
    left: int = 0,
    top: int = 0,
    right: int = 0,
    bottom: int = 0,
    multiple: int = 8,
    feather: int = 32,
) -> tuple[Image.Image, Image.Image]:
    """Make room around a picture: return it on its new canvas (RGB), and the mask (L) to paint.

    Sides are in pixels and grow until width and height are a multiple of `multiple`. The mask is
    255 in the new area and falls to 0 within `feather` pixels of the old one (at most half of it).
    Raises ParamsError.
    """
    for name, side in {"left": left, "top": top, "right": right, "bottom": bottom}.items():
        if side < 0:
            raise ParamsError(name, side, "a picture can only grow; give 0 or more pixels.")
    left, right = _snapped(picture.width, left, right, multiple)
    top, bottom = _snapped(picture.height, top, bottom, multiple)
    old = np.asarray(picture.convert("RGB"))
    across = _outwards(picture.width, left, right)
    down = _outwards(picture.height, top, bottom)
    distance = np.maximum(across[None, :], down[:, None])
    canvas = _filled(old, ((top, bottom), (left, right)), distance)
    mask = np.maximum(
        _fade(picture.width, left, right, feather)[None, :],
        _fade(picture.height, top, bottom, feather)[:, None],
    )
    return Image.fromarray(canvas), Image.fromarray(_bytes(mask * _WHITE))


def zoom_out(
    picture: Image.Image, factor: float, *, multiple: int = 8, feather: int = 32
) -> tuple[Image.Image, Image.Image]:
    """Shrink a picture `factor` times and make room around it, up to its own size again."""
    if not 1 < factor <= _MOST_ZOOM:
        raise ParamsError("factor", factor, f"zoom out by more than 1 and at most {_MOST_ZOOM:g}.")
    width, height = (max(1, round(side / factor)) for side in picture.size)
    small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    across, down = picture.width - width, picture.height - height
    return extend(
        small,
        left=across // 2,
        right=across - across // 2,
        top=down // 2,
        bottom=down - down // 2,
        multiple=multiple,
        feather=feather,
    )


def make_square(
    picture: Image.Image, *, multiple: int = 8, feather: int = 32
) -> tuple[Image.Image, Image.Image]:
    """Make room at the two short sides of a picture until it is a square."""
    side = -(-max(picture.size) // multiple) * multiple
    across, down = side - picture.width, side - picture.height
    return extend(
        picture,
        left=across // 2,
        right=across - across // 2,
        top=down // 2,
        bottom=down - down // 2,
        multiple=multiple,
        feather=feather,
    )


def paste_back(original: Image.Image, painted: Image.Image, mask: Image.Image) -> Image.Image:
    """Return the painted picture with the original where the mask is 0, blended between.

    All three have one size; the original is the one that `extend` returned, or the picture that was
    inpainted. Raises ValueError.
    """
    if not original.size == painted.size == mask.size:
        raise ValueError(
            f"picture {original.size}, painted {painted.size} and mask {mask.size} differ in size"
        )
    old, new = (np.asarray(each.convert("RGB"), dtype=np.float32) for each in (original, painted))
    share = np.asarray(mask.convert("L"), dtype=np.float32)[..., None] / _WHITE
    return Image.fromarray(_bytes(old * (1 - share) + new * share))


def latent_mask(
    mask: Image.Image, height: int, width: int, *, downscale: int = 1, soft: bool = False
) -> Tensor:
    """Return a mask as 1 x height/f x width/f in [0, 1], 1 where there is something to paint.

    `height` and `width` are the picture's, to which the mask is resized (Lanczos) if it has another
    size; `downscale` is f. As the reference does, the mask is cut at one half, then taken at the
    nearest pixel; `soft` keeps the greys and averages every position's pixels instead.
    """
    mask = mask.convert("L")
    if mask.size != (width, height):
        mask = mask.resize((width, height), Image.Resampling.LANCZOS)
    size = height // downscale, width // downscale
    grey = torch.from_numpy(np.array(mask, dtype=np.float32))[None, None] / _WHITE
    if soft:
        return functional.interpolate(grey, size, mode="area")[0]
    return functional.interpolate((grey >= 0.5).float(), size, mode="nearest")[0]


def _snapped(size: int, before: int, after: int, multiple: int) -> tuple[int, int]:
    """Grow the larger of two sides until the whole is a multiple."""
    if multiple < 1:
        raise ParamsError("multiple", multiple, "sizes are multiples of 1 or more.")
    rest = -(size + before + after) % multiple
    return (before + rest, after) if before > after else (before, after + rest)


def _outwards(size: int, before: int, after: int) -> NDArray[np.float32]:
    """Return for every place of one side how far out it is: 0 in the old picture, 1 at the rim."""
    inner = np.zeros(size, np.float32)
    start = np.arange(before, 0, -1, dtype=np.float32) / max(before, 1)
    end = np.arange(1, after + 1, dtype=np.float32) / max(after, 1)
    return np.concatenate([start, inner, end])


def _fade(size: int, before: int, after: int, feather: int) -> NDArray[np.float32]:
    """Return the mask along one side: 1 outside, falling linearly into the old picture."""
    width = max(0, min(feather, size // 2))
    places = np.arange(size, dtype=np.float32)
    slope = np.zeros(size, np.float32)
    if before:
        slope = np.maximum(slope, 1 - (places + 1) / (width + 1))
    if after:
        slope = np.maximum(slope, 1 - (size - places) / (width + 1))
    ones = np.ones
    return np.concatenate([ones(before, np.float32), slope, ones(after, np.float32)])


def _filled(
    old: NDArray[np.uint8],
    pads: tuple[tuple[int, int], tuple[int, int]],
    distance: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Mirror a picture outwards, blurred the more the further out; its own pixels stay."""
    mirrored = np.pad(old, (*pads, (0, 0)), mode="symmetric")
    radius = max(2.0, max(max(pair) for pair in pads) / 4)
    blurred = np.asarray(Image.fromarray(mirrored).filter(ImageFilter.GaussianBlur(radius)))
    share = distance[..., None]
    mixed = _bytes(mirrored * (1 - share) + blurred * share)
    filled: NDArray[np.uint8] = np.where(share > 0, mixed, mirrored)
    return filled


def _bytes(values: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = np.clip(np.rint(values), 0, _WHITE).astype(np.uint8)
    return rounded
