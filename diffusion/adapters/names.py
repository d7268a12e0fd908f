"""Every name that LoRA files use for a layer of ours.

Underscore names are ambiguous when parsed, so they never are: the map goes from our own module
names to every spelling. Promises that one spelling means one layer. Never looks at a weight.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from torch import nn

from diffusion.networks.unet import UNet

_RESNET: Final[Mapping[str, str]] = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "time_embed.0": ("time_embedding.linear_1",),
    "time_embed.2": ("time_embedding.linear_2",),
    "time_embed.cond_proj": ("time_embedding.cond_proj",),
    "label_emb.0.0": ("add_embedding.linear_1", "class_embedding.linear_1"),
    "label_emb.0.2": ("add_embedding.linear_2", "class_embedding.linear_2"),
    "input_blocks.0.0": ("conv_in",),
    "out.0": ("conv_norm_out",),
    "out.2": ("conv_out",),
}
_OLD_TEXT: Final[Mapping[str, str]] = {
    "q_proj": "to_q",
    "k_proj": "to_k",
    "v_proj": "to_v",
    "out_proj": "to_out",
}
_CLIPS: Final = ("clip_l", "clip_g")
LAYERS: Final = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)


def unet_names(unet: UNet) -> dict[str, str]:
    """Return spelling -> our module name for every layer of a U-Net that a file may change."""
    spellings: dict[str, str] = {}
    for name, layer in unet.named_modules():
        if isinstance(layer, LAYERS):
            for spelling in _unet_spellings(unet, name):
                spellings[spelling] = name
    return spellings


def text_names(model: nn.Module, index: int) -> dict[str, str]:
    """Return spelling -> module name for the text transformer number `index` (0 or 1) of a model.

    The model is transformers' own, with or without its `text_model.` prefix.
    """
    spellings: dict[str, str] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, LAYERS):
            for spelling in _text_spellings(name, index):
                spellings[spelling] = name
    return spellings


def _unet_spellings(unet: UNet, name: str) -> Iterator[str]:
    yield f"lora_unet_{_flat(name)}"
    yield f"diffusion_model.{name}"
    for other in diffusers_names(unet, name):
        yield f"lora_unet_{_flat(other)}"
        yield f"lycoris_{_flat(other)}"
        for prefix in ("", "unet.", "base_model.model."):
            yield prefix + other
        block, _, last = other.removesuffix(".0").rpartition(".")
        if last in ("to_q", "to_k", "to_v", "to_out"):
            for prefix in ("", "unet."):
                yield f"{prefix}{block}.processor.{last}"


def _text_spellings(name: str, index: int) -> Iterator[str]:
    short = name.removeprefix("text_model.")
    long = short if short.startswith("text_projection") else f"text_model.{short}"
    number = f"_{index + 1}" if index else ""
    heads = (f"lora_te{index + 1}_",) if index else ("lora_te_", "lora_te1_")
    for head in heads:
        yield head + _flat(long)
    for path in dict.fromkeys((long, short)):
        yield f"text_encoder{number}.{path}"
        if index == 0:
            yield f"base_model.model.{path}"
        parent, _, last = path.rpartition(".")
        if last in _OLD_TEXT:
            yield f"text_encoder{number}.{parent}.{_OLD_TEXT[last]}"
    yield f"text_encoders.{_CLIPS[index]}.transformer.{long}"


def diffusers_names(unet: UNet, name: str) -> tuple[str, ...]:
    """Return what diffusers calls a module of ours: usually one name, none where it has none."""
    if name in _ENDS:
        return _ENDS[name]
    part, _, rest = name.partition(".")
    if part == "middle_block":
        return _middle(unet, rest)
    if part not in ("input_blocks", "output_blocks"):
        return ()
    number, layer, inner = rest.split(".", 2)
    per_level = unet.config.num_res_blocks + 1
    down = part == "input_blocks"
    level, place = divmod(int(number) - down, per_level)
    block = f"{'down' if down else 'up'}_blocks.{level}"
    if inner in ("op", "conv"):
        return (f"{block}.{'downsamplers' if down else 'upsamplers'}.0.conv",)
    if inner in _RESNET:
        return (f"{block}.resnets.{place}.{_RESNET[inner]}",) if layer == "0" else ()
    return (f"{block}.attentions.{place}.{inner}",)


def _middle(unet: UNet, rest: str) -> tuple[str, ...]:
    layer, inner = rest.split(".", 1)
    if inner in _RESNET:
        return (f"mid_block.resnets.{0 if layer == '0' else 1}.{_RESNET[inner]}",)
    return (f"mid_block.attentions.0.{inner}",)


def _flat(name: str) -> str:
    return name.replace(".", "_")
