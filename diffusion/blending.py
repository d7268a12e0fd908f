"""Two to five pictures mixed into one, in the latents of a model's autoencoder.

Promises: work that rests after every picture and every tile; the same pictures and weights always
give the same bytes. The result has the first picture's shape at the model's own size, and the
others are cropped to it. Never paints: what the autoencoder makes of the mixture is what comes out.
"""

import math
from collections.abc import Generator, Sequence
from typing import Final

from PIL import Image, ImageOps
from torch import Tensor

from diffusion.errors import ParamsError
from diffusion.model import Model
from diffusion.params import Params
from diffusion.pixels import pictures_from, tensor_from
from diffusion.preparing import decoded
from diffusion.slerp import slerp
from diffusion.starts import WHOLE, Posterior, encode_image

MIN_BLEND: Final = 2
MAX_BLEND: Final = 5
# The longer side of the result is at most this many times the shorter one.
_LONGEST: Final = 4.0

Blending = Generator[None, None, Image.Image]


def shares_of(pictures: Sequence[Image.Image], weights: Sequence[float] | None) -> list[float]:
    """Return how much each picture counts, with a sum of 1. Raises ParamsError."""
    if not MIN_BLEND <= len(pictures) <= MAX_BLEND:
        raise ParamsError(
            "pictures", len(pictures), f"a blend takes {MIN_BLEND} to {MAX_BLEND} pictures"
        )
    given = [1.0] * len(pictures) if weights is None else list(weights)
    if len(given) != len(pictures):
        raise ParamsError("weights", len(given), f"there are {len(pictures)} pictures")
    if not all(weight > 0 and math.isfinite(weight) for weight in given):
        raise ParamsError("weights", given, "each must be a number above 0")
    return [weight / sum(given) for weight in given]


def blend_params(model: Model, first: Image.Image) -> Params:
    """Return the params of a picture as large as the blend: the shape of the first picture, the
    area and the multiples of the model.
    """
    info = model.info
    unit = math.lcm(info.size_multiple, model.vae.config.downscale)
    ratio = min(max(first.width / first.height, 1 / _LONGEST), _LONGEST)
    width, height = (
        max(unit, round(math.sqrt(info.native_area * each) / unit) * unit)
        for each in (ratio, 1 / ratio)
    )
    return Params(prompt="", width=width, height=height, images=1)


def blended(
    model: Model, params: Params, pictures: Sequence[Image.Image], shares: Sequence[float]
) -> Blending:
    """Mix pictures along the arcs between their latents, with rests; `params` say how large."""
    mixed: Tensor | None = None
    total = 0.0
    for picture, share in zip(pictures, shares, strict=True):
        latents = yield from _latents(model, params, picture)
        total += share
        mixed = latents if mixed is None else slerp(mixed, latents, share / total)
        yield
    if mixed is None:
        raise RuntimeError("there are no pictures to mix")
    images = yield from decoded(model, mixed, WHOLE, seamless=False)
    return pictures_from(images)[0]


def _latents(model: Model, params: Params, picture: Image.Image) -> Generator[None, None, Tensor]:
    """Return the likeliest latents of a picture, 1 x C x h x w, cropped to the size."""
    size = params.width, params.height
    fitted = ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS)
    images = tensor_from(fitted, width=params.width, height=params.height)
    encoded = yield from encode_image(model, images, seamless=False)
    if isinstance(encoded, Posterior):
        return encoded.vae.scaled(encoded.mean[None])
    return encoded.latents[None]
