"""A model: networks with weights, ready to paint.

Promises: immutable, so many jobs share it; what it computes depends on its weights alone. Never
reads a file: `diffusion.loading` makes models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import torch
from PIL import Image
from torch import Tensor

from diffusion.exact import Certificates
from diffusion.hoisted import Hoisted
from diffusion.info import ModelInfo
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.pixels import PixelSpace
from diffusion.networks.tiny import TinyDecoder
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.networks.vq import AutoencoderVQ
from diffusion.pace import Pace
from diffusion.safety import SafetyChecker
from diffusion.schedules import NoiseSchedule
from diffusion.text import Conditioning, TextStack

if TYPE_CHECKING:
    from diffusion.addons import Addons

Backbone: TypeAlias = UNet | DDPMUNet
FirstStage: TypeAlias = AutoencoderKL | AutoencoderVQ | PixelSpace
# A latent side larger than this is made smaller before a preview of it is decoded.
_PREVIEW_SIDE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearPreview:
    """The linear decoder for previews: one convolution from latents to patches of pixels.

    weight: 3p^2 x z x k x k with k odd, bias: 3p^2, p pixels a side of a latent position.
    """

    weight: Tensor
    bias: Tensor

    def images(self, latents: Tensor) -> Tensor:
        """Map N x z x h x w latents to N x 3 x ph x pw pictures, about [-1, 1]."""
        patch = round((len(self.bias) // 3) ** 0.5)
        reach = self.weight.shape[-1] // 2
        # Borders continue outwards, as in the pictures that the map was fitted to.
        padded = torch.nn.functional.pad(latents, (reach,) * 4, mode="replicate")
        patches = torch.nn.functional.conv2d(padded, self.weight, self.bias)
        return torch.nn.functional.pixel_shuffle(patches, patch)


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyPreview:
    """Previews by a tiny decoder (TAESD), in float32 on the CPU beside the device's own work."""

    decoder: TinyDecoder

    def images(self, latents: Tensor) -> Tensor:
        """Map N x z x h x w latents to N x 3 x H x W pictures, about [-1, 1]; large ones halved."""
        while max(latents.shape[-2:]) > _PREVIEW_SIDE:
            latents = torch.nn.functional.avg_pool2d(latents, 2)
        return cast(Tensor, self.decoder(latents))


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelPreview:
    """Previews where the latents are the picture."""

    def images(self, latents: Tensor) -> Tensor:
        """Return N x 3 x H x W pictures as they are."""
        return latents


Preview: TypeAlias = LinearPreview | TinyPreview | PixelPreview


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What was found out about a model on its device: sizes that agree, how long rows take."""

    certificates: Certificates = field(default_factory=Certificates)
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """Everything that belongs to one checkpoint.

    `text` is None for a model without words. `micro_conditioning` says which numbers Stable
    Diffusion XL is told beside the text, `size_dim` how wide the sinusoid of each is.
    `guidance_embedded`: the network takes the guidance scale as an input. `vae_dtype` is the
    precision of the first stage, which may overflow where the backbone does not.
    """

    info: ModelInfo
    backbone: Backbone
    vae: FirstStage
    text: TextStack | None
    noise_schedule: NoiseSchedule
    preview: Preview
    device: torch.device
    dtype: torch.dtype
    vae_dtype: torch.dtype
    addons: "Addons"
    micro_conditioning: Literal["none", "sizes", "aesthetic"] = "none"
    size_dim: int = 256
    zero_empty_negative: bool = False
    guidance_embedded: bool = False
    safety: SafetyChecker | None = field(default=None)
    # Not part of what it computes, only of how soon: a changed copy starts without them.
    measured: Measured = field(default_factory=Measured, init=False)
    hoisted: Hoisted = field(default_factory=Hoisted, init=False)

    @property
    def family(self) -> str:
        """The architecture's short name: "emoji", "sd1", "sdxl", …"""
        return self.info.family

    def encode_prompts(self, prompts: Sequence[str], clip_skip: int = 0) -> Conditioning:
        """Encode prompts to conditioning: .context N x T x D, .pooled N x P or None.

        ValueError for a model without words.
        """
        if self.text is None:
            raise ValueError(f"{self.info.name} paints without words: it has no text encoder")
        return self.text.encode(prompts, clip_skip)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return the C x h x w shape of the latents of one picture."""
        config = self.vae.config
        return config.latent_channels, height // config.downscale, width // config.downscale

    def flagged(self, pictures: Sequence[Image.Image]) -> tuple[bool, ...]:
        """Return what the checkpoint's safety checker objects to; empty where it has none."""
        return () if self.safety is None else tuple(self.safety.check(pictures))
