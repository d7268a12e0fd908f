"""Autoencoding in tiles, for pictures whose activations do not fit into memory at once.

Promises: no call sees more than `tile` latent positions a side; overlaps are blended linearly, so
that no seam is steeper than the difference of two tiles spread over the overlap; one tile that
covers all is exactly the plain call. Never knows which network it runs.

## Seamless pictures
A tile that wrapped around itself would see the wrong neighbours. So convolutions pad with zeros
inside tiles, and the latents are continued around the borders by one overlap before they are cut.
"""

from collections.abc import Callable, Generator, Iterator
from typing import Final, TypeAlias, TypeVar, cast

import torch
from torch import Tensor

from diffusion.networks.convolution import borders

# Latent positions: 512 pixels a side for Stable Diffusion, 128 of them shared.
TILE: Final = 64
OVERLAP: Final = 16

Coder: TypeAlias = Callable[[Tensor], Tensor]
Result = TypeVar("Result")


def decode_tiled(
    decode: Coder,
    latents: Tensor,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    seamless: bool = False,
) -> Tensor:
    """Map N x z x h x w latents to N x 3 x fh x fw, decoding `tile` x `tile` positions at a time.

    `overlap` (positions, less than half a tile) is shared with each neighbour; three or more hide
    the autoencoder's edges. Raises ValueError.
    """
    return finish(in_tiles(decode, latents, unit=1, tile=tile, overlap=overlap, seamless=seamless))


def encode_tiled(
    encode: Coder,
    images: Tensor,
    *,
    downscale: int,
    tile: int = TILE,
    overlap: int = OVERLAP,
    seamless: bool = False,
) -> Tensor:
    """Map N x 3 x H x W pictures to N x z x H/f x W/f latents; tile and overlap count latents.

    Height and width are multiples of `downscale`, f. Raises ValueError.
    """
    return finish(
        in_tiles(encode, images, unit=downscale, tile=tile, overlap=overlap, seamless=seamless)
    )


def finish(work: Generator[None, None, Result]) -> Result:
    """Run work that rests after every tile to its end, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return cast(Result, end.value)


def in_tiles(
    coder: Coder, x: Tensor, *, unit: int, tile: int, overlap: int, seamless: bool
) -> Generator[None, None, Tensor]:
    """Run `coder` on tiles of `unit` x tile input elements a side and blend what it gives.

    Rests after every tile, so that others' work can go between. Raises ValueError.
    """
    if tile < 1 or not 0 <= 2 * overlap < tile:
        raise ValueError(f"tiles of {tile} cannot overlap by {overlap}; less than half is needed")
    height, width = x.shape[-2] // unit, x.shape[-1] // unit
    if (height * unit, width * unit) != tuple(x.shape[-2:]):
        raise ValueError(f"{tuple(x.shape[-2:])} is not made of {unit} x {unit} blocks")
    if height <= tile and width <= tile:
        with borders(seamless=seamless):
            return coder(x)
    if seamless:
        x = _continued(x, overlap * unit)
    margin = overlap if seamless else 0
    out, scale = yield from _blend(coder, x, unit=unit, tile=tile, overlap=overlap)
    top = margin * scale
    return out[..., top : top + height * scale, top : top + width * scale]


def _continued(x: Tensor, margin: int) -> Tensor:
    """Continue N x C x h x w around its borders by `margin` elements."""
    for axis in (-2, -1):
        size = x.shape[axis]
        around = torch.arange(-margin, size + margin, device=x.device) % size
        x = x.index_select(axis, around)
    return x


def _blend(
    coder: Coder, x: Tensor, *, unit: int, tile: int, overlap: int
) -> Generator[None, None, tuple[Tensor, int]]:
    """Return the weighted mean of all tiles, and the output elements a side of one position."""
    height, width = x.shape[-2] // unit, x.shape[-1] // unit
    total = weights = torch.empty(0)
    scale = 0
    for top, rows in _spans(height, tile, overlap):
        for left, columns in _spans(width, tile, overlap):
            part = x[
                ...,
                top * unit : (top + rows) * unit,
                left * unit : (left + columns) * unit,
            ]
            with borders(seamless=False):
                done = coder(part)
            if not scale:
                scale = done.shape[-1] // columns
                shape = *done.shape[:-2], height * scale, width * scale
                total = torch.zeros(shape, dtype=torch.float32, device=done.device)
                weights = torch.zeros(shape[-2:], dtype=torch.float32, device=done.device)
            weight = torch.outer(
                _ramp(top, rows, height, overlap, scale),
                _ramp(left, columns, width, overlap, scale),
            ).to(done.device)
            area = (
                ...,
                slice(top * scale, (top + rows) * scale),
                slice(left * scale, (left + columns) * scale),
            )
            total[area] += done.float() * weight
            weights[area] += weight
            dtype = done.dtype
            yield
    return (total / weights).to(dtype), scale


def _spans(size: int, tile: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of the tiles along one side; the last ends where the side ends."""
    length = min(tile, size)
    start = 0
    while start + length < size:
        yield start, length
        start += tile - overlap
    yield size - length, length


def _ramp(start: int, length: int, size: int, overlap: int, scale: int) -> Tensor:
    """Return a tile's weights along one side: 1 in its middle, falling at inner edges."""
    count, fade = length * scale, overlap * scale
    weight = torch.ones(count)
    if fade:
        slope = (torch.arange(fade) + 0.5) / fade
        if start > 0:
            weight[:fade] = slope
        if start + length < size:
            weight[count - fade :] = slope.flip(0)
    return weight
