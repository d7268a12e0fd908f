"""The layers that a U-Net and a ControlNet are made of.

Promises the original names inside each of them. Never knows a timestep or a prompt: what those
decide comes in ready, projected for the layer (see `hoisting`).
"""

from collections.abc import Iterator
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional

from diffusion.kernels import GroupNorm, activated
from diffusion.networks.attention import AttentionBlock, SpatialTransformer
from diffusion.networks.configs import UNetConfig
from diffusion.networks.convolution import Conv2d, Linear

Resample = Literal["none", "up", "down"]
Size = tuple[int, int]


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions with the time embedding between them, around a residual path.

    The embedding is added, or with `scale_shift` scales and shifts the second norm (Dhariwal &
    Nichol 2021, section 3); `resample` changes the resolution in front of the first convolution.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        embedding_dim: int,
        groups: int = 32,
        scale_shift: bool = False,
        resample: Resample = "none",
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.resample = resample
        self.in_layers = nn.Sequential(
            GroupNorm(groups, in_channels),
            nn.SiLU(),
            Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(), Linear(embedding_dim, (2 if scale_shift else 1) * out_channels)
        )
        # Index 2 was the dropout of the original; the indices are those of checkpoints.
        self.out_layers = nn.Sequential(
            GroupNorm(groups, out_channels),
            nn.SiLU(),
            nn.Identity(),
            Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip_connection: nn.Module = (
            nn.Identity() if in_channels == out_channels else Conv2d(in_channels, out_channels, 1)
        )

    @property
    def time_width(self) -> int:
        """How many numbers of a time row are this block's."""
        return cast(nn.Linear, self.emb_layers[1]).out_features

    def forward(self, x: Tensor, time: Tensor, size: Size = (0, 0)) -> Tensor:
        """Map N x in x h x w, given `emb_layers` of the embedding, N x time_width, to N x out x h'
        x w'.

        `size` is the h' x w' that "up" ends at; "down" halves, rounding down.
        """
        norm, _, convolution = self.in_layers
        h = activated(norm, x)
        if self.resample != "none":
            h, x = self._resized(h, size), self._resized(x, size)
        h = convolution(h)
        norm, activation, _, convolution = self.out_layers
        if self.scale_shift:
            scale, shift = time[:, :, None, None].chunk(2, dim=1)
            h = convolution(activation(norm(h) * (1 + scale) + shift))
        else:
            h = convolution(activated(norm, h, time))
        return cast(Tensor, self.skip_connection(x) + h)

    def _resized(self, x: Tensor, size: Size) -> Tensor:
        if self.resample == "down":
            return functional.avg_pool2d(x, 2)
        return functional.interpolate(x, size=size, mode="nearest")


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

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Map N x C x h x w to N x C x size."""
        return cast(Tensor, self.conv(functional.interpolate(x, size=size, mode="nearest")))


class Stage(nn.ModuleList):
    """One numbered block of the U-Net: layers in a row that take what each of them needs."""

    def forward(
        self, x: Tensor, times: Iterator[Tensor], contexts: Iterator[Tensor], size: Size = (0, 0)
    ) -> Tensor:
        """Run the layers; `size` is the height and width an up-sampling ends at.

        Each residual block takes the next of `times`, each cross-attention the next two of
        `contexts`: its keys and its values.
        """
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, next(times), size)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, contexts)
            elif isinstance(layer, Upsample):
                x = layer(x, size)
            else:
                x = layer(x)
        return x


def res_block(
    config: UNetConfig, in_channels: int, out_channels: int, resample: Resample = "none"
) -> ResBlock:
    """Build a residual block of a U-Net of these sizes."""
    return ResBlock(
        in_channels=in_channels,
        out_channels=out_channels,
        embedding_dim=4 * config.model_channels,
        groups=config.norm_groups,
        scale_shift=config.scale_shift_norm,
        resample=resample,
    )


def attention_layers(config: UNetConfig, channels: int, depth: int, level: int) -> list[nn.Module]:
    """Build what attends after a residual block of a level: one layer, or none for depth 0."""
    if depth == 0:
        return []
    heads = config.heads_for(channels, level)
    if config.attention == "plain":
        return [
            AttentionBlock(
                channels=channels,
                heads=heads,
                groups=config.norm_groups,
                upcast=config.upcast_attention,
            )
        ]
    if config.context_dim is None:
        raise ValueError('a U-Net with attention="transformer" needs a context_dim')
    return [
        SpatialTransformer(
            channels=channels,
            context_dim=config.context_dim,
            heads=heads,
            depth=depth,
            linear=config.linear_projection,
            groups=config.norm_groups,
            upcast=config.upcast_attention,
        )
    ]
