"""The names that diffusers has for our weights, and the sizes it is told: facts of file formats.

Promises: imports no peer; a module of ours that moves makes the peer's strict loading fail loudly.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from torch import Tensor, nn

from diffusion.networks.configs import UNetConfig, VAEConfig
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL

_RESNET: Final[Mapping[str, str]] = MappingProxyType(
    {
        "in_layers.0": "norm1",
        "in_layers.2": "conv1",
        "emb_layers.1": "time_emb_proj",
        "out_layers.0": "norm2",
        "out_layers.3": "conv2",
        "skip_connection": "conv_shortcut",
    }
)
_HEAD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
        "label_emb.0.0": "add_embedding.linear_1",
        "label_emb.0.2": "add_embedding.linear_2",
    }
)
_ATTENTION: Final[Mapping[str, str]] = MappingProxyType(
    {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
)


def unet_sizes(config: UNetConfig) -> dict[str, Any]:
    """Return the arguments of diffusers' UNet2DConditionModel."""
    widths = tuple(mult * config.model_channels for mult in config.channel_mult)
    depths = config.transformer_depth
    sizes: dict[str, Any] = {
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "block_out_channels": widths,
        "layers_per_block": config.num_res_blocks,
        "down_block_types": tuple(f"{'CrossAttn' * (d > 0)}DownBlock2D" for d in depths),
        "up_block_types": tuple(f"{'CrossAttn' * (d > 0)}UpBlock2D" for d in reversed(depths)),
        "mid_block_type": "UNetMidBlock2DCrossAttn" if config.middle_depth else "UNetMidBlock2D",
        "transformer_layers_per_block": tuple(max(1, depth) for depth in depths),
        # diffusers calls the number of heads `attention_head_dim` in these models.
        "attention_head_dim": tuple(
            config.heads_for(width, level) for level, width in enumerate(widths)
        ),
        "cross_attention_dim": config.context_dim,
        "use_linear_projection": config.linear_projection,
        "norm_num_groups": config.norm_groups,
        "upcast_attention": config.upcast_attention,
    }
    if config.added_dim:
        sizes |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": config.size_dim,
            "projection_class_embeddings_input_dim": config.added_dim,
        }
    return sizes


def unet_weights(unet: UNet) -> dict[str, Tensor]:
    """Return a U-Net's weights by diffusers' names; the tensors are the same ones."""
    return {unet_key(key, unet.config): value for key, value in unet.state_dict().items()}


def unet_key(key: str, config: UNetConfig) -> str:
    """Translate one name of the original layout; ValueError for a name that is none of it."""
    for ours, theirs in _HEAD.items():
        if key.startswith(f"{ours}."):
            return theirs + key.removeprefix(ours)
    match = re.fullmatch(r"(input_blocks\.\d+|middle_block|output_blocks\.\d+)\.(\d+)\.(.+)", key)
    if match is None:
        raise ValueError(f"no U-Net has a weight called {key!r}")
    stage, layer, name = match.groups()
    per_level = config.num_res_blocks + 1
    resnet = next((name.replace(a, b, 1) for a, b in _RESNET.items() if name.startswith(a)), None)
    if stage == "middle_block":
        place = "mid_block." + ("attentions.0" if resnet is None else f"resnets.{int(layer) // 2}")
    elif stage.startswith("input"):
        level, block = divmod(int(stage.split(".")[1]) - 1, per_level)
        last = block == per_level - 1
        place = f"down_blocks.{level}.{'downsamplers.0' if last else _kind(layer, block)}"
    else:
        level, block = divmod(int(stage.split(".")[1]), per_level)
        place = f"up_blocks.{level}."
        place += "upsamplers.0" if name.startswith("conv.") else _kind(layer, block)
    return f"{place}.{resnet or re.sub('^op', 'conv', name)}"


def _kind(layer: str, block: int) -> str:
    return f"{'resnets' if layer == '0' else 'attentions'}.{block}"


def vae_sizes(config: VAEConfig) -> dict[str, Any]:
    """Return the arguments of diffusers' AutoencoderKL; the light stem becomes channels."""
    levels = len(config.channel_mult)
    channels = 3 * config.patch_size**2
    return {
        "in_channels": channels,
        "out_channels": channels,
        "latent_channels": config.z_channels,
        "block_out_channels": tuple(mult * config.channels for mult in config.channel_mult),
        "layers_per_block": config.num_res_blocks,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "mid_block_add_attention": config.middle_attention,
        "norm_num_groups": config.norm_groups,
        "scaling_factor": config.scaling_factor,
        "use_quant_conv": config.quant_convs,
        "use_post_quant_conv": config.quant_convs,
    }


def vae_weights(vae: AutoencoderKL) -> dict[str, Tensor]:
    """Return an autoencoder's weights by diffusers' names; 1 x 1 convolutions as matrices."""
    levels = len(vae.config.channel_mult)
    named = {_vae_key(key, levels): value for key, value in vae.state_dict().items()}
    return {k: v[:, :, 0, 0] if ".to_" in k and v.ndim == 4 else v for k, v in named.items()}


def _vae_key(key: str, levels: int) -> str:
    key = re.sub(r"\bup\.(\d+)\.", lambda m: f"up_blocks.{levels - 1 - int(m[1])}.", key)
    key = re.sub(r"\bdown\.(\d+)\.", r"down_blocks.\1.", key)
    key = re.sub(r"\.block\.(\d+)\.", r".resnets.\1.", key)
    key = re.sub(r"\.(downsample|upsample)\.conv", r".\1rs.0.conv", key)
    key = re.sub(r"\bmid\.block_(\d)", lambda m: f"mid_block.resnets.{int(m[1]) - 1}", key)
    key = key.replace("mid.attn_1", "mid_block.attentions.0").replace("nin_", "conv_")
    key = re.sub(r"(\.attentions\.\d+)\.(\w+)\.", lambda m: f"{m[1]}.{_ATTENTION[m[2]]}.", key)
    return re.sub(r"\bnorm_out", "conv_norm_out", key)


def parts_of(unet: nn.Module, vae: nn.Module) -> tuple[UNet, AutoencoderKL]:
    """Return both as what a twin can be made of; TypeError for a model of another family."""
    if not isinstance(unet, UNet) or not isinstance(vae, AutoencoderKL):
        raise TypeError("only a U-Net behind an autoencoder has a twin in diffusers here")
    return unet, vae
