"""The autoencoder with a KL-regularised latent space (Kingma & Welling 2014; Rombach et al. 2022,
section 3.1).

Promises: `encode` and `decode` speak the backbone's language, pictures in [-1, 1] on one side,
latents scaled as the backbone wants them on the other. Never knows diffusion.
"""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion.kernels import GroupNorm, activated
from diffusion.networks.configs import VAEConfig
from diffusion.networks.convolution import Conv2d


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions around a residual path, with an embedding of width `embedding_dim`
    added between them (0: none).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        groups: int = 32,
        eps: float = 1e-6,
        embedding_dim: int = 0,
    ) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, in_channels, eps=eps)
        self.conv1 = Conv2d(in_channels, out_channels, 3, padding=1)
        if embedding_dim:
            self.temb_proj = nn.Linear(embedding_dim, out_channels)
        self.norm2 = GroupNorm(groups, out_channels, eps=eps)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.nin_shortcut = Conv2d(in_channels, out_channels, 1)
        self.widens = in_channels != out_channels

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Map N x in x h x w (and N x embedding_dim) to N x out x h x w."""
        h = self.conv1(activated(self.norm1, x))
        rows = None if embedding is None else self.temb_proj(embedding)
        h = self.conv2(activated(self.norm2, h, rows))
        return cast(Tensor, (self.nin_shortcut(x) if self.widens else x) + h)


class Attention(nn.Module):
    """Single-head self-attention over positions."""

    def __init__(self, channels: int, *, groups: int = 32, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels, eps=eps)
        self.q = Conv2d(channels, channels, 1)
        self.k = Conv2d(channels, channels, 1)
        self.v = Conv2d(channels, channels, 1)
        self.proj_out = Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x h x w to the same shape."""
        h = self.norm(x)
        q, k, v = (
            layer(h).flatten(2).transpose(1, 2).unsqueeze(1) for layer in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v)
        mixed = mixed.squeeze(1).transpose(1, 2).reshape(x.shape)
        return cast(Tensor, x + self.proj_out(mixed))


class Middle(nn.Module):
    """The lowest resolution of both halves; first stages without attention leave it out."""

    def __init__(self, channels: int, config: VAEConfig) -> None:
        super().__init__()
        groups = config.norm_groups
        self.block_1 = ResBlock(in_channels=channels, out_channels=channels, groups=groups)
        self.attn_1: nn.Module = (
            Attention(channels, groups=groups) if config.middle_attention else nn.Identity()
        )
        self.block_2 = ResBlock(in_channels=channels, out_channels=channels, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x h x w to the same shape."""
        return cast(Tensor, self.block_2(self.attn_1(self.block_1(x))))


class Downsample(nn.Module):
    """Halve height and width: pad right and bottom by one, then a strided convolution without
    padding.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x h x w to N x C x h/2 x w/2."""
        return cast(Tensor, self.conv(functional.pad(x, (0, 1, 0, 1))))


class Upsample(nn.Module):
    """Double height and width by nearest neighbour, then a 3 x 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x h x w to N x C x 2h x 2w."""
        return cast(Tensor, self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest")))


class Level(nn.Module):
    """The blocks of one resolution; checkpoints call them `block.<j>`, `attn.<j>` and `downsample`
    or `upsample`.
    """

    def __init__(self, widths: list[int], *, attends: bool, groups: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            ResBlock(in_channels=a, out_channels=b, groups=groups) for a, b in pairwise(widths)
        )
        self.attn = nn.ModuleList(
            Attention(width, groups=groups) for width in (widths[1:] if attends else [])
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x h x w through the blocks and the change of resolution, if there is one."""
        for index, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[index](x)
        for name in ("downsample", "upsample"):
            if hasattr(self, name):
                x = getattr(self, name)(x)
        return x


class Encoder(nn.Module):
    """Picture to its latents, or to their moments (mean and log-variance)."""

    def __init__(self, config: VAEConfig, *, out_channels: int) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        width = config.channels
        self.conv_in = Conv2d(3 * config.patch_size**2, width, 3, padding=1)
        self.down = nn.ModuleList()
        for level, mult in enumerate(config.channel_mult):
            out = mult * config.channels
            stage = Level(
                [width] + [out] * config.num_res_blocks,
                attends=_attends(config, level),
                groups=config.norm_groups,
            )
            if level != len(config.channel_mult) - 1:
                stage.downsample = Downsample(out)
            self.down.append(stage)
            width = out
        self.mid = Middle(width, config)
        self.norm_out = GroupNorm(config.norm_groups, width, eps=1e-6)
        self.conv_out = Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 3 x H x W to N x out_channels x H/f x W/f."""
        h = self.conv_in(functional.pixel_unshuffle(x, self.patch_size))
        for stage in self.down:
            h = stage(h)
        h = self.mid(h)
        return cast(Tensor, self.conv_out(activated(self.norm_out, h)))


class Decoder(nn.Module):
    """Latents to a picture."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        width = config.channel_mult[-1] * config.channels
        self.conv_in = Conv2d(config.z_channels, width, 3, padding=1)
        self.mid = Middle(width, config)
        stages: list[Level] = []
        for level in reversed(range(len(config.channel_mult))):
            out = config.channel_mult[level] * config.channels
            stage = Level(
                [width] + [out] * (config.num_res_blocks + 1),
                attends=_attends(config, level),
                groups=config.norm_groups,
            )
            if level:
                stage.upsample = Upsample(out)
            stages.append(stage)
            width = out
        # Checkpoints number the levels from the finest; the forward walks them backwards.
        self.up = nn.ModuleList(reversed(stages))
        self.norm_out = GroupNorm(config.norm_groups, width, eps=1e-6)
        self.conv_out = Conv2d(width, 3 * config.patch_size**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Map N x z x h x w to N x 3 x fh x fw."""
        h = self.mid(self.conv_in(z))
        for stage in reversed(self.up):
            h = stage(h)
        h = self.conv_out(activated(self.norm_out, h))
        return functional.pixel_shuffle(h, self.patch_size)


class Autoencoder(nn.Module):
    """What every first stage has: two halves, 1 x 1 convolutions at the latents, and a scale.

    `moments` is the number of values that the encoder gives for one of the latents.
    """

    def __init__(self, config: VAEConfig, *, moments: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, out_channels=moments * config.z_channels)
        self.decoder = Decoder(config)
        if config.quant_convs:
            width = config.latent_channels
            self.quant_conv: nn.Module = Conv2d(moments * config.z_channels, moments * width, 1)
            self.post_quant_conv: nn.Module = Conv2d(width, config.z_channels, 1)
        else:
            self.quant_conv = nn.Identity()
            self.post_quant_conv = nn.Identity()

    def scaled(self, z: Tensor) -> Tensor:
        """Map N x z x h x w latents of the encoder to those that the backbone wants."""
        config = self.config
        if config.latents_mean is not None:
            z = z - _by_channel(z, config.latents_mean)
        if config.latents_std is not None:
            z = z / _by_channel(z, config.latents_std)
        return z * config.scaling_factor

    def unscaled(self, latents: Tensor) -> Tensor:
        """Undo `scaled`."""
        config = self.config
        z = latents / config.scaling_factor
        if config.latents_std is not None:
            z = z * _by_channel(z, config.latents_std)
        if config.latents_mean is not None:
            z = z + _by_channel(z, config.latents_mean)
        return z


class AutoencoderKL(Autoencoder):
    """The autoencoder of latent diffusion with a Gaussian latent."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config, moments=2)

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the unscaled latents, each N x z x h x w."""
        mean, logvar = self.quant_conv(self.encoder(images)).chunk(2, dim=1)
        return mean, logvar.clamp(-30.0, 20.0)

    def encode(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """Map N x 3 x H x W pictures in [-1, 1] to N x z x h x w scaled latents.

        `noise` (standard normal, shape of the latents) draws from the posterior; without it the
        mean is returned.
        """
        mean, logvar = self.moments(images)
        if noise is not None:
            mean = mean + torch.exp(0.5 * logvar) * noise
        return self.scaled(mean)

    def decode(self, latents: Tensor) -> Tensor:
        """Map N x z x h x w scaled latents to N x 3 x H x W pictures, about [-1, 1]."""
        return cast(Tensor, self.decoder(self.post_quant_conv(self.unscaled(latents))))


def _attends(config: VAEConfig, level: int) -> bool:
    return config.attention is not None and config.attention[level]


def _by_channel(z: Tensor, values: tuple[float, ...]) -> Tensor:
    return z.new_tensor(values)[:, None, None]
