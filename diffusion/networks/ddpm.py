"""The pixel-space U-Net of denoising diffusion (Ho et al. 2020, appendix B).

Promises the names and numbers of the original weights in PyTorch. Never knows a latent, a text or a
noise level: timesteps in, predicted noise out.
"""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion.networks.attention import timestep_embedding
from diffusion.networks.configs import DDPMConfig
from diffusion.networks.convolution import Conv2d
from diffusion.networks.vae import Attention, Downsample, ResBlock, Upsample


class Level(nn.Module):
    """The blocks of one resolution: `block.<j>`, `attn.<j>`, and `downsample` or `upsample`."""

    def __init__(self, blocks: list[ResBlock], attention: list[Attention]) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.attn = nn.ModuleList(attention)

    def step(self, index: int, x: Tensor, embedding: Tensor) -> Tensor:
        """Run one block and the attention behind it, if there is one."""
        x = self.block[index](x, embedding)
        return cast(Tensor, self.attn[index](x)) if len(self.attn) else x

    def resized(self, x: Tensor) -> Tensor:
        """Run the change of resolution."""
        layer = self.downsample if hasattr(self, "downsample") else self.upsample
        return cast(Tensor, cast(nn.Module, layer)(x))


class TimeMLP(nn.Module):
    """Two linear layers over a sinusoid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.ModuleList([nn.Linear(width, 4 * width), nn.Linear(4 * width, 4 * width)])

    def forward(self, sinusoids: Tensor) -> Tensor:
        """Map N x width to N x 4 width."""
        return cast(Tensor, self.dense[1](functional.silu(self.dense[0](sinusoids))))


class Middle(nn.Module):
    """The lowest resolution: attention between two blocks."""

    def __init__(self, channels: int, config: DDPMConfig) -> None:
        super().__init__()
        self.block_1 = _block(config, channels, channels)
        self.attn_1 = Attention(channels, groups=config.norm_groups, eps=config.norm_eps)
        self.block_2 = _block(config, channels, channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map N x C x h x w to the same shape."""
        return cast(Tensor, self.block_2(self.attn_1(self.block_1(x, embedding)), embedding))


class DDPMUNet(nn.Module):
    """Predict the noise in noisy pictures."""

    def __init__(self, config: DDPMConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.model_channels * mult for mult in (1, *config.channel_mult)]
        last = len(config.channel_mult) - 1
        self.temb = TimeMLP(config.model_channels)
        self.conv_in = Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        for level, (width, wider) in enumerate(pairwise(widths)):
            inputs = [width] + [wider] * (config.num_res_blocks - 1)
            stage = _level(config, level, inputs, wider)
            if level != last:
                stage.downsample = Downsample(wider)
            self.down.append(stage)
        self.mid = Middle(widths[-1], config)
        stages: list[Level] = []
        channels = widths[-1]
        for level in reversed(range(last + 1)):
            width, wider = widths[level], widths[level + 1]
            skips = [wider] * config.num_res_blocks + [width]
            befores = [channels] + [wider] * config.num_res_blocks
            inputs = [a + b for a, b in zip(befores, skips, strict=True)]
            stage = _level(config, level, inputs, wider)
            if level:
                stage.upsample = Upsample(wider)
            stages.append(stage)
            channels = wider
        # Checkpoints number the levels from the finest; the forward walks them backwards.
        self.up = nn.ModuleList(reversed(stages))
        self.norm_out = nn.GroupNorm(config.norm_groups, channels, eps=config.norm_eps)
        self.conv_out = Conv2d(channels, config.out_channels, 3, padding=1)

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor | None = None,
        added: Tensor | None = None,
    ) -> Tensor:
        """Return the predicted noise, N x out_channels x h x w.

        x: N x in_channels x h x w, both divisible by 2 to the number of levels less one. timesteps:
        N. The model is unconditional: `context` and `added` are there because every backbone is
        called alike, and must be None. Raises ValueError otherwise.
        """
        if context is not None or added is not None:
            raise ValueError("this model is unconditional: it takes no context and no added vector")
        unit = 2 ** (len(self.config.channel_mult) - 1)
        if x.shape[-1] % unit or x.shape[-2] % unit:
            raise ValueError(
                f"a picture of {x.shape[-1]} x {x.shape[-2]}: both must be multiples of {unit}"
            )
        sinusoids = timestep_embedding(
            timesteps, self.config.model_channels, shift=1, sines_first=True
        )
        embedding = functional.silu(self.temb(sinusoids.to(x.dtype)))
        skips = [self.conv_in(x)]
        for stage in self.down:
            level = cast(Level, stage)
            for index in range(len(level.block)):
                skips.append(level.step(index, skips[-1], embedding))
            if hasattr(level, "downsample"):
                skips.append(level.resized(skips[-1]))
        h = self.mid(skips[-1], embedding)
        for stage in reversed(self.up):
            level = cast(Level, stage)
            for index in range(len(level.block)):
                h = level.step(index, torch.cat([h, skips.pop()], dim=1), embedding)
            if hasattr(level, "upsample"):
                h = level.resized(h)
        return cast(Tensor, self.conv_out(functional.silu(self.norm_out(h))))


def _block(config: DDPMConfig, in_channels: int, out_channels: int) -> ResBlock:
    return ResBlock(
        in_channels=in_channels,
        out_channels=out_channels,
        groups=config.norm_groups,
        eps=config.norm_eps,
        embedding_dim=4 * config.model_channels,
    )


def _level(config: DDPMConfig, level: int, inputs: list[int], width: int) -> Level:
    """Build the blocks of a level, one for every number of input channels."""
    return Level(
        [_block(config, channels, width) for channels in inputs],
        [
            Attention(width, groups=config.norm_groups, eps=config.norm_eps)
            for _ in (inputs if config.attention[level] else [])
        ],
    )
