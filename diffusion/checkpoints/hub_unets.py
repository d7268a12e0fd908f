"""U-Net and ControlNet sizes from the config.json of a hub folder.

Promises: what our networks cannot express is refused with a sentence. Never imports torch. Defaults
of absent fields are those of the classes `UNet2DConditionModel`, `UNet2DModel` and
`ControlNetModel`.
"""

from typing import Final

from diffusion.checkpoints.hub_fields import MAX_COUNT, Fields
from diffusion.networks.configs import ControlNetConfig, DDPMConfig, UNetConfig

_FALSE: Final = (False, None)
_COMMON: Final[dict[str, tuple[object, ...]]] = {
    "center_input_sample": (False,),
    "act_fn": ("silu", "swish"),
    "mid_block_scale_factor": (1, 1.0),
    "time_embedding_type": ("positional",),
    "class_embed_type": (None,),
    "dropout": (0, 0.0),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "attn_norm_num_groups": (None,),
    "add_attention": (True,),
}
_CONDITIONAL: Final[dict[str, tuple[object, ...]]] = {
    **_COMMON,
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "downsample_padding": (1,),
    "norm_eps": (1e-5,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn", "UNetMidBlock2D"),
    "dual_cross_attention": _FALSE,
    "resnet_time_scale_shift": ("default",),
    "resnet_skip_time_act": _FALSE,
    "resnet_out_scale_factor": (1, 1.0),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "addition_embed_type": (None, "text_time"),
    "time_embedding_dim": (None,),
    "time_embedding_act_fn": (None,),
    "timestep_post_act": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "attention_type": ("default",),
    "class_embeddings_concat": _FALSE,
    "mid_block_only_cross_attention": _FALSE,
    "cross_attention_norm": (None,),
    "reverse_transformer_layers_per_block": (None,),
}
_KNOWN: Final = frozenset(
    {
        "sample_size",
        "in_channels",
        "out_channels",
        "block_out_channels",
        "layers_per_block",
        "down_block_types",
        "up_block_types",
        "attention_head_dim",
        "num_attention_heads",
        "norm_num_groups",
        "cross_attention_dim",
        "transformer_layers_per_block",
        "use_linear_projection",
        "only_cross_attention",
        "addition_time_embed_dim",
        "addition_embed_type_num_heads",
        "projection_class_embeddings_input_dim",
        "time_cond_proj_dim",
        "num_class_embeds",
        "num_train_timesteps",
        "upcast_attention",
        "decay",
        "inv_gamma",
        "min_decay",
        "optimization_step",
        "power",
        "update_after_step",
        "use_ema_warmup",
    }
)
_CONTROL: Final[dict[str, tuple[object, ...]]] = {
    "controlnet_conditioning_channel_order": ("rgb",),
    "global_pool_conditions": _FALSE,
}
_CONTROL_KNOWN: Final = frozenset({"conditioning_channels", "conditioning_embedding_out_channels"})
_UNCONDITIONAL: Final[dict[str, tuple[object, ...]]] = {
    **_COMMON,
    "resnet_time_scale_shift": ("default",),
    "num_class_embeds": (None,),
    "mid_block_type": ("UNetMidBlock2D",),
}
_ATTENDS: Final = {"CrossAttnDownBlock2D": True, "DownBlock2D": False, "AttnDownBlock2D": True}
_MIRROR: Final = {
    "CrossAttnDownBlock2D": "CrossAttnUpBlock2D",
    "DownBlock2D": "UpBlock2D",
    "AttnDownBlock2D": "AttnUpBlock2D",
}
_DEFAULT_BLOCKS: Final = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
_DEFAULT_WIDTHS: Final = (320, 640, 1280, 1280)


def unet_config(fields: Fields) -> UNetConfig:
    """Return the sizes of a `UNet2DConditionModel`."""
    fields.check(_CONDITIONAL, _KNOWN)
    return _conditional(fields, attends=_attends(fields, _DEFAULT_BLOCKS))


def controlnet_config(fields: Fields) -> ControlNetConfig:
    """Return the sizes of a `ControlNetModel`."""
    fields.check({**_CONDITIONAL, **_CONTROL}, _KNOWN | _CONTROL_KNOWN)
    unet = _conditional(fields, attends=_attends(fields, _DEFAULT_BLOCKS, mirrored=False))
    hints = fields.widths("conditioning_embedding_out_channels", (16, 32, 96, 256))
    return ControlNetConfig(
        unet=unet,
        hint_channels=fields.integer("conditioning_channels", 3),
        hint_widths=hints,
    )


def unconditional_config(fields: Fields) -> UNetConfig | DDPMConfig:
    """Return the sizes of a `UNet2DModel`: Ho et al.'s network on pixels, or latent diffusion's,
    which differ in the order of the sinusoids.
    """
    fields.check(
        _UNCONDITIONAL,
        _KNOWN | {"flip_sin_to_cos", "freq_shift", "norm_eps", "downsample_padding"},
    )
    attends = _attends(fields, ("DownBlock2D", *("AttnDownBlock2D",) * 3))
    widths = fields.widths("block_out_channels", (224, 448, 672, 896))
    make = tuple(
        fields.table.get(name, default)
        for name, default in (
            ("flip_sin_to_cos", True),
            ("freq_shift", 0),
            ("downsample_padding", 1),
        )
    )
    if make == (False, 1, 0):
        return _ddpm(fields, attends, widths)
    if make != (True, 0, 1) or fields.table.get("norm_eps", 1e-5) != 1e-5:
        raise fields.refuse(
            "flip_sin_to_cos", "as in DDPM (false, with freq_shift 1) or latent diffusion (true, 0)"
        )
    head_dim = fields.integer("attention_head_dim", 8)
    return UNetConfig(
        in_channels=fields.integer("in_channels", 3),
        out_channels=fields.integer("out_channels", 3),
        model_channels=widths[0],
        channel_mult=_multiples(fields, widths),
        num_res_blocks=fields.integer("layers_per_block", 2, high=MAX_COUNT),
        transformer_depth=tuple(int(each) for each in attends),
        heads=None,
        head_dim=head_dim,
        context_dim=None,
        attention="plain",
        norm_groups=fields.integer("norm_num_groups", 32),
    )


def _ddpm(fields: Fields, attends: tuple[bool, ...], widths: tuple[int, ...]) -> DDPMConfig:
    if fields.table.get("attention_head_dim", 8) is not None:
        raise fields.refuse("attention_head_dim", "null: this network attends with one head")
    return DDPMConfig(
        in_channels=fields.integer("in_channels", 3),
        out_channels=fields.integer("out_channels", 3),
        model_channels=widths[0],
        channel_mult=_multiples(fields, widths),
        num_res_blocks=fields.integer("layers_per_block", 2, high=MAX_COUNT),
        attention=attends,
        resolution=fields.integer("sample_size", 32),
        norm_groups=fields.integer("norm_num_groups", 32),
        norm_eps=fields.number("norm_eps", 1e-5),
    )


def _conditional(fields: Fields, *, attends: tuple[bool, ...]) -> UNetConfig:
    widths = fields.widths("block_out_channels", _DEFAULT_WIDTHS)
    levels = len(widths)
    depths = fields.per_level("transformer_layers_per_block", 1, levels)
    if max(depths) > MAX_COUNT:
        raise fields.refuse("transformer_layers_per_block", f"at most {MAX_COUNT}")
    blocks = set(fields.per_level("layers_per_block", 2, levels))
    if len(blocks) > 1 or max(blocks) > MAX_COUNT:
        raise fields.refuse("layers_per_block", f"the same number on every level, <= {MAX_COUNT}")
    contexts = set(fields.per_level("cross_attention_dim", 1280, levels))
    if len(contexts) > 1:
        raise fields.refuse("cross_attention_dim", "one number")
    only_cross = fields.table.get("only_cross_attention", False)
    if only_cross is not False and only_cross != [False] * levels:
        raise fields.refuse("only_cross_attention", "false: nothing else is known here")
    heads, head_dim = _heads(fields, widths)
    plain_middle = fields.table.get("mid_block_type") == "UNetMidBlock2D"
    added = fields.table.get("addition_embed_type") == "text_time"
    return UNetConfig(
        in_channels=fields.integer("in_channels", 4),
        out_channels=fields.integer("out_channels", 4),
        model_channels=widths[0],
        channel_mult=_multiples(fields, widths),
        num_res_blocks=blocks.pop(),
        transformer_depth=tuple(d if a else 0 for d, a in zip(depths, attends, strict=True)),
        middle_depth=0 if plain_middle else depths[-1],
        heads=heads,
        head_dim=head_dim,
        context_dim=contexts.pop(),
        linear_projection=fields.flag("use_linear_projection", default=False),
        added_dim=fields.integer("projection_class_embeddings_input_dim", 0) if added else 0,
        size_dim=fields.integer("addition_time_embed_dim", 0) if added else 256,
        guidance_dim=fields.optional("time_cond_proj_dim"),
        num_classes=fields.optional("num_class_embeds"),
        norm_groups=fields.integer("norm_num_groups", 32),
        upcast_attention=fields.table.get("upcast_attention") is True,
    )


def _heads(
    fields: Fields, widths: tuple[int, ...]
) -> tuple[int | tuple[int, ...] | None, int | None]:
    """Return (heads, width of a head), one of them None. The field `attention_head_dim` of these
    networks has always meant the number of heads.
    """
    name = "attention_head_dim"
    if fields.table.get("num_attention_heads") is not None:
        name = "num_attention_heads"
    heads = fields.per_level(name, 8, len(widths))
    if any(width % count for width, count in zip(widths, heads, strict=True)):
        raise fields.refuse(name, f"divisors of the widths {list(widths)}")
    dims = {width // count for width, count in zip(widths, heads, strict=True)}
    if len(set(heads)) == 1:
        return heads[0], None
    return (None, dims.pop()) if len(dims) == 1 else (heads, None)


def _attends(
    fields: Fields, default: tuple[str, ...], *, mirrored: bool = True
) -> tuple[bool, ...]:
    down = fields.names("down_block_types", default)
    levels = len(fields.widths("block_out_channels", _DEFAULT_WIDTHS))
    if len(down) != levels or not set(down) <= set(_ATTENDS):
        raise fields.refuse("down_block_types", f"{levels} of {', '.join(_ATTENDS)}")
    up = tuple(_MIRROR[name] for name in reversed(down))
    if mirrored and fields.names("up_block_types", up) != up:
        raise fields.refuse("up_block_types", f"the mirror of down_block_types, {list(up)}")
    return tuple(_ATTENDS[name] for name in down)


def _multiples(fields: Fields, widths: tuple[int, ...]) -> tuple[int, ...]:
    if any(width % widths[0] for width in widths):
        raise fields.refuse("block_out_channels", "multiples of the first")
    return tuple(width // widths[0] for width in widths)
