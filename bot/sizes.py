"""From a shape to the sides of a picture: the model's own area, in the model's own multiples.

Stable Diffusion XL was trained on a list of sizes (Podell et al. 2023, appendix I) and paints
others worse, so its pictures have the one of these that is nearest in shape.
"""

import math
from typing import Final

from bot.prompt import Aspect
from diffusion import ModelInfo

# The heights of the list for each width up to 1024, in units of 64; the others lie on their side.
_TRAINED: Final = {
    8: (32, 31, 30, 29),
    9: (28, 27, 26),
    10: (25, 24),
    11: (23, 22, 21),
    12: (21, 20),
    13: (19, 18),
    14: (18, 17),
    15: (17, 16),
    16: (16, 15),
}


def fit(aspect: Aspect, model: ModelInfo, *, max_pixels: int) -> tuple[int, int]:
    """Return the width and height nearest to shape and native area, in the model's multiples.

    Both errors count alike, as logarithms: a tenth too wide is as bad as a tenth too large.
    """
    trained = _trained_size(aspect, max_pixels) if _is_xl(model) else None
    if trained is not None:
        return trained
    unit, area = model.size_multiple, model.native_width * model.native_height
    area = min(area, max_pixels)
    ratio = aspect.width / aspect.height
    ideal = math.sqrt(area * ratio)
    best, best_error = (unit, unit), math.inf
    for width in _multiples_near(ideal, unit):
        for height in _multiples_near(ideal / ratio, unit):
            if width * height > max_pixels:
                continue
            shape, size = math.log(width / height / ratio), math.log(width * height / area)
            error = abs(shape) + abs(size)
            if error < best_error - 1e-9:
                best, best_error = (width, height), error
    return best


def _is_xl(model: ModelInfo) -> bool:
    return model.family.startswith("sdxl") and model.native_width == model.native_height == 1024


def _trained_size(aspect: Aspect, max_pixels: int) -> tuple[int, int] | None:
    """Return the trained size nearest in shape, the larger of two; None where all are too large."""
    tall = {(64 * wide, 64 * high) for wide, highs in _TRAINED.items() for high in highs}
    sizes = [size for size in tall | {(b, a) for a, b in tall} if size[0] * size[1] <= max_pixels]
    ratio = math.log(aspect.width / aspect.height)
    if not sizes:
        return None
    return min(
        sizes,
        key=lambda size: (round(abs(math.log(size[0] / size[1]) - ratio), 9), -size[0] * size[1]),
    )


def _multiples_near(length: float, unit: int) -> tuple[int, ...]:
    below = math.floor(length / unit)
    return tuple(unit * count for count in (below - 1, below, below + 1) if count >= 1) or (unit,)
