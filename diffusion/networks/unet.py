"""The backbone: a U-Net with cross-attention (Ronneberger et al. 2015; Rombach et al. 2022, section
3.3).

Promises the numbers of Stable Diffusion for the numbers of its configuration: one class serves the
shipped model and every checkpoint of the family. Never knows noise levels, guidance or prompts: it
predicts, others interpret.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from diffusion.kernels import GroupNorm, activated
from diffusion.networks.blocks import Stage, Upsample, attention_layers, res_block
from diffusion.networks.configs import UNetConfig
from diffusion.networks.convolution import Conv2d
from diffusion.networks.hoisting import Contracting


class UNet(Contracting):
    """Predict noise (or velocity) for noisy latents at given timesteps under a context."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        self.config = config
        self.output_blocks = _output_blocks(config, self.widths)
        self.out = nn.Sequential(
            GroupNorm(config.norm_groups, config.model_channels),
            nn.SiLU(),
            Conv2d(config.model_channels, config.out_channels, 3, padding=1),
        )

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor | None = None,
        added: Tensor | None = None,
        *,
        guidance: Tensor | None = None,
        control: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Return the raw prediction, N x out_channels x h x w.

        x: N x in_channels x h x w. timesteps: N, fractions allowed. context: N x T x context_dim,
        None exactly when the configuration has no `context_dim`. added: N x added_dim, or N class
        numbers when there are `num_classes`. guidance: N, w - 1, exactly when there is
        a `guidance_dim`. control: residuals to add to every skip connection in their order and last
        to the middle (Zhang et al. 2023). Raises ValueError for anything else.
        """
        times, contexts = self.rows(timesteps, context, added, guidance)
        return self.run(x, times, contexts, control=control)

    def run(
        self,
        x: Tensor,
        times: Tensor,
        contexts: Sequence[Tensor],
        *,
        control: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Return the raw prediction, N x out_channels x h x w, bit for bit as `forward`.

        x: N x in_channels x h x w. times: N x P, stacked `time_row`s. contexts: for every tensor of
        a `context_row` the N rows stacked, N x heads x T x d. control: as for `forward`. Raises
        ValueError for residuals of another family.
        """
        if control is not None and len(control) != len(self.widths) + 1:
            raise ValueError(
                f"this U-Net takes {len(self.widths)} control residuals and one for the middle, "
                f"and got {len(control)}: the ControlNet belongs to another family"
            )
        parts, keys_values = self.cut(times), iter(contexts)
        skips: list[Tensor] = []
        for stage in self.input_blocks:
            x = stage(x, parts, keys_values)
            skips.append(x)
        x = self.middle_block(x, parts, keys_values)
        if control is not None:
            x = x + control[-1]
        for stage in self.output_blocks:
            skip = skips.pop()
            if control is not None:
                skip = skip + control[len(skips)]
            x = torch.cat([x, skip], dim=1)
            # Odd sizes do not survive halving: the next skip knows the size to come back to.
            size = (skips[-1].shape[-2], skips[-1].shape[-1]) if skips else (0, 0)
            x = stage(x, parts, keys_values, size)
        norm, _, convolution = self.out
        return cast(Tensor, convolution(activated(norm, x)))


def _output_blocks(config: UNetConfig, widths: list[int]) -> nn.ModuleList:
    """Build the expanding half: one block more a level, since each takes one skip connection."""
    blocks = nn.ModuleList()
    skips = list(widths)
    channels = widths[-1]
    for level in reversed(range(len(config.channel_mult))):
        width = config.channel_mult[level] * config.model_channels
        depth = config.transformer_depth[level]
        for index in range(config.num_res_blocks + 1):
            layers: list[nn.Module] = [res_block(config, channels + skips.pop(), width)]
            channels = width
            layers += attention_layers(config, channels, depth, level)
            if level and index == config.num_res_blocks:
                layers.append(
                    res_block(config, channels, channels, "up")
                    if config.resblock_updown
                    else Upsample(channels)
                )
            blocks.append(Stage(layers))
    return blocks
