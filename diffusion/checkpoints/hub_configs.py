"""Sizes of autoencoders, text encoders and the safety checker from a hub folder's config.json.

Promises: what our networks cannot express is refused with a sentence. Never imports torch. Defaults
of absent fields are those of the classes named in the files.
"""

from typing import Any, Final

from diffusion.checkpoints.hub_fields import MAX_COUNT, Fields
from diffusion.networks.configs import (
    BERTConfig,
    SafetyConfig,
    TextConfig,
    TinyVAEConfig,
    VAEConfig,
)

_VAE: Final[dict[str, tuple[object, ...]]] = {
    "in_channels": (3,),
    "out_channels": (3,),
    "act_fn": ("silu", "swish"),
    "shift_factor": (None, 0, 0.0),
    "norm_type": ("group",),
    "lookup_from_codebook": (False,),
    "dropout": (0, 0.0),
}
_VAE_KNOWN: Final = frozenset(
    {
        "down_block_types",
        "up_block_types",
        "block_out_channels",
        "layers_per_block",
        "latent_channels",
        "norm_num_groups",
        "sample_size",
        "scaling_factor",
        "latents_mean",
        "latents_std",
        "force_upcast",
        "use_quant_conv",
        "use_post_quant_conv",
        "mid_block_add_attention",
        "num_vq_embeddings",
        "vq_embed_dim",
    }
)
_TINY: Final[dict[str, tuple[object, ...]]] = {
    "in_channels": (3,),
    "out_channels": (3,),
    "act_fn": ("relu",),
    "upsample_fn": ("nearest",),
    "upsampling_scaling_factor": (2,),
    "scaling_factor": (1, 1.0),
    "shift_factor": (0, 0.0),
    "latent_magnitude": (3, 3.0),
    "latent_shift": (0.5,),
    "force_upcast": (False,),
}
_TINY_KNOWN: Final = frozenset(
    {
        "latent_channels",
        "encoder_block_out_channels",
        "decoder_block_out_channels",
        "num_encoder_blocks",
        "num_decoder_blocks",
        "block_out_channels",
    }
)
_ACTIVATIONS: Final = ("quick_gelu", "gelu")


def vae_config(fields: Fields, *, vq: bool) -> VAEConfig:
    """Return the sizes of an `AutoencoderKL`, or of a `VQModel`."""
    fields.check(_VAE, _VAE_KNOWN)
    widths = fields.widths("block_out_channels", (64,))
    attention = _vae_attention(fields, len(widths))
    if any(width % widths[0] for width in widths):
        raise fields.refuse("block_out_channels", "multiples of the first")
    latent = fields.integer("latent_channels", 3 if vq else 4)
    quant = fields.flag("use_quant_conv", default=True)
    if quant != fields.flag("use_post_quant_conv", default=True):
        raise fields.refuse("use_post_quant_conv", "the same as use_quant_conv")
    embed = fields.optional("vq_embed_dim") or latent
    return VAEConfig(
        channels=widths[0],
        channel_mult=tuple(width // widths[0] for width in widths),
        num_res_blocks=fields.integer("layers_per_block", 1, high=MAX_COUNT),
        z_channels=latent,
        scaling_factor=fields.number("scaling_factor", 0.18215),
        kind="vq" if vq else "kl",
        codes=fields.integer("num_vq_embeddings", 256, high=10_000_000) if vq else 0,
        embed_dim=None if embed == latent else embed,
        attention=attention if any(attention) else None,
        middle_attention=fields.flag("mid_block_add_attention", default=True),
        quant_convs=quant,
        latents_mean=fields.numbers("latents_mean"),
        latents_std=fields.numbers("latents_std"),
        norm_groups=fields.integer("norm_num_groups", 32),
    )


def tiny_config(fields: Fields) -> TinyVAEConfig:
    """Return the sizes of an `AutoencoderTiny`."""
    fields.check(_TINY, _TINY_KNOWN)
    encoder = fields.widths("encoder_block_out_channels", (64,) * 4)
    decoder = fields.widths("decoder_block_out_channels", (64,) * 4)
    if len({*encoder, *decoder}) > 1:
        raise fields.refuse("decoder_block_out_channels", "one width for all levels")
    blocks = fields.widths("num_decoder_blocks", (3, 3, 3, 1))
    if fields.widths("num_encoder_blocks", (1, 3, 3, 3)) != blocks[::-1]:
        raise fields.refuse("num_encoder_blocks", "the mirror of num_decoder_blocks")
    if max(blocks) > MAX_COUNT:
        raise fields.refuse("num_decoder_blocks", f"at most {MAX_COUNT}")
    return TinyVAEConfig(
        z_channels=fields.integer("latent_channels", 4), width=decoder[0], blocks=blocks
    )


def text_config(fields: Fields, *, projected: bool, pad_id: int | None) -> TextConfig:
    """Return the sizes of a `CLIPTextModel`, or with its projection."""
    activation = fields.text("hidden_act", "quick_gelu")
    if activation not in _ACTIVATIONS:
        raise fields.refuse("hidden_act", " or ".join(_ACTIVATIONS))
    if fields.number("layer_norm_eps", 1e-5) != 1e-5:
        raise fields.refuse("layer_norm_eps", "1e-5")
    width = fields.integer("hidden_size", 512)
    heads = fields.integer("num_attention_heads", 8)
    if width % heads:
        raise fields.refuse("num_attention_heads", f"a divisor of {width}")
    vocabulary = fields.integer("vocab_size", 49408, high=1_000_000)
    # Older folders call the end token 2, which is nothing of CLIP's: it is the last of its table.
    end = fields.table.get("eos_token_id")
    end_id = end if type(end) is int and 2 < end < vocabulary else vocabulary - 1
    begin = fields.table.get("bos_token_id")
    begin_id = begin if type(begin) is int and 0 < begin < vocabulary else end_id - 1
    return TextConfig(
        vocab_size=vocabulary,
        width=width,
        layers=fields.integer("num_hidden_layers", 12, high=MAX_COUNT),
        heads=heads,
        feed_forward=fields.integer("intermediate_size", 2048),
        window=fields.integer("max_position_embeddings", 77, low=3, high=10_000),
        activation=activation,
        begin_id=begin_id,
        end_id=end_id,
        pad_id=end_id if pad_id is None or pad_id >= vocabulary else pad_id,
        projection_dim=fields.integer("projection_dim", 512) if projected else 0,
    )


def bert_config(fields: Fields) -> BERTConfig:
    """Return the sizes of an `LDMBertModel`."""
    return BERTConfig(
        vocab_size=fields.integer("vocab_size", 30522, high=1_000_000),
        width=fields.integer("d_model", 1280),
        layers=fields.integer("encoder_layers", 32, high=MAX_COUNT),
        heads=fields.integer("encoder_attention_heads", 8),
        head_dim=fields.integer("head_dim", 64),
        feed_forward=fields.integer("encoder_ffn_dim", 5120),
        window=fields.integer("max_position_embeddings", 77, low=3, high=10_000),
    )


def safety_config(fields: Fields) -> SafetyConfig:
    """Return the sizes of a `StableDiffusionSafetyChecker`."""
    vision: Any = fields.table.get("vision_config")
    if not isinstance(vision, dict):
        raise fields.refuse("vision_config", "an object")
    inner = Fields(vision, f"{fields.where}: vision_config")
    activation = inner.text("hidden_act", "quick_gelu")
    if activation not in _ACTIVATIONS:
        raise inner.refuse("hidden_act", " or ".join(_ACTIVATIONS))
    return SafetyConfig(
        width=inner.integer("hidden_size", 768),
        layers=inner.integer("num_hidden_layers", 12, high=MAX_COUNT),
        heads=inner.integer("num_attention_heads", 12),
        feed_forward=inner.integer("intermediate_size", 3072),
        image_size=inner.integer("image_size", 224),
        patch_size=inner.integer("patch_size", 32),
        projection_dim=fields.integer("projection_dim", 512),
        activation=activation,
    )


def _vae_attention(fields: Fields, levels: int) -> tuple[bool, ...]:
    down = fields.names("down_block_types", ("DownEncoderBlock2D",) * levels)
    up = fields.names("up_block_types", ("UpDecoderBlock2D",) * levels)
    attends = tuple(name == "AttnDownEncoderBlock2D" for name in down)
    wanted = tuple("AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in attends[::-1])
    known = {"DownEncoderBlock2D", "AttnDownEncoderBlock2D"}
    if len(down) != levels or not set(down) <= known:
        raise fields.refuse("down_block_types", f"{levels} of {', '.join(sorted(known))}")
    if up != wanted:
        raise fields.refuse("up_block_types", f"the mirror of down_block_types, {list(wanted)}")
    return attends
