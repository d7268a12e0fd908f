"""The start of every picture of a job: its noise, and what it starts from.

Promises: image i draws from the generator of its own seed alone (`Params.seed_of`), in the
reference's order: the posterior of the picture it starts from, its noise, the posterior of the
masked picture. So tile i can be made again without its neighbours.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from diffusion.canvas import latent_mask
from diffusion.conditions import Guide
from diffusion.errors import ParamsError
from diffusion.inputs import Inputs
from diffusion.model import Model
from diffusion.networks.convolution import borders
from diffusion.networks.vae import AutoencoderKL
from diffusion.noise import PictureNoise
from diffusion.painting import start_painting
from diffusion.params import Params
from diffusion.pixels import tensor_from
from diffusion.plan import Plan
from diffusion.slerp import slerp
from diffusion.slot_painting import AnyPainting, Pools, closed_on_failure
from diffusion.tiles import in_tiles
from diffusion.transfer import landed

# Latent positions a side: of a picture that the autoencoder takes whole, of a tile of a larger one,
# and of what neighbouring tiles share.
WHOLE: Final = 160
TILE: Final = 128
OVERLAP: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posterior:
    """What an autoencoder says of one picture: unscaled mean and deviation, C x h x w."""

    vae: AutoencoderKL
    mean: Tensor
    deviation: Tensor

    def draw(self, noise: PictureNoise) -> Tensor:
        """Draw scaled latents, C x h x w."""
        return self.vae.scaled((self.mean + self.deviation * noise())[None])[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certain:
    """Latents of an autoencoder without a posterior; draws nothing."""

    latents: Tensor

    def draw(self, noise: PictureNoise) -> Tensor:
        """Return the C x h x w latents."""
        del noise
        return self.latents


# Work on a picture, with rests; in the end what it was encoded to.
Encoding: TypeAlias = Generator[None, None, Posterior | Certain]


def encode_image(model: Model, images: Tensor, *, seamless: bool) -> Encoding:
    """Encode one picture, 1 x 3 x H x W in [-1, 1]; large ones in tiles, with a rest after each."""
    images = images.to(model.device, model.vae_dtype)
    vae = model.vae
    if not isinstance(vae, AutoencoderKL):
        with borders(seamless=seamless):
            encoded = vae.encode(images)[0].float()
        latents = yield from landed(encoded)
        return Certain(latents=latents)
    unit = vae.config.downscale
    whole = max(images.shape[-2:]) // unit
    small = whole <= WHOLE
    both = yield from in_tiles(
        lambda part: torch.cat(vae.moments(part), dim=1),
        images,
        unit=unit,
        tile=whole if small else TILE,
        overlap=0 if small else OVERLAP,
        seamless=seamless,
    )
    there = yield from landed(both.float())
    mean, logvar = there.chunk(2, dim=1)
    return Posterior(vae=vae, mean=mean[0], deviation=torch.exp(0.5 * logvar[0]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sources:
    """The pictures of a job, encoded.

    source: what it starts from. mask: 1 x h x w, 1 where it is painted. masked: for an inpainting
    network, the picture without what is painted anew.
    """

    source: Posterior | Certain | None = None
    mask: Tensor | None = None
    masked: Posterior | Certain | None = None


def encode_inputs(model: Model, params: Params, inputs: Inputs) -> Generator[None, None, Sources]:
    """Encode a job's pictures, with rests; ParamsError when its network needs others."""
    channels, height, width = model.latent_shape(params.width, params.height)
    inpaints = model.backbone.config.in_channels == 2 * channels + 1
    _check_channels(model, channels, inpaints=inpaints)
    source = mask = None
    # Where there is nothing to keep, an inpainting network sees an empty picture.
    masked_images = torch.zeros(1, 3, params.height, params.width)
    if inputs.init_image is not None:
        images = tensor_from(inputs.init_image, width=params.width, height=params.height)
        source = yield from encode_image(model, images, seamless=params.tile)
        yield
        if inputs.mask is not None:
            painted = latent_mask(inputs.mask, params.height, params.width)
            masked_images = images * (painted < 0.5)
            unit = model.vae.config.downscale
            mask = latent_mask(inputs.mask, params.height, params.width, downscale=unit)
    if not inpaints:
        return Sources(source=source, mask=mask)
    masked = yield from encode_image(model, masked_images, seamless=params.tile)
    mask = torch.ones(1, height, width) if mask is None else mask
    return Sources(source=source, mask=mask, masked=masked)


def start_paintings(
    model: Model,
    params: Params,
    plan: Plan,
    guides: Sequence[Guide],
    inputs: Inputs,
    noise: Tensor | None,
    pools: Pools | None = None,
) -> Generator[None, None, list[AnyPainting]]:
    """Start every picture of a job under its own guide, with rests. `noise` (images x C x h x w)
    replaces the seeds' start. With `pools` they run by tables there. Raises ParamsError.
    """
    sources = yield from encode_inputs(model, params, inputs)
    given = [None] * params.images if noise is None else list(noise.float().cpu())
    started: list[AnyPainting] = []
    with closed_on_failure(started):
        for i in range(params.images):
            started.append(
                _start(
                    model, params, plan, guides[i], sources, index=i, given=given[i], pools=pools
                )
            )
    return started


def _start(
    model: Model,
    params: Params,
    plan: Plan,
    guide: Guide,
    sources: Sources,
    *,
    index: int,
    given: Tensor | None,
    pools: Pools | None,
) -> AnyPainting:
    shape = model.latent_shape(params.width, params.height)
    noise = PictureNoise(shape, seed=params.seed_of(index))
    inpaints = sources.masked is not None
    latents = None
    # An inpainting network knows the picture from its own channels; from pure noise it never
    # needs the latents, and the reference draws nothing for them.
    if sources.source is not None and not (inpaints and plan.pure_noise):
        latents = sources.source.draw(noise)
    start = _varied(noise() if given is None else given, params, index)
    channels = None
    if sources.masked is not None and sources.mask is not None:
        channels = torch.cat([sources.mask, sources.masked.draw(noise)])
    painting = start_painting(
        plan,
        guide=guide,
        noise=noise,
        start=start,
        source=latents,
        mask=None if inpaints else sources.mask,
        channels=channels,
    )
    return painting if pools is None else pools.start(painting, noise, model.device)


def second_start(
    model: Model,
    params: Params,
    plan: Plan,
    guide: Guide,
    picture: Image.Image,
    index: int,
    pools: Pools | None = None,
) -> Generator[None, None, AnyPainting]:
    """Start the second, larger pass of one picture from what its first pass painted, with rests.

    Its noise is that of its seed again, as in AUTOMATIC1111.
    """
    images = tensor_from(picture, width=params.width, height=params.height)
    shape = model.latent_shape(params.width, params.height)
    noise = PictureNoise(shape, seed=params.seed_of(index))
    encoded = yield from encode_image(model, images, seamless=params.tile)
    latents = encoded.draw(noise)
    painting = start_painting(plan, guide=guide, noise=noise, start=noise(), source=latents)
    return painting if pools is None else pools.start(painting, noise, model.device)


def _varied(start: Tensor, params: Params, index: int) -> Tensor:
    """Turn the starting noise towards that of another seed (AUTOMATIC1111's variation)."""
    seed = params.variation_seed_of(index)
    if seed is None or params.variation_strength == 0:
        return start
    other = PictureNoise(tuple(start.shape), seed=seed)()
    return slerp(start, other, params.variation_strength)


def _check_channels(model: Model, latent: int, *, inpaints: bool) -> None:
    found = model.backbone.config.in_channels
    if inpaints or found == latent:
        return
    raise ParamsError(
        "model",
        model.info.name,
        f"its network takes {found} channels where latents have {latent}: "
        "models for depth maps, edits or enlarging need a picture of their own kind",
    )


def check_noise(latents: Tensor | None, shape: Sequence[int]) -> Tensor | None:
    """Return the given starting noise; ValueError when it has another shape."""
    if latents is not None and tuple(latents.shape) != tuple(shape):
        raise ValueError(f"latents are {tuple(latents.shape)}; this job needs {tuple(shape)}")
    return latents
