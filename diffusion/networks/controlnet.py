"""ControlNet (Zhang et al. 2023): the contracting half of a U-Net that looks at a hint as well, and
steers the U-Net by what it adds to its skip connections.

Promises residuals in the order that `UNet.forward` takes them. Never makes a hint from a picture.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from diffusion.networks.configs import ControlNetConfig
from diffusion.networks.convolution import Conv2d
from diffusion.networks.hoisting import Contracting


class ControlNet(Contracting):
    """Turn a hint of the size of the picture into residuals for one forward of a U-Net."""

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__(config.unet)
        self.config = config
        # Sequentials of one only because checkpoints call the convolutions `zero_convs.<i>.0`.
        self.zero_convs = nn.ModuleList(
            nn.Sequential(Conv2d(width, width, 1)) for width in self.widths
        )
        self.input_hint_block = _hint_block(config)
        self.middle_block_out = nn.Sequential(Conv2d(self.widths[-1], self.widths[-1], 1))

    def forward(
        self,
        x: Tensor,
        hint: Tensor,
        timesteps: Tensor,
        context: Tensor | None = None,
        added: Tensor | None = None,
        *,
        scale: float = 1.0,
        guess: bool = False,
    ) -> list[Tensor]:
        """Return one residual for every skip connection of the U-Net, in order, then the middle's.

        x: N x in_channels x h x w. hint: N x hint_channels x 8h x 8w in [0, 1]. timesteps, context
        and added: as for the U-Net. `scale` multiplies every residual; `guess` replaces a prompt by
        trusting the deep layers more: the residuals are scaled from 0.1 to 1, evenly in the
        logarithm. Raises ValueError for a hint of another size.
        """
        rows, keys_values = self.rows(timesteps, context, added, None)
        times, contexts = self.cut(rows), iter(keys_values)
        seen = self.input_hint_block(hint)
        if seen.shape[-2:] != x.shape[-2:]:
            raise ValueError(
                f"the hint is {hint.shape[-1]} x {hint.shape[-2]} pixels; latents of "
                f"{x.shape[-1]} x {x.shape[-2]} need one {_factor(self.config)} times their size"
            )
        residuals: list[Tensor] = []
        for stage, zero_conv in zip(self.input_blocks, self.zero_convs, strict=True):
            x = stage(x, times, contexts)
            if not residuals:
                x = x + seen
            residuals.append(zero_conv(x))
        x = self.middle_block(x, times, contexts)
        residuals.append(self.middle_block_out(x))
        count = len(residuals)
        weights = (torch.logspace(-1, 0, count) * scale).tolist() if guess else [scale] * count
        return [residual * weight for residual, weight in zip(residuals, weights, strict=True)]


def _factor(config: ControlNetConfig) -> int:
    return int(2 ** (len(config.hint_widths) - 1))


def _hint_block(config: ControlNetConfig) -> nn.Sequential:
    """Build the small convolutional network that brings a hint to the size of the latents."""
    first, last = config.hint_widths[0], config.hint_widths[-1]
    layers: list[nn.Module] = [Conv2d(config.hint_channels, first, 3, padding=1), nn.SiLU()]
    for width, wider in pairwise(config.hint_widths):
        layers += [Conv2d(width, width, 3, padding=1), nn.SiLU()]
        layers += [Conv2d(width, wider, 3, padding=1, stride=2), nn.SiLU()]
    return nn.Sequential(*layers, Conv2d(last, config.unet.model_channels, 3, padding=1))
