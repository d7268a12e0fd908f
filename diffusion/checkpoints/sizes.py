"""Sizes of networks, read from the names and shapes of their tensors in the original spelling.

Promises: numbers come from shapes, as a file cannot lie about those; what shapes do not tell
(heads) follows the family's rule. CheckpointError where the names describe no network of ours.
Never imports torch, never reads a weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from diffusion.errors import CheckpointError
from diffusion.networks.configs import (
    BERTConfig,
    ClassConfig,
    ControlNetConfig,
    DDPMConfig,
    TextConfig,
    TinyVAEConfig,
    UNetConfig,
    VAEConfig,
)

CLIP_HEAD_DIM: Final = 64
_BEGIN_AND_END: Final = 2


@dataclass(frozen=True, slots=True)
class Shapes:
    """Shapes of tensors by name, one network's, its prefix taken off. `where` names the file."""

    table: Mapping[str, tuple[int, ...]]
    where: str

    def size(self, key: str, dimension: int) -> int:
        """Return one dimension of a tensor; CheckpointError when it has none."""
        shape = self.table.get(key)
        if shape is None or dimension >= len(shape) or shape[dimension] < 1:
            shown = "is missing" if shape is None else f"has the shape {list(shape)}"
            raise CheckpointError(f"{self.where}: the tensor {key!r} {shown}; {_WHOLE}.")
        return shape[dimension]

    def count(self, prefix: str) -> int:
        """Return how many different numbers follow a prefix."""
        start = len(prefix)
        found = {key[start:].split(".", 1)[0] for key in self.table if key.startswith(prefix)}
        return sum(each.isdecimal() for each in found)

    def has(self, key: str) -> bool:
        """Say whether there is such a tensor."""
        return key in self.table


_WHOLE: Final = "the file is not a whole model of a known make"


def unet_sizes(shapes: Shapes) -> UNetConfig:
    """Read a U-Net's sizes (Rombach et al.'s names)."""
    blocks = shapes.count("output_blocks.")
    ups = [
        index
        for index in range(blocks)
        if any(
            shapes.has(f"output_blocks.{index}.{layer}.{name}.weight")
            for layer in (1, 2)
            for name in ("conv", "in_layers.0")
        )
    ]
    return _unet_sizes(shapes, levels=len(ups) + 1, per_level=_split(blocks, len(ups) + 1, shapes))


def controlnet_sizes(shapes: Shapes) -> ControlNetConfig:
    """Read a ControlNet's sizes: a U-Net's encoder, and convolutions for the hint."""
    blocks = shapes.count("input_blocks.")
    levels = 1 + sum(shapes.has(f"input_blocks.{index}.0.op.weight") for index in range(blocks))
    unet = _unet_sizes(shapes, levels=levels, per_level=_split(blocks, levels, shapes))
    hints = shapes.count("input_hint_block.")
    # Every other layer is an activation; all but the first and last come in pairs.
    widths = [shapes.size(f"input_hint_block.{2 * i}.weight", 0) for i in range(hints - 1)]
    return ControlNetConfig(
        unet=unet,
        hint_channels=shapes.size("input_hint_block.0.weight", 1),
        hint_widths=tuple(widths[::2]),
    )


def vae_sizes(shapes: Shapes, scaling_factor: float) -> VAEConfig:
    """Read an autoencoder's sizes; KL or VQ is told by its codebook."""
    base = shapes.size("encoder.conv_in.weight", 0)
    levels = shapes.count("encoder.down.")
    z_channels = shapes.size("decoder.conv_in.weight", 1)
    codes = (
        shapes.size("quantize.embedding.weight", 0)
        if shapes.has("quantize.embedding.weight")
        else 0
    )
    quant = shapes.has("post_quant_conv.weight")
    latent = shapes.size("post_quant_conv.weight", 1) if quant else z_channels
    attention = tuple(shapes.has(f"encoder.down.{i}.attn.0.norm.weight") for i in range(levels))
    widths = [shapes.size(f"encoder.down.{i}.block.0.conv1.weight", 0) for i in range(levels)]
    return VAEConfig(
        channels=base,
        channel_mult=_multiples(widths, base, shapes),
        num_res_blocks=shapes.count("encoder.down.0.block."),
        z_channels=z_channels,
        scaling_factor=scaling_factor,
        kind="vq" if codes else "kl",
        codes=codes,
        embed_dim=None if latent == z_channels else latent,
        attention=attention if any(attention) else None,
        middle_attention=shapes.has("encoder.mid.attn_1.norm.weight"),
        quant_convs=quant,
    )


def ddpm_sizes(shapes: Shapes) -> DDPMConfig:
    """Read the sizes of a pixel-space U-Net. Its resolution is that of its training: 32 pixels with
    four levels (CIFAR-10), 256 with six (LSUN, CelebA-HQ), as published.
    """
    base, levels = shapes.size("conv_in.weight", 0), shapes.count("down.")
    widths = [shapes.size(f"down.{i}.block.0.conv1.weight", 0) for i in range(levels)]
    return DDPMConfig(
        in_channels=shapes.size("conv_in.weight", 1),
        out_channels=shapes.size("conv_out.weight", 0),
        model_channels=base,
        channel_mult=_multiples(widths, base, shapes),
        num_res_blocks=shapes.count("down.0.block."),
        attention=tuple(shapes.has(f"down.{i}.attn.0.norm.weight") for i in range(levels)),
        resolution=32 if levels <= 4 else 256,
    )


def clip_sizes(shapes: Shapes) -> TextConfig:
    """Read the sizes of a CLIP text transformer in transformers' names. Width 768 is OpenAI's
    ViT-L/14 with its quick GELU; the wider ones are OpenCLIP's.
    """
    width = shapes.size("embeddings.token_embedding.weight", 1)
    vocabulary = shapes.size("embeddings.token_embedding.weight", 0)
    projection = "text_projection.weight"
    return TextConfig(
        vocab_size=vocabulary,
        width=width,
        layers=shapes.count("encoder.layers."),
        heads=max(1, width // CLIP_HEAD_DIM),
        feed_forward=shapes.size("encoder.layers.0.mlp.fc1.weight", 0),
        window=shapes.size("embeddings.position_embedding.weight", 0),
        begin_id=vocabulary - _BEGIN_AND_END,
        end_id=vocabulary - 1,
        pad_id=vocabulary - 1,
        projection_dim=shapes.size(projection, 0) if shapes.has(projection) else 0,
    )


def open_clip_sizes(shapes: Shapes) -> TextConfig:
    """Read the sizes of an OpenCLIP text transformer in its own names."""
    width = shapes.size("token_embedding.weight", 1)
    vocabulary = shapes.size("token_embedding.weight", 0)
    projection = shapes.has("text_projection")
    return TextConfig(
        vocab_size=vocabulary,
        width=width,
        layers=shapes.count("transformer.resblocks."),
        heads=max(1, width // CLIP_HEAD_DIM),
        feed_forward=shapes.size("transformer.resblocks.0.mlp.c_fc.weight", 0),
        window=shapes.size("positional_embedding", 0),
        activation="gelu",
        begin_id=vocabulary - _BEGIN_AND_END,
        end_id=vocabulary - 1,
        pad_id=0,
        projection_dim=shapes.size("text_projection", 1) if projection else 0,
    )


def bert_sizes(shapes: Shapes) -> BERTConfig:
    """Read the sizes of latent diffusion's text transformer; its heads are 64 wide."""
    return BERTConfig(
        vocab_size=shapes.size("token_emb.weight", 0),
        width=shapes.size("token_emb.weight", 1),
        layers=shapes.count("attn_layers.layers.") // 2,
        heads=max(1, shapes.size("attn_layers.layers.0.1.to_q.weight", 0) // BERTConfig().head_dim),
        feed_forward=shapes.size("attn_layers.layers.1.1.net.2.weight", 1),
        window=shapes.size("pos_emb.emb.weight", 0),
    )


def class_sizes(shapes: Shapes) -> ClassConfig:
    """Read the sizes of a table of classes."""
    return ClassConfig(
        classes=shapes.size("embedding.weight", 0), width=shapes.size("embedding.weight", 1)
    )


def tiny_sizes(shapes: Shapes) -> TinyVAEConfig:
    """Read the sizes of TAESD's decoder in its sequential names."""
    blocks = [0]
    for layer in range(2, shapes.count("") + 64):
        if shapes.has(f"{layer}.conv.0.weight"):
            blocks[-1] += 1
        elif shapes.has(f"{layer}.weight") and not shapes.has(f"{layer}.bias"):
            blocks.append(0)
    return TinyVAEConfig(
        z_channels=shapes.size("1.weight", 1),
        width=shapes.size("1.weight", 0),
        blocks=tuple(blocks),
    )


def tiny_encoder_sizes(shapes: Shapes) -> TinyVAEConfig:
    """Read the sizes of TAESD's encoder, whose blocks count from the finest level."""
    blocks: list[int] = []
    layers = shapes.count("")
    for layer in range(layers):
        if shapes.has(f"{layer}.conv.0.weight") and blocks:
            blocks[-1] += 1
        elif layer + 1 < layers:
            blocks.append(0)
    return TinyVAEConfig(
        z_channels=shapes.size(f"{layers - 1}.weight", 0),
        width=shapes.size("0.weight", 0),
        blocks=tuple(reversed(blocks)),
    )


def _unet_sizes(shapes: Shapes, *, levels: int, per_level: int) -> UNetConfig:
    base = shapes.size("input_blocks.0.0.weight", 0)
    firsts = [1 + level * per_level for level in range(levels)]
    conv = "0.out_layers.3.weight"
    widths = [shapes.size(f"input_blocks.{first}.{conv}", 0) for first in firsts]
    depths = tuple(_depth(shapes, f"input_blocks.{first}.1") for first in firsts)
    plain = any(key.endswith(".qkv.weight") for key in shapes.table)
    scale_shift = shapes.size("input_blocks.1.0.emb_layers.1.weight", 0) == 2 * widths[0]
    to_k = next((key for key in shapes.table if key.endswith(".attn2.to_k.weight")), None)
    context_dim = shapes.size(to_k, 1) if to_k and not plain else None
    added = shapes.has("label_emb.0.0.weight")
    classes = shapes.has("label_emb.weight")
    linear = any(
        key.endswith(".proj_in.weight") and len(shape) == 2 for key, shape in shapes.table.items()
    )
    guidance = "time_embed.cond_proj.weight"
    mult = _multiples(widths, base, shapes)
    heads, head_dim = _heads(
        context_dim, linear=linear, scale_shift=scale_shift, mult=mult, base=base
    )
    return UNetConfig(
        in_channels=shapes.size("input_blocks.0.0.weight", 1),
        out_channels=shapes.size("out.2.weight", 0) if shapes.has("out.2.weight") else 4,
        model_channels=base,
        channel_mult=mult,
        num_res_blocks=per_level - 1,
        transformer_depth=depths,
        middle_depth=_depth(shapes, "middle_block.1"),
        heads=heads,
        head_dim=head_dim,
        context_dim=context_dim,
        linear_projection=linear,
        added_dim=shapes.size("label_emb.0.0.weight", 1) if added else 0,
        guidance_dim=shapes.size(guidance, 1) if shapes.has(guidance) else 0,
        attention="plain" if plain else "transformer",
        scale_shift_norm=scale_shift,
        resblock_updown=_resblock_updown(shapes, per_level) if levels > 1 else False,
        num_classes=shapes.size("label_emb.weight", 0) if classes else 0,
        # Stable Diffusion 2's logits overflow half precision; the others' do not.
        upcast_attention=linear and not added,
    )


def _heads(
    context_dim: int | None, *, linear: bool, scale_shift: bool, mult: tuple[int, ...], base: int
) -> tuple[int | None, int | None]:
    """Return (heads, width of a head), one of them None: no shape tells, the families do."""
    if linear:
        return None, 64
    if context_dim is None:
        return (8, None) if scale_shift else (None, 32)
    if (base, mult) == (192, (1, 2, 3, 5)) and context_dim == 512:
        return 1, None
    # Latent diffusion's smaller models, before heads were counted.
    if context_dim in (512, 640):
        return None, 32
    return 8, None


def _depth(shapes: Shapes, key: str) -> int:
    if shapes.has(f"{key}.qkv.weight"):
        return 1
    return shapes.count(f"{key}.transformer_blocks.")


def _resblock_updown(shapes: Shapes, per_level: int) -> bool:
    return shapes.has(f"input_blocks.{per_level}.0.in_layers.0.weight")


def _split(blocks: int, levels: int, shapes: Shapes) -> int:
    if blocks == 0 or blocks % levels:
        raise CheckpointError(f"{shapes.where}: {blocks} blocks on {levels} levels; {_WHOLE}.")
    return blocks // levels


def _multiples(widths: list[int], base: int, shapes: Shapes) -> tuple[int, ...]:
    if not widths or any(width % base for width in widths):
        raise CheckpointError(f"{shapes.where}: levels {widths} wide on {base}; {_WHOLE}.")
    return tuple(width // base for width in widths)
