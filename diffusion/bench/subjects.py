"""The models that are measured: the shipped one, and random weights in the published sizes.

Promises: random weights are drawn on the device from a seed, scaled so that activations stay of
order one; a subject is a `Model` like any other. `tiny-…` are the same, shrunk, for tests.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

import torch
from torch import nn

from diffusion.addons import Addons
from diffusion.bench.errors import BenchError
from diffusion.bench.sizes import SIZES, Sizes
from diffusion.checkpoints.schedules import family_schedule
from diffusion.device import Device, choose_device
from diffusion.errors import DiffusionError
from diffusion.info import ModelDefaults, ModelInfo
from diffusion.loading import load_model
from diffusion.model import LinearPreview, Model
from diffusion.names import nearest
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.params import Params
from diffusion.schedules import NoiseSchedule
from diffusion.text import ClipEncoder, ClipStack, build_text_model, clip_tokenizer

SHIPPED: Final = "emoji"
_Network = TypeVar("_Network", bound=nn.Module)


MODELS: Final = (SHIPPED, *SIZES)
DEVICES: Final = ("auto", "cpu", "cuda")


def pick_device(name: str) -> Device:
    """Choose where to measure: "auto", "cpu" or "cuda"; BenchError when it is not there."""
    if name not in DEVICES:
        raise BenchError(f"no device {name!r} to measure on; there are {', '.join(DEVICES)}")
    try:
        found = choose_device(name)
        torch.empty(1, device=found.device)
    except (DiffusionError, RuntimeError) as error:
        raise BenchError(str(error).splitlines()[0]) from error
    return found


def build(name: str, device: Device, *, seed: int = 1) -> Model:
    """Load the shipped model, or make random weights; BenchError for another name."""
    if name == SHIPPED:
        return load_model(SHIPPED, device=device.device, dtype=device.dtype)
    sizes = SIZES.get(name)
    if sizes is None:
        hint = nearest(name, MODELS)
        advice = f"; did you mean {hint!r}?" if hint else f"; there are {', '.join(MODELS)}"
        raise BenchError(f"no model {name!r} to measure{advice}")
    return random_model(name, sizes, device, seed=seed)


def random_model(name: str, sizes: Sizes, device: Device, *, seed: int) -> Model:
    """Return a model of given sizes with random weights."""
    where, dtype = torch.device(device.device), getattr(torch, device.dtype)
    # As `loading` does: the autoencoder of XL overflows in float16, for either side.
    upcast = sizes.family == "sdxl" and dtype == torch.float16
    vae_dtype = torch.bfloat16 if upcast else dtype
    unet = _filled(lambda: UNet(sizes.unet), where, dtype, seed)
    vae = _filled(lambda: AutoencoderKL(sizes.vae), where, vae_dtype, seed + 1)
    encoders = []
    for place, config in enumerate(sizes.texts):
        text = _filled(lambda c=config: build_text_model(c), where, dtype, seed + 2 + place)  # type: ignore[misc]
        encoders.append(
            ClipEncoder(tokenizer=clip_tokenizer(), model=text, config=config, place=place)
        )
    scale = sizes.vae.downscale
    colours = torch.linspace(-0.3, 0.3, 3 * sizes.vae.latent_channels)
    return Model(
        info=ModelInfo(
            name=name,
            family=sizes.family,
            path="",
            native_width=sizes.latent * scale,
            native_height=sizes.latent * scale,
            size_multiple=sizes.multiple,
            display_scale=1,
            defaults=ModelDefaults(
                steps=sizes.steps, guidance_scale=7.5, sampler="dpmpp_2m", schedule="karras"
            ),
            sha256=None,
        ),
        backbone=unet,
        vae=vae,
        text=ClipStack(encoders),
        noise_schedule=replace(
            NoiseSchedule.from_diffusers(family_schedule(sizes.family)),
            prediction_type=sizes.prediction,
        ),
        preview=LinearPreview(weight=colours.reshape(3, -1, 1, 1), bias=torch.zeros(3)),
        device=where,
        dtype=dtype,
        vae_dtype=vae_dtype,
        addons=Addons(),
        micro_conditioning="sizes" if sizes.unet.added_dim else "none",
        size_dim=sizes.unet.size_dim,
    )


def job_params(
    model: Model,
    *,
    prompt: str = "red heart",
    seed: int = 1,
    steps: int | None = None,
    images: int = 4,
    sampler: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> Params:
    """Return a guided job with everything that is not given as the model likes it best."""
    info = model.info
    sampler = sampler or info.defaults.sampler
    return Params(
        prompt=prompt,
        seed=seed,
        steps=steps or info.defaults.steps,
        guidance_scale=info.defaults.guidance_scale,
        sampler=sampler,
        schedule=info.defaults.schedule if sampler == "dpmpp_2m" else "uniform",
        width=width or info.native_width,
        height=height or info.native_height,
        images=images,
    )


def side_for(model: Model, latent: int | None) -> int:
    """Return the side of the pictures in pixels: of `latent` positions, or what suits the device.

    BenchError when the network cannot halve that often.
    """
    scale = model.vae.config.downscale
    sizes = SIZES.get(model.info.name)
    if sizes is not None:
        return scale * positions(model.info.name, latent, model.device.type)
    return _checked(scale, latent, model.info.native_width // scale, model.info.size_multiple)


def positions(name: str, latent: int | None, device: str) -> int:
    """Return a side in latent positions, as `side_for`, of a model that need not be there."""
    sizes = SIZES.get(name)
    if sizes is None:
        model = build(name, choose_device("cpu"))
        return side_for(model, latent) // model.vae.config.downscale
    own = sizes.small if device == "cpu" else sizes.latent
    return _checked(sizes.vae.downscale, latent, own, sizes.multiple) // sizes.vae.downscale


def _checked(scale: int, latent: int | None, own: int, multiple: int) -> int:
    side = scale * (own if latent is None else latent)
    if side % multiple or side <= 0:
        unit = max(1, multiple // scale)
        raise BenchError(f"--latent is {latent}; this model takes multiples of {unit}")
    return side


def _filled(
    make: Callable[[], _Network], device: torch.device, dtype: torch.dtype, seed: int
) -> _Network:
    """Make a network without memory and fill it where it will run."""
    with torch.device("meta"):
        network = make().to(dtype)
    network.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
            else:
                base = 1.0 if name.endswith("weight") else 0.0
                parameter.normal_(base, 0.1, generator=generator)
        for name, buffer in network.named_buffers():
            if not name.endswith("position_ids"):
                raise BenchError(f"the buffer {name} of {type(network).__name__} is not known here")
            buffer.copy_(torch.arange(buffer.shape[-1])[None])
    return network.eval().requires_grad_(False)
