"""The backbone: a U-Net with cross-attention (Ronneberger et al. 2015; Rombach et al. 2022, section
3.3).

Promises the numbers of Stable Diffusion for the numbers of its configuration: one class serves the
shipped model and every checkpoint of the family. Never knows noise levels, guidance or prompts: it
predicts, others interpret.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion.networks.attention import SpatialTransformer, timestep_embedding
from diffusion.networks.convolution import Conv2d


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetConfig:
    """Sizes of a U-Net; the defaults are Stable Diffusion 1.

    `transformer_depth` has one number a level, 0 for a level without attention; `middle_depth` is
    the depth between the two halves. Exactly one of `heads` and `head_dim` is set. `added_dim` is
    the width of the vector added to the time embedding (pooled text and sizes of Stable Diffusion
    XL), or 0.
    """

    in_channels: int = 4
    out_channels: int = 4
    model_channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    transformer_depth: tuple[int, ...] = (1, 1, 1, 0)
    middle_depth: int = 1
    heads: int | None = 8
    head_dim: int | None = None
    context_dim: int = 768
    linear_projection: bool = False
    added_dim: int = 0

    def heads_for(self, channels: int) -> int:
        """Return the number of attention heads of a layer `channels` wide."""
        if self.heads is not None:
            return self.heads
        return channels // cast(int, self.head_dim)


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions with the time embedding added between them, around a residual path."""

    def __init__(self, *, in_channels: int, out_channels: int, embedding_dim: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(32, in_channels),
            nn.SiLU(),
            Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding_dim, out_channels))
        # Index 2 was the dropout of the original; the indices are those of checkpoints.
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, out_channels),
            nn.SiLU(),
            nn.Identity(),
            Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip_connection: nn.Module = (
            nn.Identity() if in_channels == out_channels else Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map N x in x h x w, given an N x embedding_dim embedding, to N x out x h x w."""
        h = self.in_layers(x) + self.emb_layers(embedding)[:, :, None, None]
        return cast(Tensor, self.skip_connection(x) + self.out_layers(h))


class Downsample(nn.Module):
    """Halve height and width by a strided 3 x 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x h x w to N x C x ceil(h/2) x ceil(w/2)."""
        return cast(Tensor, self.op(x))


class Upsample(nn.Module):
    """Enlarge to a given size by nearest neighbour, then a 3 x 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Map N x C x h x w to N x C x size."""
        return cast(Tensor, self.conv(functional.interpolate(x, size=size, mode="nearest")))


class Stage(nn.ModuleList):
    """One numbered block of the U-Net: layers in a row that take what each of them needs."""

    def forward(
        self, x: Tensor, embedding: Tensor, context: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Run the layers; `size` is the height and width an up-sampling ends at."""
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, embedding)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            elif isinstance(layer, Upsample):
                x = layer(x, size)
            else:
                x = layer(x)
        return x


class UNet(nn.Module):
    """Predict noise (or velocity) for noisy latents at given timesteps under a context."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.model_channels
        embedding_dim = 4 * channels
        self.time_embed = _embedding_mlp(channels, embedding_dim)
        if config.added_dim:
            # A Sequential in a Sequential only because checkpoints call it `label_emb.0`.
            self.label_emb = nn.Sequential(_embedding_mlp(config.added_dim, embedding_dim))
        self.input_blocks, widths = _input_blocks(config, embedding_dim)
        channels = widths[-1]
        self.middle_block = Stage(
            [
                ResBlock(in_channels=channels, out_channels=channels, embedding_dim=embedding_dim),
                *_transformer(config, channels, config.middle_depth),
                ResBlock(in_channels=channels, out_channels=channels, embedding_dim=embedding_dim),
            ]
        )
        self.output_blocks = _output_blocks(config, embedding_dim, widths)
        self.out = nn.Sequential(
            nn.GroupNorm(32, config.model_channels),
            nn.SiLU(),
            Conv2d(config.model_channels, config.out_channels, 3, padding=1),
        )

    def forward(
        self, x: Tensor, timesteps: Tensor, context: Tensor, added: Tensor | None = None
    ) -> Tensor:
        """Return the raw prediction, N x out_channels x h x w.

        x: N x in_channels x h x w. timesteps: N, fractions allowed. context: N x T x context_dim.
        added: N x added_dim, exactly when the configuration has an `added_dim`.
        """
        if (added is None) != (self.config.added_dim == 0):
            raise ValueError(
                f"this U-Net takes an added vector of width {self.config.added_dim} "
                f"(0: none), and got {None if added is None else tuple(added.shape)}"
            )
        sinusoids = timestep_embedding(timesteps, self.config.model_channels)
        embedding = self.time_embed(sinusoids.to(x.dtype))
        if added is not None:
            embedding = embedding + self.label_emb(added)
        skips: list[Tensor] = []
        for stage in self.input_blocks:
            x = stage(x, embedding, context, (0, 0))
            skips.append(x)
        x = self.middle_block(x, embedding, context, (0, 0))
        for stage in self.output_blocks:
            x = torch.cat([x, skips.pop()], dim=1)
            # Odd sizes do not survive halving: the next skip knows the size to come back to.
            size = (skips[-1].shape[-2], skips[-1].shape[-1]) if skips else (0, 0)
            x = stage(x, embedding, context, size)
        return cast(Tensor, self.out(x))


def _embedding_mlp(width: int, embedding_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, embedding_dim), nn.SiLU(), nn.Linear(embedding_dim, embedding_dim)
    )


def _transformer(config: UNetConfig, channels: int, depth: int) -> list[nn.Module]:
    if depth == 0:
        return []
    return [
        SpatialTransformer(
            channels=channels,
            context_dim=config.context_dim,
            heads=config.heads_for(channels),
            depth=depth,
            linear=config.linear_projection,
        )
    ]


def _input_blocks(config: UNetConfig, embedding_dim: int) -> tuple[nn.ModuleList, list[int]]:
    """Build the contracting half; also return the width of every skip connection."""
    channels = config.model_channels
    blocks = nn.ModuleList([Stage([Conv2d(config.in_channels, channels, 3, padding=1)])])
    widths = [channels]
    last = len(config.channel_mult) - 1
    for level, (mult, depth) in enumerate(
        zip(config.channel_mult, config.transformer_depth, strict=True)
    ):
        width = mult * config.model_channels
        for _ in range(config.num_res_blocks):
            layers: list[nn.Module] = [
                ResBlock(in_channels=channels, out_channels=width, embedding_dim=embedding_dim)
            ]
            channels = width
            blocks.append(Stage(layers + _transformer(config, channels, depth)))
            widths.append(channels)
        if level != last:
            blocks.append(Stage([Downsample(channels)]))
            widths.append(channels)
    return blocks, widths


def _output_blocks(config: UNetConfig, embedding_dim: int, widths: list[int]) -> nn.ModuleList:
    """Build the expanding half: one block more a level, since each takes one skip connection."""
    blocks = nn.ModuleList()
    skips = list(widths)
    channels = widths[-1]
    for level in reversed(range(len(config.channel_mult))):
        width = config.channel_mult[level] * config.model_channels
        for index in range(config.num_res_blocks + 1):
            layers: list[nn.Module] = [
                ResBlock(
                    in_channels=channels + skips.pop(),
                    out_channels=width,
                    embedding_dim=embedding_dim,
                )
            ]
            channels = width
            layers += _transformer(config, channels, config.transformer_depth[level])
            if level and index == config.num_res_blocks:
                layers.append(Upsample(channels))
            blocks.append(Stage(layers))
    return blocks
