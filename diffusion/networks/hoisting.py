"""What is constant over the steps of a picture is computed once: rows of times and of contexts.

A row's time, with the vector or class and the embedded guidance that go with it, decides one
projection for every residual block; its context decides keys and values for every cross-attention.
Neither depends on the latents. Promises: each is computed alone, in a fixed shape and order, so its
bits never depend on what else runs; the layers are called as modules, so that patches reach them.

Here is what a U-Net and a ControlNet have in common: the embeddings and the half that contracts,
with the original names (`time_embed`, `label_emb`, `input_blocks`, `middle_block`).
"""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor, nn

from diffusion.networks.attention import TransformerBlock, timestep_embedding
from diffusion.networks.blocks import Downsample, ResBlock, Stage, attention_layers, res_block
from diffusion.networks.configs import UNetConfig
from diffusion.networks.convolution import Conv2d, Linear


class TimeEmbedding(nn.Sequential):
    """Two linear layers over a sinusoid; `cond_proj` lets a second one, of the guidance scale of a
    distilled model (Meng et al. 2023), be added to the first.
    """

    def __init__(self, *, width: int, embedding_dim: int, guidance_dim: int = 0) -> None:
        super().__init__(
            Linear(width, embedding_dim), nn.SiLU(), Linear(embedding_dim, embedding_dim)
        )
        if guidance_dim:
            self.cond_proj = Linear(guidance_dim, width, bias=False)

    def forward(self, input: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Map N x width (and N x guidance_dim) to N x embedding_dim."""
        h = input if guidance is None else input + self.cond_proj(guidance)
        for index in range(3):
            h = self[index](h)
        return h


class Contracting(nn.Module):
    """The contracting half of a U-Net with its middle, and what steers every block.

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

    def time_row(
        self, timestep: float, added: Tensor | None = None, guidance: float | None = None
    ) -> Tensor:
        """Return all that a row's time decides, P numbers on the network's device in its dtype: the
        projections of its embedding for every residual block, in the order they run in.

        timestep: fractions allowed. added: added_dim numbers, or a class number (one element).
        guidance: w - 1 (Meng et al. 2023), exactly when there is a `guidance_dim`. Raises
        ValueError when one of them is missing or of no use to this network.
        """
        config = self.sizes
        _require(added, config.added_dim or config.num_classes, "an added vector or class")
        scale = None if guidance is None else torch.tensor([guidance], dtype=torch.float32)
        _require(scale, config.guidance_dim, "a guidance scale")
        label = None if added is None else added.reshape(1, -1)
        return self._times(torch.tensor([timestep]), label, scale)[0]

    def context_row(self, context: Tensor | None) -> tuple[Tensor, ...]:
        """Return keys and values of every cross-attention, in the order they run in, for one T x
        context_dim context: each heads x T x d. A network without a context has none.

        Raises ValueError for a context where there is none, and none where there is one.
        """
        _require(context, self.sizes.context_dim or 0, "a context")
        if context is None:
            return ()
        return tuple(part[0] for part in self._keys_values(context[None]))

    def rows(
        self,
        timesteps: Tensor,
        context: Tensor | None,
        added: Tensor | None,
        guidance: Tensor | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the N x P time rows and, for every tensor of a context row, the N rows stacked.

        timesteps: N. context: N x T x context_dim. added: N x added_dim, or N class numbers.
        guidance: N. Raises ValueError as `time_row` and `context_row` do. In training, where
        gradients are wanted, the rows are computed together: that wants speed, and nobody's bits.
        """
        config = self.sizes
        _require(context, config.context_dim or 0, "a context")
        _require(added, config.added_dim or config.num_classes, "an added vector or class")
        _require(guidance, config.guidance_dim, "a guidance scale")
        if torch.is_grad_enabled():
            together = [] if context is None else self._keys_values(context)
            return self._times(timesteps, added, guidance), together
        scales = [None] * len(timesteps) if guidance is None else guidance.tolist()
        vectors = [None] * len(timesteps) if added is None else list(added)
        times = [
            self.time_row(time, vector, scale)
            for time, vector, scale in zip(timesteps.tolist(), vectors, scales, strict=True)
        ]
        # A context that is not there has no rows either.
        keys_values = [self.context_row(row) for row in (() if context is None else context)]
        return torch.stack(times), [torch.stack(rows) for rows in zip(*keys_values, strict=True)]

    def cut(self, times: Tensor) -> Iterator[Tensor]:
        """Cut N x P time rows into every residual block's part."""
        return iter(torch.split(times, self._time_widths, dim=1))

    def _times(self, timesteps: Tensor, added: Tensor | None, guidance: Tensor | None) -> Tensor:
        config, weight = self.sizes, next(self.parameters())
        # Of one time, on the CPU, the sinusoids are the same for every device.
        embedding = timestep_embedding(timesteps, config.model_channels).to(weight)
        if guidance is None:
            embedding = self.time_embed(embedding)
        else:
            # w x 1000 and the DDPM order of sinusoids, as in consistency distillation's training.
            scales = guidance.float() * 1000.0
            waves = timestep_embedding(scales, config.guidance_dim, shift=1, sines_first=True)
            embedding = self.time_embed(embedding, waves.to(weight))
        if added is not None:
            classes = config.num_classes > 0
            label = added.flatten().to(weight.device, torch.long) if classes else added.to(weight)
            embedding = embedding + self.label_emb(label)
        return torch.cat([block.emb_layers(embedding) for block in self._residual_blocks()], dim=1)

    def _keys_values(self, context: Tensor) -> list[Tensor]:
        layers = (module.attn2 for module in self.modules() if isinstance(module, TransformerBlock))
        return [part for layer in layers for part in layer.keys_values(context)]

    def _residual_blocks(self) -> list[ResBlock]:
        return [module for module in self.modules() if isinstance(module, ResBlock)]

    @cached_property
    def _time_widths(self) -> list[int]:
        return [block.time_width for block in self._residual_blocks()]


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
