"""TAESD, the tiny autoencoder (Bohan 2023): pictures from latents in a fraction of the time.

Promises the interface of the full autoencoder's halves: latents scaled as the backbone wants them,
pictures about [-1, 1]. Never draws from a posterior: it has none.
"""

import torch
from torch import Tensor, nn

from diffusion.networks.configs import TinyVAEConfig
from diffusion.networks.convolution import Conv2d


class Block(nn.Module):
    """Three 3 x 3 convolutions around a residual path, rectified."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x width x h x w to the same shape."""
        return torch.relu(self.conv(x) + x)


class Squash(nn.Module):
    """Keep latents within (-3, 3), smoothly: 3 tanh(x / 3)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to itself."""
        return torch.tanh(x / 3) * 3


class TinyEncoder(nn.Sequential):
    """Pictures to scaled latents; its layers are numbered as in the original file."""

    def __init__(self, config: TinyVAEConfig) -> None:
        width = config.width
        layers: list[nn.Module] = []
        for level, blocks in enumerate(reversed(config.blocks)):
            if level:
                layers.append(Conv2d(width, width, 3, padding=1, stride=2, bias=False))
            else:
                layers.append(Conv2d(3, width, 3, padding=1))
            layers += [Block(width) for _ in range(blocks)]
        super().__init__(*layers, Conv2d(width, config.z_channels, 3, padding=1))
        self.config = config

    def forward(self, input: Tensor) -> Tensor:
        """Map N x 3 x H x W pictures in [-1, 1] to N x z x H/f x W/f latents, f = 8 for TAESD."""
        return _through(self, (input + 1) / 2)


class TinyDecoder(nn.Sequential):
    """Scaled latents to pictures; its layers are numbered as in the original file."""

    def __init__(self, config: TinyVAEConfig) -> None:
        width = config.width
        layers: list[nn.Module] = [
            Squash(),
            Conv2d(config.z_channels, width, 3, padding=1),
            nn.ReLU(),
        ]
        for level, blocks in enumerate(config.blocks):
            if level:
                layers.append(nn.Upsample(scale_factor=2))
                layers.append(Conv2d(width, width, 3, padding=1, bias=False))
            layers += [Block(width) for _ in range(blocks)]
        super().__init__(*layers, Conv2d(width, 3, 3, padding=1))
        self.config = config

    def forward(self, input: Tensor) -> Tensor:
        """Map N x z x h x w latents to N x 3 x fh x fw pictures, about [-1, 1]; f = 8 for TAESD."""
        return _through(self, input) * 2 - 1


def _through(layers: nn.Sequential, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x
