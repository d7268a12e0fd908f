"""Pictures of fixed size from SVG bodies and WebP files, with straight alpha.

Promises: H x W x 4 uint8, sRGB, straight alpha, transparent pixels all zero, the same bytes on
every run. Sizes are changed on premultiplied colour, so no dark rim appears. Never: a network
access, or a file named by an SVG (embedded references are not resolved).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


class RasteriseError(RuntimeError):
    """A drawing could not be turned into pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Svg:
    """The inside of an `<svg>` element and its view box (left, top, width, height)."""

    body: str
    left: float
    top: float
    width: float
    height: float

    def document(self) -> str:
        """Return a whole SVG document whose view box is the centred square around this one."""
        side = max(self.width, self.height)
        left = self.left - (side - self.width) / 2
        top = self.top - (side - self.height) / 2
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left:g} {top:g} {side:g} {side:g}">{self.body}</svg>'
        )


def render_svg(svg: Svg, size: int) -> Pixels:
    """Render a drawing at size x size pixels."""
    try:
        import resvg_py
    except ImportError as error:
        raise RasteriseError(
            "resvg-py is not installed; install the extra: pip install 'easel[train]'."
        ) from error
    try:
        png = bytes(resvg_py.svg_to_bytes(svg_string=svg.document(), width=size, height=size))
    except ValueError as error:
        raise RasteriseError(f"an SVG of {len(svg.body)} characters failed: {error}") from error
    with Image.open(io.BytesIO(png)) as picture:
        return clean(np.asarray(picture.convert("RGBA"), dtype=np.uint8))


def read_picture(path: Path, size: int) -> Pixels:
    """Read a picture file, centre it on a transparent square, shrink that to size x size."""
    try:
        with Image.open(path) as picture:
            whole = picture.convert("RGBA")
    except OSError as error:
        raise RasteriseError(f"{path} is not a picture that can be read: {error}") from error
    side = max(whole.size)
    square = Image.new("RGBA", (side, side))
    square.paste(whole, ((side - whole.width) // 2, (side - whole.height) // 2))
    # "RGBa" is premultiplied colour; the box filter takes fractional steps.
    small = square.convert("RGBa").resize((size, size), Image.Resampling.BOX).convert("RGBA")
    return clean(np.asarray(small, dtype=np.uint8))


def clean(pixels: Pixels) -> Pixels:
    """Set the colour under fully transparent pixels to zero."""
    return np.where(pixels[..., 3:] == 0, np.uint8(0), pixels)


def shrink(pixels: Pixels, size: int) -> Pixels:
    """Average an H x W x 4 square down to size x size on premultiplied colour."""
    side = pixels.shape[0]
    if pixels.shape[:2] != (side, side) or side % size:
        raise RasteriseError(
            f"a picture of {pixels.shape[1]}x{pixels.shape[0]} cannot be averaged to {size}x{size};"
            " it must be square and a whole multiple of it."
        )
    k = side // size
    alpha = pixels[..., 3:].astype(np.float64)
    colour = pixels[..., :3].astype(np.float64) * alpha
    alpha = alpha.reshape(size, k, size, k, 1).sum(axis=(1, 3))
    colour = colour.reshape(size, k, size, k, 3).sum(axis=(1, 3))
    straight = colour / np.maximum(alpha, 1.0)
    out = np.concatenate([straight, alpha / (k * k)], axis=-1)
    return clean(np.rint(np.clip(out, 0, 255)).astype(np.uint8))
