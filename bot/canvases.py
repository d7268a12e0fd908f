"""What a zoom, a pan, a square and a region start from: the picture on its canvas, and the mask.

Promises sizes that fit the model, a mask that is white where there is something to paint, and old
pixels that stay as they are. Every function takes CPU time: call it in a thread. Loads torch only
there, and never paints.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageFilter

from bot.jobs import plain_png
from bot.permissions import Action
from diffusion import ModelInfo

PAN_SHARE: Final = 0.3
ROWS: Final = 4
COLUMNS: Final = 4
# The seam's width, as a share of the picture's shorter side; no less than this many pixels.
_SEAM_SHARE: Final = 1 / 16
_LEAST_SEAM: Final = 4
# At one side there is room for two latents, where a narrow seam of small pictures would show.
_SIDE_SEAM: Final = 16
_WHITE: Final = 255
_ALIKE: Final = 1e-6

Cell = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Canvas:
    """A picture (RGB) and where to paint on it (L), of one size."""

    picture: Image.Image
    mask: Image.Image

    def files(self) -> tuple[bytes, bytes]:
        """Return both as files, to be kept."""
        return plain_png(self.picture), plain_png(self.mask)


def fitted(tile: Image.Image, width: int, height: int) -> Image.Image:
    """Return a picture at the size that its model paints: one that was enlarged gets smaller."""
    if tile.size == (width, height):
        return tile
    return tile.resize((width, height), Image.Resampling.LANCZOS)


def zoomed(tile: Image.Image, factor: float, model: ModelInfo) -> Canvas:
    """Make a picture `factor` times smaller and leave room around it, up to its own size."""
    from diffusion.canvas import zoom_out

    made = zoom_out(tile, factor, multiple=model.size_multiple, feather=seam(tile))
    return Canvas(picture=made[0], mask=made[1])


def reshaped(tile: Image.Image, factor: float, size: tuple[int, int], model: ModelInfo) -> Canvas:
    """Lay a picture in the middle of another shape, `factor` times smaller than it would fit in."""
    from diffusion.canvas import extend

    scale = min(size[0] / tile.width, size[1] / tile.height) / factor
    small = tuple(
        max(1, min(most, round(side * scale))) for side, most in zip(tile.size, size, strict=True)
    )
    if abs(scale - 1) > _ALIKE:
        tile = tile.resize((small[0], small[1]), Image.Resampling.LANCZOS)
    across, down = size[0] - tile.width, size[1] - tile.height
    made = extend(
        tile,
        left=across // 2,
        right=across - across // 2,
        top=down // 2,
        bottom=down - down // 2,
        multiple=model.size_multiple,
        feather=seam(tile),
    )
    return Canvas(picture=made[0], mask=made[1])


def panned(tile: Image.Image, way: Action, model: ModelInfo) -> Canvas:
    """Leave room at one side, 30 % of the picture."""
    from diffusion.canvas import extend

    across, down = round(tile.width * PAN_SHARE), round(tile.height * PAN_SHARE)
    made = extend(
        tile,
        left=across if way is Action.LEFT else 0,
        right=across if way is Action.RIGHT else 0,
        top=down if way is Action.UP else 0,
        bottom=down if way is Action.DOWN else 0,
        multiple=model.size_multiple,
        feather=max(_SIDE_SEAM, seam(tile)),
    )
    return Canvas(picture=made[0], mask=made[1])


def squared(tile: Image.Image, model: ModelInfo) -> Canvas:
    """Leave room at the two short sides until the picture is a square."""
    from diffusion.canvas import make_square

    made = make_square(tile, multiple=model.size_multiple, feather=seam(tile))
    return Canvas(picture=made[0], mask=made[1])


def cells_mask(cells: Collection[Cell], width: int, height: int) -> Image.Image:
    """Return a mask that is white in some cells (row, column; from 0) of a picture."""
    mask = Image.new("L", (width, height))
    for row, column in cells:
        box = (
            column * width // COLUMNS,
            row * height // ROWS,
            (column + 1) * width // COLUMNS,
            (row + 1) * height // ROWS,
        )
        mask.paste(_WHITE, box)
    return mask


def region(tile: Image.Image, mask: Image.Image) -> Canvas:
    """Return a picture with the mask of what is painted anew, its border a soft seam."""
    sharp = mask.convert("L").resize(tile.size, Image.Resampling.BILINEAR)
    soft = sharp.filter(ImageFilter.GaussianBlur(seam(tile) / 4))
    return Canvas(picture=tile, mask=soft)


def is_empty(mask: Image.Image) -> bool:
    """Tell whether a mask leaves nothing to paint: no spot of it is nearer to white than black."""
    _, most = mask.convert("L").getextrema()
    return not isinstance(most, int | float) or most <= _WHITE // 2


def seam(picture: Image.Image) -> int:
    """Return how many pixels wide the border between old and new is."""
    return max(_LEAST_SEAM, round(min(picture.size) * _SEAM_SHARE))
