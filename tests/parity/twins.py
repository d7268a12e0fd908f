"""The same weights in diffusers' networks: the peer that our networks are compared with.

The key names of the two layouts are facts of the file formats; the map below is read from our
module tree, so a module that moves breaks it loudly.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL as PeerVAE
from diffusers import AutoencoderTiny as PeerTiny
from diffusers import ControlNetModel as PeerControlNet
from diffusers import UNet2DConditionModel as PeerUNet
from diffusers import UNet2DModel as PeerPlainUNet
from diffusers import VQModel as PeerVQ
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from torch import Tensor, nn

from diffusion.networks.bert import BERTTransformer
from diffusion.networks.configs import UNetConfig, VAEConfig
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.tiny import TinyDecoder, TinyEncoder
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.networks.vq import AutoencoderVQ

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
HEAD = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
    "time_embed.cond_proj": "time_embedding.cond_proj",
    "label_emb.weight": "class_embedding.weight",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
}
PIXEL_ATTENTION = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}


def fill(network: nn.Module, seed: int) -> None:
    """Random weights that keep activations of order one, so that no layer hides behind zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                base = 1.0 if name.endswith("weight") else 0.0
                parameter.copy_(base + 0.1 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)


def unet_key(key: str, config: UNetConfig) -> str:
    """Translate one key of the original layout to diffusers' layout."""
    for ours, theirs in HEAD.items():
        if key == ours or key.startswith(ours + "."):
            return theirs + key.removeprefix(ours)
    match = re.fullmatch(r"(input_blocks\.\d+|middle_block|output_blocks\.\d+)\.(\d+)\.(.+)", key)
    assert match, key
    stage, layer, name = match.groups()
    per_level = config.num_res_blocks + 1
    resnet = next((name.replace(a, b, 1) for a, b in RESNET.items() if name.startswith(a)), None)
    if stage == "middle_block":
        place = "mid_block." + ("attentions.0", f"resnets.{int(layer) // 2}")[resnet is not None]
    elif stage.startswith("input"):
        level, block = divmod(int(stage.split(".")[1]) - 1, per_level)
        last = block == per_level - 1
        place = f"down_blocks.{level}.{'downsamplers.0' if last else _kind(layer, block)}"
    else:
        level, block = divmod(int(stage.split(".")[1]), per_level)
        up = name.startswith("conv.") or (resnet is not None and layer != "0")
        place = f"up_blocks.{level}.{'upsamplers.0' if up else _kind(layer, block)}"
    if resnet is not None:
        return f"{place}.{resnet}"
    return f"{place}.{re.sub('^op', 'conv', name)}"


def _kind(layer: str, block: int) -> str:
    return f"{'resnets' if layer == '0' else 'attentions'}.{block}"


def _condition_sizes(config: UNetConfig) -> dict[str, Any]:
    """The arguments that diffusers' U-Net and ControlNet share."""
    widths = tuple(m * config.model_channels for m in config.channel_mult)
    sizes: dict[str, Any] = {
        "in_channels": config.in_channels,
        "block_out_channels": widths,
        "layers_per_block": config.num_res_blocks,
        "down_block_types": tuple(
            "CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in config.transformer_depth
        ),
        "mid_block_type": "UNetMidBlock2DCrossAttn" if config.middle_depth else "UNetMidBlock2D",
        "transformer_layers_per_block": tuple(max(1, d) for d in config.transformer_depth),
        # diffusers calls the number of heads `attention_head_dim` in these models.
        "attention_head_dim": tuple(
            config.heads_for(width, level) for level, width in enumerate(widths)
        ),
        "cross_attention_dim": config.context_dim,
        "use_linear_projection": config.linear_projection,
        "norm_num_groups": config.norm_groups,
        "upcast_attention": config.upcast_attention,
        "num_class_embeds": config.num_classes or None,
    }
    if config.added_dim:
        sizes |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": config.added_dim,
        }
    return sizes


def peer_unet(unet: UNet) -> PeerUNet:
    """Build diffusers' U-Net of the same sizes with the same weights."""
    config = unet.config
    peer = PeerUNet(
        out_channels=config.out_channels,
        up_block_types=tuple(
            "CrossAttnUpBlock2D" if depth else "UpBlock2D"
            for depth in reversed(config.transformer_depth)
        ),
        time_cond_proj_dim=config.guidance_dim or None,
        **_condition_sizes(config),
    )
    _load(peer, {unet_key(k, config): v for k, v in unet.state_dict().items()})
    return peer.eval()


def peer_controlnet(control: ControlNet) -> PeerControlNet:
    """Build diffusers' ControlNet of the same sizes with the same weights."""
    config = control.config
    sizes = _condition_sizes(config.unet)
    peer = PeerControlNet(
        conditioning_channels=config.hint_channels,
        conditioning_embedding_out_channels=config.hint_widths,
        # Its own default is a number, which the list of a level cannot override.
        num_attention_heads=sizes.pop("attention_head_dim"),
        **sizes,
    )
    last = len(control.input_hint_block) - 1
    places = {0: "conv_in", last: "conv_out"}
    named: dict[str, Tensor] = {}
    for key, tensor in control.state_dict().items():
        if match := re.fullmatch(r"zero_convs\.(\d+)\.0\.(.+)", key):
            named[f"controlnet_down_blocks.{match[1]}.{match[2]}"] = tensor
        elif match := re.fullmatch(r"middle_block_out\.0\.(.+)", key):
            named[f"controlnet_mid_block.{match[1]}"] = tensor
        elif match := re.fullmatch(r"input_hint_block\.(\d+)\.(.+)", key):
            place = places.get(int(match[1]), f"blocks.{int(match[1]) // 2 - 1}")
            named[f"controlnet_cond_embedding.{place}.{match[2]}"] = tensor
        else:
            named[unet_key(key, config.unet)] = tensor
    _load(peer, named)
    return peer.eval()


def peer_plain_unet(unet: UNet) -> PeerPlainUNet:
    """Build diffusers' unconditional U-Net of the same sizes with the same weights."""
    config = unet.config
    attends = [depth > 0 for depth in config.transformer_depth]
    resnet = "Resnet" if config.resblock_updown else ""
    down = f"{resnet}DownsampleBlock2D" if resnet else "DownBlock2D"
    up = f"{resnet}UpsampleBlock2D" if resnet else "UpBlock2D"
    peer = PeerPlainUNet(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_out_channels=tuple(m * config.model_channels for m in config.channel_mult),
        layers_per_block=config.num_res_blocks,
        down_block_types=tuple("AttnDownBlock2D" if a else down for a in attends),
        up_block_types=tuple("AttnUpBlock2D" if a else up for a in reversed(attends)),
        downsample_type="resnet" if resnet else "conv",
        upsample_type="resnet" if resnet else "conv",
        resnet_time_scale_shift="scale_shift" if config.scale_shift_norm else "default",
        attention_head_dim=config.head_dim,
        norm_num_groups=config.norm_groups,
        attn_norm_num_groups=config.norm_groups,
    )
    named: dict[str, Tensor] = {}
    for key, tensor in unet.state_dict().items():
        place = unet_key(key, config)
        if ".attentions." not in place:
            named[place] = tensor
        elif ".qkv." in place:
            level = next(i for i, m in enumerate(config.channel_mult)
                         if 3 * m * config.model_channels == len(tensor))  # fmt: skip
            heads = config.heads_for(len(tensor) // 3, level)
            parts = tensor.unflatten(0, (heads, 3, -1)).unbind(1)
            for name, part in zip(("to_q", "to_k", "to_v"), parts, strict=True):
                rows = part.flatten(0, 1)
                named[place.replace("qkv", name)] = rows[..., 0] if rows.ndim == 3 else rows
        else:
            place = place.replace(".norm.", ".group_norm.").replace("proj_out", "to_out.0")
            named[place] = tensor[..., 0] if tensor.ndim == 3 else tensor
    _load(peer, named)
    return peer.eval()


def pixel_key(key: str, levels: int) -> str:
    """Translate one key of an original autoencoder or pixel U-Net to diffusers' layout."""
    key = re.sub(r"\bup\.(\d+)\.", lambda m: f"up_blocks.{levels - 1 - int(m[1])}.", key)
    key = re.sub(r"\bdown\.(\d+)\.", r"down_blocks.\1.", key)
    key = re.sub(r"\.block\.(\d+)\.", r".resnets.\1.", key)
    key = re.sub(r"\.attn\.(\d+)\.", r".attentions.\1.", key)
    key = re.sub(r"\.(downsample|upsample)\.conv", r".\1rs.0.conv", key)
    key = re.sub(r"\bmid\.block_(\d)", lambda m: f"mid_block.resnets.{int(m[1]) - 1}", key)
    key = key.replace("mid.attn_1", "mid_block.attentions.0").replace("nin_", "conv_")
    key = key.replace("temb_proj", "time_emb_proj")
    key = re.sub(r"\btemb\.dense\.(\d)", lambda m: f"time_embedding.linear_{int(m[1]) + 1}", key)
    key = re.sub(r"(\.attentions\.\d+)\.(\w+)\.", lambda m: f"{m[1]}.{PIXEL_ATTENTION[m[2]]}.", key)
    return re.sub(r"\bnorm_out", "conv_norm_out", key)


def _pixel_named(network: nn.Module, levels: int) -> dict[str, Tensor]:
    named = {pixel_key(k, levels): v for k, v in network.state_dict().items()}
    return {k: v[:, :, 0, 0] if ".to_" in k and v.ndim == 4 else v for k, v in named.items()}


def _vae_sizes(config: VAEConfig) -> dict[str, Any]:
    levels = len(config.channel_mult)
    attends = config.attention or (False,) * levels
    channels = 3 * config.patch_size**2
    return {
        "in_channels": channels,
        "out_channels": channels,
        "latent_channels": config.z_channels,
        "block_out_channels": tuple(m * config.channels for m in config.channel_mult),
        "layers_per_block": config.num_res_blocks,
        "down_block_types": tuple(f"{'Attn' * a}DownEncoderBlock2D" for a in attends),
        "up_block_types": tuple(f"{'Attn' * a}UpDecoderBlock2D" for a in reversed(attends)),
        "mid_block_add_attention": config.middle_attention,
        "norm_num_groups": config.norm_groups,
        "scaling_factor": config.scaling_factor,
    }


def peer_vae(vae: AutoencoderKL) -> PeerVAE:
    """Build diffusers' autoencoder of the same sizes with the same weights (the light stem becomes
    channels).
    """
    config = vae.config
    peer = PeerVAE(
        use_quant_conv=config.quant_convs,
        use_post_quant_conv=config.quant_convs,
        **_vae_sizes(config),
    )
    if config.embed_dim is not None:
        # The original system has this width of its own, diffusers does not.
        peer.quant_conv = nn.Conv2d(2 * config.z_channels, 2 * config.embed_dim, 1)
        peer.post_quant_conv = nn.Conv2d(config.embed_dim, config.z_channels, 1)
    _load(peer, _pixel_named(vae, len(config.channel_mult)))
    return peer.eval()


def peer_vq(vae: AutoencoderVQ) -> PeerVQ:
    """Build diffusers' autoencoder with a codebook of the same sizes and weights."""
    config = vae.config
    peer = PeerVQ(
        num_vq_embeddings=config.codes, vq_embed_dim=config.latent_channels, **_vae_sizes(config)
    )
    _load(peer, _pixel_named(vae, len(config.channel_mult)))
    return peer.eval()


def peer_ddpm(unet: DDPMUNet) -> PeerPlainUNet:
    """Build diffusers' pixel U-Net of the same sizes with the same weights."""
    config = unet.config
    peer = PeerPlainUNet(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_out_channels=tuple(m * config.model_channels for m in config.channel_mult),
        layers_per_block=config.num_res_blocks,
        down_block_types=tuple(f"{'Attn' * a}DownBlock2D" for a in config.attention),
        up_block_types=tuple(f"{'Attn' * a}UpBlock2D" for a in reversed(config.attention)),
        attention_head_dim=None,
        norm_eps=config.norm_eps,
        norm_num_groups=config.norm_groups,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
    )
    _load(peer, _pixel_named(unet, len(config.channel_mult)))
    return peer.eval()


def bert_key(key: str) -> str:
    """Translate one key of the original text transformer to diffusers' layout."""
    match = re.fullmatch(r"attn_layers\.layers\.(\d+)\.(.+)", key)
    if not match:
        for ours, theirs in {
            "token_emb.": "embed_tokens.",
            "pos_emb.emb.": "embed_positions.",
            "norm.": "layer_norm.",
        }.items():
            key = re.sub(f"^{re.escape(ours)}", theirs, key)
        return f"model.{key}"
    layer, half = divmod(int(match[1]), 2)
    name = match[2]
    if half == 0:
        name = re.sub(r"^1\.to_(q|k|v|out)\.", r"self_attn.\1_proj.", name)
        name = re.sub(r"^0\.", "self_attn_layer_norm.", name)
    else:
        name = name.replace("1.net.0.0.", "fc1.").replace("1.net.2.", "fc2.")
        name = re.sub(r"^0\.", "final_layer_norm.", name)
    return f"model.layers.{layer}.{name}"


def peer_bert(bert: BERTTransformer) -> LDMBertModel:
    """Build diffusers' text transformer of latent diffusion with the same weights."""
    config = bert.config
    peer = LDMBertModel(
        LDMBertConfig(
            vocab_size=config.vocab_size,
            max_position_embeddings=config.window,
            encoder_layers=config.layers,
            encoder_ffn_dim=config.feed_forward,
            encoder_attention_heads=config.heads,
            head_dim=config.head_dim,
            d_model=config.width,
        )
    )
    named = {bert_key(k): v for k, v in bert.state_dict().items()}
    unused = {f"to_logits.{k}": v for k, v in peer.to_logits.state_dict().items()}
    _load(peer, named | unused)
    return peer.eval()


def peer_tiny(encoder: TinyEncoder, decoder: TinyDecoder) -> PeerTiny:
    """Build diffusers' tiny autoencoder with the same weights."""
    config = decoder.config
    widths = (config.width,) * len(config.blocks)
    peer = PeerTiny(
        latent_channels=config.z_channels,
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=tuple(reversed(config.blocks)),
        num_decoder_blocks=config.blocks,
    )
    named = {f"encoder.layers.{k}": v for k, v in encoder.state_dict().items()}
    for key, tensor in decoder.state_dict().items():
        index, rest = key.split(".", 1)
        # Only the original counts the squashing of its input as a layer.
        named[f"decoder.layers.{int(index) - 1}.{rest}"] = tensor
    _load(peer, named)
    return peer.eval()


def _load(peer: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    peer.load_state_dict(dict(tensors), strict=True)
