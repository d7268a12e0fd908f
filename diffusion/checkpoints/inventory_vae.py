"""The inventories of the autoencoders (KL, VQ and tiny) and of the pixel-space U-Net of DDPM.

Promises: names and shapes follow from the sizes alone; checked against the networks by tests. Never
imports torch. Hub names are those of the `AutoencoderKL`, `VQModel`, `AutoencoderTiny` and
`UNet2DModel` files, original ones those of Rombach et al., Bohan's TAESD and Ho et al.'s port.
"""

from typing import Final

from diffusion.checkpoints.inventory import Inventory
from diffusion.networks.configs import DDPMConfig, TinyVAEConfig, VAEConfig

# Ours, then the hub's, then older hub spellings.
_ATTENTION: Final = (
    ("q", "to_q", "query"),
    ("k", "to_k", "key"),
    ("v", "to_v", "value"),
    ("proj_out", "to_out.0", "proj_attn"),
)


def vae_inventory(config: VAEConfig) -> Inventory:
    """Return every tensor of an autoencoder with a Gaussian latent or a codebook."""
    note = Inventory()
    moments = 2 if config.kind == "kl" else 1
    _encoder(note, config, moments * config.z_channels)
    _decoder(note, config)
    if config.quant_convs:
        latent = config.latent_channels
        note.conv("quant_conv", "quant_conv", moments * config.z_channels, moments * latent, 1)
        note.conv("post_quant_conv", "post_quant_conv", latent, config.z_channels, 1)
    if config.kind == "vq":
        key = "quantize.embedding.weight"
        note.tensor(key, key, config.codes, config.latent_channels)
    return note


def ddpm_inventory(config: DDPMConfig) -> Inventory:
    """Return every tensor of the pixel-space U-Net of Ho et al. 2020."""
    note = Inventory()
    base, dim, levels = config.model_channels, 4 * config.model_channels, len(config.channel_mult)
    note.linear("temb.dense.0", "time_embedding.linear_1", base, dim)
    note.linear("temb.dense.1", "time_embedding.linear_2", dim, dim)
    note.conv("conv_in", "conv_in", config.in_channels, base)
    widths, channels = [base], base
    for level, mult in enumerate(config.channel_mult):
        key, hub = f"down.{level}", f"down_blocks.{level}"
        for index in range(config.num_res_blocks):
            names = f"{key}.block.{index}", f"{hub}.resnets.{index}"
            _resnet(note, *names, channels, mult * base, embedding=dim)
            channels = mult * base
            if config.attention[level]:
                _attention(note, f"{key}.attn.{index}", f"{hub}.attentions.{index}", channels)
            widths.append(channels)
        if level + 1 < levels:
            place = f"{hub}.downsamplers.0.conv"
            note.conv(f"{key}.downsample.conv", place, channels, channels)
            widths.append(channels)
    _middle(note, "mid", "mid_block", channels, embedding=dim)
    for level in reversed(range(levels)):
        key, hub = f"up.{level}", f"up_blocks.{levels - 1 - level}"
        outputs = config.channel_mult[level] * base
        for index in range(config.num_res_blocks + 1):
            names = f"{key}.block.{index}", f"{hub}.resnets.{index}"
            _resnet(note, *names, channels + widths.pop(), outputs, embedding=dim)
            channels = outputs
            if config.attention[level]:
                _attention(note, f"{key}.attn.{index}", f"{hub}.attentions.{index}", channels)
        if level:
            note.conv(f"{key}.upsample.conv", f"{hub}.upsamplers.0.conv", channels, channels)
    note.norm("norm_out", "conv_norm_out", channels)
    note.conv("conv_out", "conv_out", channels, config.out_channels)
    return note


def tiny_decoder_inventory(config: TinyVAEConfig) -> Inventory:
    """Return every tensor of TAESD's decoder; its first layer squashes and has none."""
    note, width = Inventory(), config.width
    note.conv("1", "decoder.layers.0", config.z_channels, width)
    layer = 3
    for level, blocks in enumerate(config.blocks):
        for _ in range(blocks):
            _tiny_block(note, str(layer), f"decoder.layers.{layer - 1}", width)
            layer += 1
        if level + 1 < len(config.blocks):
            layer += 1
        last = level + 1 == len(config.blocks)
        note.conv(str(layer), f"decoder.layers.{layer - 1}", width, 3 if last else width, bias=last)
        layer += 1
    return note


def tiny_encoder_inventory(config: TinyVAEConfig) -> Inventory:
    """Return every tensor of TAESD's encoder, the mirror of its decoder."""
    note, width = Inventory(), config.width
    layer = 0
    for level, blocks in enumerate(reversed(config.blocks)):
        inputs = width if level else 3
        note.conv(str(layer), f"encoder.layers.{layer}", inputs, width, bias=not level)
        layer += 1
        for _ in range(blocks):
            _tiny_block(note, str(layer), f"encoder.layers.{layer}", width)
            layer += 1
    note.conv(str(layer), f"encoder.layers.{layer}", width, config.z_channels)
    return note


def _encoder(note: Inventory, config: VAEConfig, outputs: int) -> None:
    levels, base = len(config.channel_mult), config.channels
    inputs, width = 3 * config.patch_size**2, base
    note.conv("encoder.conv_in", "encoder.conv_in", inputs, base)
    for level, mult in enumerate(config.channel_mult):
        key, hub = f"encoder.down.{level}", f"encoder.down_blocks.{level}"
        for index in range(config.num_res_blocks):
            names = f"{key}.block.{index}", f"{hub}.resnets.{index}"
            _resnet(note, *names, width, mult * base)
            width = mult * base
            if config.attention and config.attention[level]:
                _attention(note, f"{key}.attn.{index}", f"{hub}.attentions.{index}", width)
        if level + 1 < levels:
            place = f"{hub}.downsamplers.0.conv"
            note.conv(f"{key}.downsample.conv", place, width, width)
    _middle(note, "encoder.mid", "encoder.mid_block", width, attends=config.middle_attention)
    note.norm("encoder.norm_out", "encoder.conv_norm_out", width)
    note.conv("encoder.conv_out", "encoder.conv_out", width, outputs)


def _decoder(note: Inventory, config: VAEConfig) -> None:
    levels, base = len(config.channel_mult), config.channels
    width = config.channel_mult[-1] * base
    note.conv("decoder.conv_in", "decoder.conv_in", config.z_channels, width)
    _middle(note, "decoder.mid", "decoder.mid_block", width, attends=config.middle_attention)
    for level in reversed(range(levels)):
        key, hub = f"decoder.up.{level}", f"decoder.up_blocks.{levels - 1 - level}"
        outputs = config.channel_mult[level] * base
        for index in range(config.num_res_blocks + 1):
            _resnet(note, f"{key}.block.{index}", f"{hub}.resnets.{index}", width, outputs)
            width = outputs
            if config.attention and config.attention[level]:
                _attention(note, f"{key}.attn.{index}", f"{hub}.attentions.{index}", width)
        if level:
            note.conv(f"{key}.upsample.conv", f"{hub}.upsamplers.0.conv", width, width)
    note.norm("decoder.norm_out", "decoder.conv_norm_out", width)
    note.conv("decoder.conv_out", "decoder.conv_out", width, 3 * config.patch_size**2)


def _resnet(
    note: Inventory, key: str, hub: str, inputs: int, outputs: int, *, embedding: int = 0
) -> None:
    note.norm(f"{key}.norm1", f"{hub}.norm1", inputs)
    note.conv(f"{key}.conv1", f"{hub}.conv1", inputs, outputs)
    if embedding:
        note.linear(f"{key}.temb_proj", f"{hub}.time_emb_proj", embedding, outputs)
    note.norm(f"{key}.norm2", f"{hub}.norm2", outputs)
    note.conv(f"{key}.conv2", f"{hub}.conv2", outputs, outputs)
    if inputs != outputs:
        note.conv(f"{key}.nin_shortcut", f"{hub}.conv_shortcut", inputs, outputs, 1)


def _attention(note: Inventory, key: str, hub: str, width: int) -> None:
    note.norm(f"{key}.norm", f"{hub}.group_norm", width)
    for ours, theirs, old in _ATTENTION:
        note.conv(f"{key}.{ours}", f"{hub}.{theirs}", width, width, 1, aliases=(f"{hub}.{old}",))


def _middle(
    note: Inventory, key: str, hub: str, width: int, *, attends: bool = True, embedding: int = 0
) -> None:
    _resnet(note, f"{key}.block_1", f"{hub}.resnets.0", width, width, embedding=embedding)
    if attends:
        _attention(note, f"{key}.attn_1", f"{hub}.attentions.0", width)
    _resnet(note, f"{key}.block_2", f"{hub}.resnets.1", width, width, embedding=embedding)


def _tiny_block(note: Inventory, key: str, hub: str, width: int) -> None:
    for layer in (0, 2, 4):
        note.conv(f"{key}.conv.{layer}", f"{hub}.conv.{layer}", width, width)
