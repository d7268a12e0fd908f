"""What a single file is, by the names of its tensors.

Promises: never looks at the name of the file; total for any set of names (what is not known is
None). Never imports torch.
"""

import re
from collections.abc import Mapping
from typing import Final

from diffusion.checkpoints.header import TensorInfo
from diffusion.checkpoints.parts import Kind

UNET_PREFIXES: Final = ("model.diffusion_model.", "")
VAE_PREFIXES: Final = ("first_stage_model.", "vae.", "")
CONTROL_PREFIXES: Final = ("control_model.", "")
EMA_PREFIX: Final = "model_ema.diffusion_model"

_LORA: Final = re.compile(
    r"(\.|_)(lora_(down|up|mid|A|B)(\.\w+)*\.weight|lora_linear_layer\.(down|up)\.weight"
    r"|hada_w[12]_[ab]|lokr_w[12](_[ab])?|dora_scale|diff|diff_b|w_norm|b_norm)$"
    r"|\.lora\.(down|up)\.weight$|_lora\.(down|up)\.weight$|\.on_input$|\.oft_blocks$"
)
# Contexts by width; the widths of the text encoders of each family.
_CONTEXTS: Final = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl_refiner"}
_EMBEDDING_WIDTHS: Final = {768: "sd1", 1024: "sd2", 1280: "sdxl_refiner"}
_CROSS: Final = re.compile(r"attn2[._](processor\.)?to_[kv]")


def find_prefix(
    tensors: Mapping[str, TensorInfo], key: str, prefixes: tuple[str, ...]
) -> str | None:
    """Return the first prefix under which `key` stands in the file."""
    return next((prefix for prefix in prefixes if prefix + key in tensors), None)


def kind_of(tensors: Mapping[str, TensorInfo]) -> Kind | None:
    """Return what the tensors are, or None."""
    if any(_LORA.search(key) for key in tensors):
        return "lora"
    if find_prefix(tensors, "zero_convs.0.0.weight", CONTROL_PREFIXES) is not None or (
        "controlnet_cond_embedding.conv_in.weight" in tensors
    ):
        return "controlnet"
    if find_prefix(tensors, "input_blocks.0.0.weight", UNET_PREFIXES[:1]) is not None or any(
        key.startswith(EMA_PREFIX) for key in tensors
    ):
        return "model"
    # Ho et al.'s network works on pixels: it is all there is.
    if "temb.dense.0.weight" in tensors:
        return "model"
    if "input_blocks.0.0.weight" in tensors or "down_blocks.0.resnets.0.conv1.weight" in tensors:
        return "unet"
    return _small_kind(tensors)


def lora_family(tensors: Mapping[str, TensorInfo]) -> str | None:
    """Return the family whose cross-attention a LoRA changes, or None where it tells nothing."""
    widths = {
        info.shape[1]
        for key, info in tensors.items()
        if _CROSS.search(key)
        and re.search(r"down\.weight$|lora_A(\.\w+)*\.weight$|hada_w1_b$|lokr_w2_b$", key)
        and len(info.shape) > 1
    }
    family = next((_CONTEXTS[width] for width in sorted(widths) if width in _CONTEXTS), None)
    if family is None and any(key.startswith(("lora_te2_", "text_encoder_2.")) for key in tensors):
        return "sdxl"
    return family


def embedding_family(tensors: Mapping[str, TensorInfo]) -> str | None:
    """Return the family of a textual inversion, by its encoders or the width of its vectors."""
    if {"clip_l", "clip_g"} <= tensors.keys():
        return "sdxl"
    widths = {info.shape[-1] for info in tensors.values() if info.shape}
    return _EMBEDDING_WIDTHS.get(widths.pop()) if len(widths) == 1 else None


def _small_kind(tensors: Mapping[str, TensorInfo]) -> Kind | None:
    if _is_tiny(tensors):
        return "taesd"
    if find_prefix(tensors, "decoder.conv_in.weight", VAE_PREFIXES) is not None:
        return "vae"
    if _is_upscaler(tensors):
        return "upscaler"
    if any(key.endswith("embeddings.token_embedding.weight") for key in tensors):
        return "text"
    if _is_embedding(tensors):
        return "embedding"
    return None


def _is_tiny(tensors: Mapping[str, TensorInfo]) -> bool:
    return bool(
        {"decoder.layers.0.weight", "encoder.layers.0.weight"} & tensors.keys()
        or {"1.weight", "3.conv.0.weight"} <= tensors.keys()
        or {"0.weight", "1.conv.0.weight"} <= tensors.keys()
    )


def _is_upscaler(tensors: Mapping[str, TensorInfo]) -> bool:
    for prefix in ("", "params.", "params_ema.", "module."):
        names = {key[len(prefix) :] for key in tensors if key.startswith(prefix)}
        if "conv_first.weight" in names or "model.1.sub.0.RDB1.conv1.0.weight" in names:
            return True
        # The compact networks of Real-ESRGAN: convolutions and activations in a row.
        if {"body.0.weight", "body.1.weight", "body.2.weight"} <= names:
            return True
    return False


def _is_embedding(tensors: Mapping[str, TensorInfo]) -> bool:
    if {"emb_params", "clip_l", "clip_g"} & tensors.keys():
        return True
    few = 0 < len(tensors) <= 2
    return few and all(
        len(info.shape) in (1, 2) and info.shape[-1] in _EMBEDDING_WIDTHS
        for info in tensors.values()
    )
