"""What the denoiser is trained on, encoded once: drawings and compositions, on canvases of all
shapes.

Promises: the same latents from the same drawings and autoencoder; held-out drawings and
combinations never (see `compose.split`); every picture with its own captions to draw from. Colours
behind the pictures come from a stream of their own, apart from the captions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import numpy as np
import torch
from torch import Tensor

from diffusion.networks.vae import AutoencoderKL
from diffusion.text import TextEncoder
from diffusion.train.captions import BACKGROUNDS, WHITE, Colour, Rates
from diffusion.train.compose.composition import Composition, Kind, Mix, sample_caption
from diffusion.train.compose.draw import draw, make_stock
from diffusion.train.compose.layout import Box
from diffusion.train.data import Pixels, Row
from diffusion.train.denoiser import Batches, LatentCache
from diffusion.train.presets import EmojiPreset
from diffusion.train.vae import composite

# People type names far more often than styles, so a quarter of the captions names none.
RATES: Final = Rates(no_style=0.25, background=0.15)
_SEED: Final = 3
_ENCODED_AT_ONCE: Final = 64


def place(art: Tensor, width: int, height: int) -> Tensor:
    """Lay N x 4 x S x S art in the middle of a transparent canvas, shrunk to fit."""
    size = min(width, height, art.shape[-1])
    alpha = art[:, 3:]
    # Premultiplied, or the colours of transparent pixels bleed into the edges.
    small = torch.nn.functional.interpolate(
        torch.cat([art[:, :3] * alpha, alpha], dim=1), size=(size, size), mode="area"
    )
    small[:, :3] /= small[:, 3:].clamp(min=1e-4)
    left, top = (width - size) // 2, (height - size) // 2
    return torch.nn.functional.pad(
        small, (left, width - size - left, top, height - size - top)
    ).clamp(0, 1)


def canvas_sizes(preset: EmojiPreset) -> list[tuple[int, int, float]]:
    """Return widths and heights in pixels with their shares: square, 3:2 and 16:9 both ways.

    Latent sides differ by one position from the exact ratio; the area stays that of the square.
    """
    unit = preset.vae.config.downscale
    side = preset.pixels // unit
    wide = [(round(side * 1.225), round(side / 1.1)), (round(side * 4 / 3), round(side * 0.75))]
    sizes = [(side, side, 0.8)]
    for width, height in wide:
        sizes += [(width, height, 0.05), (height, width, 0.05)]
    return [(w * unit, h * unit, share) for w, h, share in sizes]


def plain(pixels: Pixels, rows: Sequence[Row]) -> Iterator[Composition]:
    """Yield every drawing as it is."""
    side = int(pixels.shape[1])
    for row in rows:
        yield Composition(
            canvas=np.asarray(pixels[row.row]),
            kind=Kind.PLAIN,
            subject=row.name,
            rows=(row,),
            boxes=(Box(left=0, top=0, side=side),),
            flip=row.flip,
        )


def compose(
    pixels: Pixels, rows: Sequence[Row], count: int, mix: Mix, *, seed: int = _SEED
) -> Iterator[Composition]:
    """Yield `count` random compositions, the same for the same seed."""
    if count:
        stock, rng = make_stock(pixels, rows), np.random.default_rng(seed)
        for _ in range(count):
            yield draw(stock, rng, mix)


@torch.no_grad()
def latent_cache(
    vae: AutoencoderKL,
    pictures: Iterator[Composition],
    *,
    size: tuple[int, int],
    share: float,
    rng: np.random.Generator,
    white: bool = False,
) -> LatentCache:
    """Encode pictures on canvases of `size` (width, height in pixels), some of them mirrored.

    white: on nothing but white; else one in five lies on a named colour, never its own.
    """
    latents, subjects, backgrounds = [], [], []
    while some := list(islice(pictures, _ENCODED_AT_ONCE)):
        colours = [WHITE if white else _background(each, rng) for each in some]
        turned = [
            each.canvas[:, ::-1] if each.flip and rng.random() < 0.5 else each.canvas
            for each in some
        ]
        art = torch.from_numpy(np.stack(turned)).permute(0, 3, 1, 2).float() / 255
        behind = torch.tensor([colour.rgb for colour in colours]) / 255
        latents.append(vae.encode(composite(place(art, *size), behind)))
        # The pixels are in the latents now, and would fill the memory.
        subjects += [replace(each, canvas=each.canvas[:0]) for each in some]
        backgrounds += colours
    return LatentCache(
        latents=torch.cat(latents), subjects=subjects, backgrounds=backgrounds, share=share
    )


def _background(picture: Composition, rng: np.random.Generator) -> Colour:
    # Drawings are encoded twice on white alone; so the share over all is the captions' rate.
    if rng.random() >= RATES.background * 4 / 3:
        return WHITE
    others = [colour for colour in BACKGROUNDS if colour.name != picture.colour]
    return others[int(rng.integers(len(others)))]


def make_batches(
    preset: EmojiPreset, vae: AutoencoderKL, pixels: Pixels, rows: Sequence[Row], text: TextEncoder
) -> Batches:
    """Encode drawings and compositions on every canvas; return what draws batches from them.

    The preset's mix says how often a batch is of compositions. Canvases have as many of them as
    they are drawn often, so that each is seen equally often.
    """
    rng = np.random.default_rng(_SEED)
    composed = 1 - preset.mix.plain if preset.compositions else 0.0
    caches: list[LatentCache] = []
    for number, (width, height, share) in enumerate(canvas_sizes(preset)):
        size = (width, height)
        variants = [
            latent_cache(vae, plain(pixels, rows), size=size, share=0.0, rng=rng, white=variant < 2)
            for variant in range(preset.variants)
        ]
        caches.append(_joined(variants, share * (1 - composed)))
        if composed:
            count = max(1, round(preset.compositions * share))
            pictures = compose(pixels, rows, count, preset.mix.composed(), seed=_SEED + number)
            caches.append(latent_cache(vae, pictures, size=size, share=share * composed, rng=rng))

    def tokenize(captions: Sequence[str]) -> Tensor:
        return torch.tensor([text.window_ids(each)[0] for each in captions])

    def caption(picture: Composition, background: Colour, rng: np.random.Generator) -> str:
        return sample_caption(picture, rng, background, RATES)

    return Batches(caches=caches, caption=caption, tokenize=tokenize)


def _joined(caches: Sequence[LatentCache], share: float) -> LatentCache:
    return LatentCache(
        latents=torch.cat([cache.latents for cache in caches]),
        subjects=[each for cache in caches for each in cache.subjects],
        backgrounds=[each for cache in caches for each in cache.backgrounds],
        share=share,
    )
