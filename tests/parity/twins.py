"""The same weights in diffusers' networks: the peer that our networks are compared with.

The key names of the two layouts are facts of the file formats; the map below is read from our
module tree, so a module that moves breaks it loudly.
"""

import re
from collections.abc import Mapping

import torch
from diffusers import AutoencoderKL as PeerVAE
from diffusers import UNet2DConditionModel as PeerUNet
from torch import Tensor, nn

from diffusion.networks.unet import UNet, UNetConfig
from diffusion.networks.vae import AutoencoderKL

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
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
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
        if key.startswith(ours + "."):
            return theirs + key.removeprefix(ours)
    stage, rest = re.fullmatch(
        r"(input_blocks\.\d+|middle_block|output_blocks\.\d+)\.(.+)", key
    ).groups()  # type: ignore[union-attr]
    layer, name = rest.split(".", 1)
    per_level = config.num_res_blocks + 1
    if stage == "middle_block":
        place = {
            "0": "mid_block.resnets.0",
            "1": "mid_block.attentions.0",
            "2": "mid_block.resnets.1",
        }[layer]
    elif stage.startswith("input"):
        level, block = divmod(int(stage.split(".")[1]) - 1, per_level)
        kind = "downsamplers.0" if block == per_level - 1 else _kind(layer, block)
        place = f"down_blocks.{level}.{kind}"
    else:
        level, block = divmod(int(stage.split(".")[1]), per_level)
        kind = "upsamplers.0" if name.startswith("conv.") else _kind(layer, block)
        place = f"up_blocks.{level}.{kind}"
    if ".resnets." in place:
        name = next(name.replace(a, b, 1) for a, b in RESNET.items() if name.startswith(a + "."))
    return f"{place}.{name.replace('op.', 'conv.', 1) if 'downsamplers' in place else name}"


def _kind(layer: str, block: int) -> str:
    return f"{'resnets' if layer == '0' else 'attentions'}.{block}"


def peer_unet(unet: UNet) -> PeerUNet:
    """Build diffusers' U-Net of the same sizes with the same weights."""
    config = unet.config
    widths = tuple(m * config.model_channels for m in config.channel_mult)
    attends = [depth > 0 for depth in config.transformer_depth]
    added = config.added_dim
    peer = PeerUNet(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_out_channels=widths,
        layers_per_block=config.num_res_blocks,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        transformer_layers_per_block=tuple(max(1, d) for d in config.transformer_depth),
        # diffusers calls the number of heads `attention_head_dim` in these models.
        attention_head_dim=tuple(config.heads_for(width) for width in widths),
        cross_attention_dim=config.context_dim,
        use_linear_projection=config.linear_projection,
        norm_num_groups=32,
        **({"addition_embed_type": "text_time", "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": added} if added else {}),
    )  # fmt: skip
    _load(peer, {unet_key(k, config): v for k, v in unet.state_dict().items()})
    return peer.eval()


def vae_key(key: str, levels: int) -> str:
    """Translate one key of the original autoencoder layout to diffusers' layout."""
    up = re.fullmatch(r"decoder\.up\.(\d+)\.(.+)", key)
    if up:
        key = f"decoder.up_blocks.{levels - 1 - int(up[1])}.{up[2]}"
    key = re.sub(r"^encoder\.down\.", "encoder.down_blocks.", key)
    key = re.sub(r"\.block\.(\d+)\.", r".resnets.\1.", key)
    key = key.replace("downsample.conv", "downsamplers.0.conv").replace(
        "upsample.conv", "upsamplers.0.conv"
    )
    key = key.replace("mid.block_1", "mid_block.resnets.0").replace(
        "mid.block_2", "mid_block.resnets.1"
    )
    key = key.replace("nin_shortcut", "conv_shortcut")
    for ours, theirs in {
        "norm": "group_norm",
        "q": "to_q",
        "k": "to_k",
        "v": "to_v",
        "proj_out": "to_out.0",
    }.items():
        key = key.replace(f"mid.attn_1.{ours}.", f"mid_block.attentions.0.{theirs}.")
    return re.sub(r"^(encoder|decoder)\.norm_out", r"\1.conv_norm_out", key)


def peer_vae(vae: AutoencoderKL) -> PeerVAE:
    """Build diffusers' autoencoder of the same sizes with the same weights (the light stem becomes
    channels).
    """
    config = vae.config
    levels = len(config.channel_mult)
    channels = 3 * config.patch_size**2
    peer = PeerVAE(
        in_channels=channels,
        out_channels=channels,
        latent_channels=config.z_channels,
        block_out_channels=tuple(m * config.channels for m in config.channel_mult),
        layers_per_block=config.num_res_blocks,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        scaling_factor=config.scaling_factor,
    )
    named = {vae_key(k, levels): v for k, v in vae.state_dict().items()}
    _load(peer, {k: v[:, :, 0, 0] if ".to_" in k and v.ndim == 4 else v for k, v in named.items()})
    return peer.eval()


def _load(peer: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    peer.load_state_dict(dict(tensors), strict=True)
