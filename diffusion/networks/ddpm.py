"""The pixel-space U-Net of denoising diffusion (Ho et al. 2020, appendix B).

Promises the names and numbers of the original weights in PyTorch. Never knows a latent, a text or a
noise level: timesteps in, predicted noise out.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion.kernels import GroupNorm, activated
from diffusion.networks.attention import timestep_embedding
from diffusion.networks.configs import DDPMConfig
from diffusion.networks.convolution import Conv2d, Linear
from diffusion.networks.vae import Attention, Downsample, ResBlock, Upsample

_UNCONDITIONAL: Final = (
    "this model is unconditional: it takes no context, no added vector, no guidance and no control"
)


class Block(ResBlock):
    """A residual block that takes its time ready: `temb_proj` of the embedding, N x out."""

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Map N x in x h x w, given the N x out projection of an embedding, to N x out x h x w."""
        if embedding is None:
            raise ValueError("a block of this network needs a time")
        h = self.conv1(activated(self.norm1, x))
        h = self.conv2(activated(self.norm2, h, embedding))
        return cast(Tensor, (self.nin_shortcut(x) if self.widens else x) + h)


class Level(nn.Module):
    """The blocks of one resolution: `block.<j>`, `attn.<j>`, and `downsample` or `upsample`."""

    def __init__(self, blocks: list[Block], attention: list[Attention]) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.attn = nn.ModuleList(attention)

    def step(self, index: int, x: Tensor, time: Tensor) -> Tensor:
        """Run one block and the attention behind it, if there is one."""
        x = self.block[index](x, time)
        return cast(Tensor, self.attn[index](x)) if len(self.attn) else x

    def resized(self, x: Tensor) -> Tensor:
        """Run the change of resolution."""
        layer = self.downsample if hasattr(self, "downsample") else self.upsample
        return cast(Tensor, cast(nn.Module, layer)(x))


class TimeMLP(nn.Module):
    """Two linear layers over a sinusoid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.ModuleList([Linear(width, 4 * width), Linear(4 * width, 4 * width)])

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

    def forward(self, x: Tensor, times: Iterator[Tensor]) -> Tensor:
        """Map N x C x h x w to the same shape."""
        h = self.attn_1(self.block_1(x, next(times)))
        return cast(Tensor, self.block_2(h, next(times)))


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
        self.norm_out = GroupNorm(config.norm_groups, channels, eps=config.norm_eps)
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
            raise ValueError(_UNCONDITIONAL)
        self._check_size(x)
        return self.run(x, torch.stack([self.time_row(time) for time in timesteps.tolist()]), ())

    def time_row(
        self, timestep: float, added: Tensor | None = None, guidance: float | None = None
    ) -> Tensor:
        """Return all that a row's time decides, P numbers on the network's device in its dtype: the
        projections of its embedding for every block, in the order they run in.

        Computed alone, so that its bits never depend on what else runs. Raises ValueError for an
        added vector and for a guidance.
        """
        if added is not None or guidance is not None:
            raise ValueError(_UNCONDITIONAL)
        sinusoids = timestep_embedding(
            torch.tensor([timestep]), self.config.model_channels, shift=1, sines_first=True
        )
        embedding = functional.silu(self.temb(sinusoids.to(self.conv_in.weight)))
        return torch.cat([block.temb_proj(embedding)[0] for block in self._blocks()])

    def context_row(self, context: Tensor | None) -> tuple[Tensor, ...]:
        """Return nothing: there is no cross-attention. Raises ValueError for a context."""
        if context is not None:
            raise ValueError(_UNCONDITIONAL)
        return ()

    def run(
        self,
        x: Tensor,
        times: Tensor,
        contexts: Sequence[Tensor],
        *,
        control: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Return the predicted noise, N x out_channels x h x w, bit for bit as `forward`.

        x: as for `forward`. times: N x P, stacked `time_row`s. `contexts` is empty, `control` None.
        Raises ValueError otherwise.
        """
        if contexts or control is not None:
            raise ValueError(_UNCONDITIONAL)
        self._check_size(x)
        parts = iter(torch.split(times, self._time_widths, dim=1))
        skips = [self.conv_in(x)]
        for stage in self.down:
            level = cast(Level, stage)
            for index in range(len(level.block)):
                skips.append(level.step(index, skips[-1], next(parts)))
            if hasattr(level, "downsample"):
                skips.append(level.resized(skips[-1]))
        h = self.mid(skips[-1], parts)
        for stage in reversed(self.up):
            level = cast(Level, stage)
            for index in range(len(level.block)):
                h = level.step(index, torch.cat([h, skips.pop()], dim=1), next(parts))
            if hasattr(level, "upsample"):
                h = level.resized(h)
        return cast(Tensor, self.conv_out(activated(self.norm_out, h)))

    def _check_size(self, x: Tensor) -> None:
        unit = 2 ** (len(self.config.channel_mult) - 1)
        if x.shape[-1] % unit or x.shape[-2] % unit:
            raise ValueError(
                f"a picture of {x.shape[-1]} x {x.shape[-2]}: both must be multiples of {unit}"
            )

    def _blocks(self) -> list[Block]:
        """Return the blocks in the order they run in; `up` is numbered backwards."""
        parts = [*self.down, self.mid, *reversed(self.up)]
        return [module for part in parts for module in part.modules() if isinstance(module, Block)]

    @cached_property
    def _time_widths(self) -> list[int]:
        return [block.temb_proj.out_features for block in self._blocks()]


def _block(config: DDPMConfig, in_channels: int, out_channels: int) -> Block:
    return Block(
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
