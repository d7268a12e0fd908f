"""What the U-Net and a ControlNet have in common: the blocks, and the half that contracts.

Promises the original names (`time_embed`, `label_emb`, `input_blocks`, `middle_block`) for both.
Never predicts: that is the business of the networks built on it.
"""

from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional

from diffusion.networks.attention import AttentionBlock, SpatialTransformer, timestep_embedding
from diffusion.networks.configs import UNetConfig
from diffusion.networks.convolution import Conv2d

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
            nn.GroupNorm(groups, in_channels),
            nn.SiLU(),
            Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embedding_dim, (2 if scale_shift else 1) * out_channels)
        )
        # Index 2 was the dropout of the original; the indices are those of checkpoints.
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, out_channels),
            nn.SiLU(),
            nn.Identity(),
            Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip_connection: nn.Module = (
            nn.Identity() if in_channels == out_channels else Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor, embedding: Tensor, size: Size = (0, 0)) -> Tensor:
        """Map N x in x h x w, given an N x embedding_dim embedding, to N x out x h' x w'.

        `size` is the h' x w' that "up" ends at; "down" halves, rounding down.
        """
        if self.resample == "none":
            h = self.in_layers(x)
        else:
            norm, activation, convolution = self.in_layers
            h = convolution(self._resized(activation(norm(x)), size))
            x = self._resized(x, size)
        projected = self.emb_layers(embedding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = projected.chunk(2, dim=1)
            norm, activation, _, convolution = self.out_layers
            h = convolution(activation(norm(h) * (1 + scale) + shift))
        else:
            h = self.out_layers(h + projected)
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

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None, size: Size) -> Tensor:
        """Run the layers; `size` is the height and width an up-sampling ends at."""
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, embedding, size)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            elif isinstance(layer, Upsample):
                x = layer(x, size)
            else:
                x = layer(x)
        return x


class TimeEmbedding(nn.Sequential):
    """Two linear layers over a sinusoid; `cond_proj` lets a second one, of the guidance scale of a
    distilled model (Meng et al. 2023), be added to the first.
    """

    def __init__(self, *, width: int, embedding_dim: int, guidance_dim: int = 0) -> None:
        super().__init__(
            nn.Linear(width, embedding_dim), nn.SiLU(), nn.Linear(embedding_dim, embedding_dim)
        )
        if guidance_dim:
            self.cond_proj = nn.Linear(guidance_dim, width, bias=False)

    def forward(self, input: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Map N x width (and N x guidance_dim) to N x embedding_dim."""
        h = input if guidance is None else input + self.cond_proj(guidance)
        for index in range(3):
            h = self[index](h)
        return h


class Contracting(nn.Module):
    """The contracting half of a U-Net with its middle, and the embedding that every block takes.

    Raises ValueError for a configuration that contradicts itself.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.sizes = config
        if config.added_dim and config.num_classes:
            raise ValueError("a U-Net has an added vector or classes, not both")
        channels = config.model_channels
        self.time_embed = TimeEmbedding(
            width=channels, embedding_dim=4 * channels, guidance_dim=config.guidance_dim
        )
        if config.num_classes:
            self.label_emb: nn.Module = nn.Embedding(config.num_classes, 4 * channels)
        elif config.added_dim:
            # A Sequential in a Sequential only because checkpoints call it `label_emb.0`.
            self.label_emb = nn.Sequential(
                TimeEmbedding(width=config.added_dim, embedding_dim=4 * channels)
            )
        self.input_blocks, self.widths = _input_blocks(config)
        self.middle_block = _middle_block(config, self.widths[-1])

    def embed(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor | None,
        added: Tensor | None,
        guidance: Tensor | None,
    ) -> Tensor:
        """Return the N x 4 model_channels embedding, in the precision of x.

        timesteps: N. added: N x added_dim, or N class numbers. guidance: N. Raises ValueError when
        one of them, or the context, is missing or of no use to this network.
        """
        config = self.sizes
        _require(context, config.context_dim or 0, "a context")
        _require(added, config.added_dim or config.num_classes, "an added vector or class")
        _require(guidance, config.guidance_dim, "a guidance scale")
        sinusoids = timestep_embedding(timesteps, config.model_channels).to(x.dtype)
        if guidance is None:
            embedding = self.time_embed(sinusoids)
        else:
            # w x 1000 and the DDPM order of sinusoids, as in consistency distillation's training.
            scale = timestep_embedding(
                guidance.float() * 1000.0, config.guidance_dim, shift=1, sines_first=True
            )
            embedding = self.time_embed(sinusoids, scale.to(x.dtype))
        if added is not None:
            label = added.reshape(len(x)).long() if config.num_classes else added
            embedding = embedding + self.label_emb(label)
        return cast(Tensor, embedding)


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


def _require(given: Tensor | None, width: int, what: str) -> None:
    if (given is None) != (width == 0):
        shape = "none" if given is None else f"one of shape {tuple(given.shape)}"
        wants = f"needs {what} ({width})" if width else f"takes no {what.split(' ', 1)[1]}"
        raise ValueError(f"this network {wants}, and got {shape}")


def _input_blocks(config: UNetConfig) -> tuple[nn.ModuleList, list[int]]:
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
            layers: list[nn.Module] = [res_block(config, channels, width)]
            channels = width
            blocks.append(Stage(layers + attention_layers(config, channels, depth, level)))
            widths.append(channels)
        if level != last:
            down = (
                res_block(config, channels, channels, "down")
                if config.resblock_updown
                else Downsample(channels)
            )
            blocks.append(Stage([down]))
            widths.append(channels)
    return blocks, widths


def _middle_block(config: UNetConfig, channels: int) -> Stage:
    """Build the middle: attention between two residual blocks, or without it one block alone."""
    level = len(config.channel_mult) - 1
    attention = attention_layers(config, channels, config.middle_depth, level)
    layers: list[nn.Module] = [res_block(config, channels, channels)]
    if attention:
        layers += [*attention, res_block(config, channels, channels)]
    return Stage(layers)
