"""A model whose network is a formula: as quick as arithmetic, and in float64 too.

Rows never meet in it, it knows its timestep and its words, and it mixes positions and channels. Its
autoencoder only makes pictures smaller and larger; the text encoder is the tiny model's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion.model import Model
from diffusion.networks.configs import UNetConfig, VAEConfig
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.schedules import NoiseSchedule
from tests.tiny import tiny_model

Residuals: TypeAlias = Sequence[Tensor] | None


class Toy(nn.Module):
    """Stand in for a U-Net on latents of four channels, and with nine for an inpainting one."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        config = tiny_model().backbone.config
        assert isinstance(config, UNetConfig)
        self.config = replace(config, in_channels=channels)
        self.passes: list[int] = []

    def time_row(
        self, timestep: float, _added: Tensor | None = None, guidance: float | None = None
    ) -> Tensor:
        return torch.tensor([timestep, guidance or 0.0])

    def context_row(self, context: Tensor) -> tuple[Tensor, ...]:
        return (torch.tanh(context.mean(dim=0)[:4]),)

    def run(
        self,
        x: Tensor,
        times: Tensor,
        contexts: Sequence[Tensor],
        *,
        control: Residuals = None,
    ) -> Tensor:
        self.passes.append(len(x))
        t = times[:, 0, None, None, None].to(x)
        x_t, words = x[:, :4], contexts[0][:, :, None, None].to(x)
        if x.shape[1] > 4:
            x_t = x_t + 0.2 * x[:, 4:5] * x[:, 5:]
        mixed = x_t + 0.3 * x_t.roll(1, dims=-1) - 0.2 * x_t.flip(1) + words
        if control is not None:
            mixed = mixed + control[0]
        return torch.tanh(mixed * (0.6 + 0.4 * torch.sin(t / 150))) + 0.3 * torch.cos(t / 90) * x_t


class Frames(AutoencoderKL):
    """Stand in for an autoencoder with a Gaussian latent."""

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        small = functional.avg_pool2d(images, self.config.downscale)
        mean = torch.cat([small, small.mean(dim=1, keepdim=True)], dim=1)
        return mean, torch.full_like(mean, -4.0)

    def decode(self, latents: Tensor) -> Tensor:
        wide = functional.interpolate(latents, scale_factor=self.config.downscale)
        return torch.tanh(wide[:, :3] + wide[:, 3:] * 0.3)


@cache
def frames() -> Frames:
    config = tiny_model().vae.config
    assert isinstance(config, VAEConfig)
    return Frames(config).eval().requires_grad_(False)


@dataclass(frozen=True)
class Kind:
    """What a toy model differs in."""

    prediction: str = "epsilon"
    clips: bool = False
    channels: int = 4


def toy_model(kind: Kind | None = None) -> Model:
    """Return a fresh model around a toy network: what it has measured is its own."""
    kind = kind or Kind()
    schedule = NoiseSchedule(
        prediction_type=kind.prediction, clip_sample=kind.clips, clip_sample_range=1.0
    )
    return replace(
        tiny_model(),
        backbone=cast(UNet, Toy(kind.channels)),
        vae=frames(),
        noise_schedule=schedule,
    )
