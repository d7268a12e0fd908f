"""The model that is taught: loaded in float32, checked for what training here can do with it.

Promises: a model that cannot be trained is refused by name and with the reason, before pictures are
read. Its weights are frozen; whoever trains some says so.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import nn

from diffusion.loading import load_model
from diffusion.model import Model
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.text import ClipEncoder, ClipStack, build_text_model
from diffusion.train.emoji import zero_last_layers
from diffusion.train.tuning.recipe import Recipe, TuningError

# The most pixels of a model that is small.
SMALL_AREA: Final = 128 * 128
# Numbers of each weight that tell one model from another.
_TOLD_BY: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A model and its networks by their kinds; `encoders` has one text transformer, or two (SDXL).
    `source`: the file or folder that it came from.
    """

    model: Model
    unet: UNet
    vae: AutoencoderKL
    encoders: tuple[ClipEncoder, ...]
    source: Path

    @property
    def small(self) -> bool:
        """Whether its pictures have at most 128 pixels a side."""
        return self.model.info.native_area <= SMALL_AREA

    @property
    def encoder(self) -> ClipEncoder:
        """Return the (first) text encoder, whose tokens captions are counted in."""
        return self.encoders[0]

    @property
    def has_sizes(self) -> bool:
        """Whether the U-Net is told the picture's sizes (Stable Diffusion XL)."""
        return self.model.micro_conditioning == "sizes"

    def side(self, wanted: int) -> int:
        """Return the side of a square of as many pixels as pictures are learned in, 0: native."""
        return wanted or math.isqrt(self.model.info.native_area)


def open_subject(model: str | Path, *, device: str = "cpu", vae: Path | None = None) -> Subject:
    """Load the model to train; errors as `load_model`, TuningError for one of another kind."""
    loaded = load_model(model, device=device, vae=vae)
    name = loaded.info.name
    unet, first, text = loaded.backbone, loaded.vae, loaded.text
    if not isinstance(unet, UNet) or not isinstance(text, ClipStack):
        raise TuningError(
            f"{name} is a model of the family {loaded.family!r}; training takes those that a CLIP "
            "text encoder steers: the shipped one and Stable Diffusion."
        )
    if not isinstance(first, AutoencoderKL):
        raise TuningError(f"{name} has an autoencoder with a codebook; training takes KL ones.")
    config = unet.config
    if config.in_channels != first.config.latent_channels:
        raise TuningError(
            f"{name} is an inpainting or depth model ({config.in_channels} channels in); train the "
            "plain model that it was made from."
        )
    if config.guidance_dim:
        raise TuningError(f"{name} is distilled to few steps; train the model that it came from.")
    if loaded.micro_conditioning == "aesthetic":
        raise TuningError(f"{name} is a refiner; train the base model.")
    return Subject(
        model=loaded,
        unet=unet,
        vae=first,
        encoders=tuple(text.encoders),
        source=Path(loaded.info.path),
    )


def check_method(subject: Subject, recipe: Recipe) -> None:
    """Raise TuningError when this model cannot be trained in that way."""
    if not subject.has_sizes:
        return
    if recipe.method != "lora" or recipe.text:
        what = "its text encoders" if recipe.method == "lora" else recipe.method
        raise TuningError(
            f"{subject.model.info.name} is Stable Diffusion XL, which is trained here as a LoRA of "
            f"its U-Net alone, not {what}: use the method lora without text."
        )


def fingerprint(subject: Subject) -> str:
    """Return a hash of some numbers of every weight: two models that differ are told apart."""
    digest = hashlib.sha256()
    networks: list[nn.Module] = [subject.unet, subject.vae, *(e.model for e in subject.encoders)]
    for network in networks:
        for name, weight in network.state_dict().items():
            some = weight.detach().flatten()[:_TOLD_BY].float().cpu()
            digest.update(f"{name} {tuple(weight.shape)}".encode())
            digest.update(some.numpy().tobytes())
    return digest.hexdigest()[:32]


def from_nothing(subject: Subject, *, text: bool, seed: int) -> Subject:
    """Return the same model with an untrained U-Net, and with `text` an untrained text encoder."""
    model = subject.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet(subject.unet.config)
        zero_last_layers(unet)
        encoders = subject.encoders
        if text:
            encoders = tuple(
                replace(each, model=build_text_model(each.config)) for each in encoders
            )
    networks: list[nn.Module] = [unet, *(each.model for each in encoders)]
    for network in networks:
        network.to(model.device).eval().requires_grad_(False)
    fresh = replace(model, backbone=unet, text=ClipStack(encoders))
    return replace(subject, model=fresh, unet=unet, encoders=encoders)
