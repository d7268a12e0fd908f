"""The sizes of every network, as frozen numbers.

Promises: never imports torch, so that a checkpoint can be recognised and described while nothing is
loaded. The defaults are those of Stable Diffusion 1.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetConfig:
    """Sizes of a U-Net.

    `transformer_depth` has one number a level, 0 for a level without attention; `middle_depth` is
    the depth between the two halves. `attention` is what attends: "transformer" blocks with
    cross-attention, or "plain" self-attention over positions (`context_dim` None). `heads` is one
    number, or one a level; None means that `head_dim` is set. `added_dim` is the width of the
    vector added to the time embedding (pooled text and sizes of Stable Diffusion XL), or 0;
    `size_dim` the width of the sinusoid of one of those sizes. `guidance_dim` is the width of the
    guidance embedding of distilled models, or 0. `scale_shift_norm` lets the time embedding scale
    and shift a norm; `resblock_updown` changes resolution inside residual blocks. `num_classes`
    adds a learned embedding of a class to that of the time, or 0. `upcast_attention` computes
    attention in float32 whatever the precision.
    """

    in_channels: int = 4
    out_channels: int = 4
    model_channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    transformer_depth: tuple[int, ...] = (1, 1, 1, 0)
    middle_depth: int = 1
    heads: int | tuple[int, ...] | None = 8
    head_dim: int | None = None
    context_dim: int | None = 768
    linear_projection: bool = False
    added_dim: int = 0
    size_dim: int = 256
    guidance_dim: int = 0
    attention: Literal["transformer", "plain"] = "transformer"
    scale_shift_norm: bool = False
    resblock_updown: bool = False
    num_classes: int = 0
    norm_groups: int = 32
    upcast_attention: bool = False

    def heads_for(self, channels: int, level: int) -> int:
        """Return the number of attention heads of a layer `channels` wide on a level (0 = top)."""
        if isinstance(self.heads, tuple):
            return self.heads[level]
        if self.heads is not None:
            return self.heads
        if self.head_dim is None:
            raise ValueError("a U-Net's configuration needs heads or head_dim")
        return channels // self.head_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class DDPMConfig:
    """Sizes of the pixel-space U-Net of Ho et al. 2020; the defaults are their CIFAR-10 model.

    `attention` says for every level whether its blocks attend.
    """

    in_channels: int = 3
    out_channels: int = 3
    model_channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 2
    attention: tuple[bool, ...] = (False, True, False, False)
    resolution: int = 32
    norm_groups: int = 32
    norm_eps: float = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class VAEConfig:
    """Sizes of an autoencoder.

    `patch_size` p folds p x p pixels into channels before the first convolution (and back after the
    last): the light stem of the shipped model; 1 for every checkpoint of others. `kind` "kl" has a
    Gaussian latent, "vq" a codebook of `codes` vectors (Esser et al. 2021). `embed_dim` is the
    width of the latents behind the 1 x 1 convolutions (None: z_channels). `attention` says for
    every level whether its blocks attend (None: none does). `latents_mean` and `latents_std`, one
    number a channel, replace `scaling_factor` alone: latents = (z - mean) * scaling_factor / std.
    """

    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_channels: int = 4
    scaling_factor: float = 0.18215
    patch_size: int = 1
    kind: Literal["kl", "vq"] = "kl"
    codes: int = 0
    embed_dim: int | None = None
    attention: tuple[bool, ...] | None = None
    middle_attention: bool = True
    quant_convs: bool = True
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None
    norm_groups: int = 32

    @property
    def downscale(self) -> int:
        """Pixels a side of one latent position."""
        return int(self.patch_size * 2 ** (len(self.channel_mult) - 1))

    @property
    def latent_channels(self) -> int:
        """Channels of the latents, as the backbone sees them."""
        return self.embed_dim if self.embed_dim is not None else self.z_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyVAEConfig:
    """Sizes of a tiny autoencoder (TAESD): latents in, pictures out, in a few convolutions.

    `blocks` counts the residual blocks of each level of the decoder, coarsest first.
    """

    z_channels: int = 4
    width: int = 64
    blocks: tuple[int, ...] = (3, 3, 3, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlNetConfig:
    """Sizes of a ControlNet (Zhang et al. 2023): the encoder half of a U-Net beside a hint."""

    unet: UNetConfig = UNetConfig()
    hint_channels: int = 3
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """Sizes of a CLIP text transformer, and which of its states is the conditioning.

    `window` is the number of positions, begin and end token included. `skip` leaves out the last
    layers by the family's own convention (SDXL: 1), `final_norm` says whether the final LayerNorm
    follows. `projection_dim` is the width of the pooled, projected state, or 0 for a model without
    one.
    """

    vocab_size: int = 49408
    width: int = 768
    layers: int = 12
    heads: int = 12
    feed_forward: int = 3072
    window: int = 77
    activation: str = "quick_gelu"
    begin_id: int = 49406
    end_id: int = 49407
    pad_id: int = 49407
    skip: int = 0
    final_norm: bool = True
    projection_dim: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BERTConfig:
    """Sizes of the text transformer of latent diffusion (Rombach et al. 2022), BERT's words in."""

    vocab_size: int = 30522
    width: int = 1280
    layers: int = 32
    heads: int = 8
    head_dim: int = 64
    feed_forward: int = 5120
    window: int = 77


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassConfig:
    """Sizes of a class-conditional model's embedding table; the last class is "none"."""

    classes: int = 1001
    width: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyConfig:
    """Sizes of Stable Diffusion's safety checker: a CLIP vision transformer and concept vectors."""

    width: int = 1024
    layers: int = 24
    heads: int = 16
    feed_forward: int = 4096
    image_size: int = 224
    patch_size: int = 14
    projection_dim: int = 768
    activation: str = "quick_gelu"
    concepts: int = 17
    special_concepts: int = 3
