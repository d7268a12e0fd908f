"""How LoRA files spell their tensors, and which family of models a file is for.

Promises: a key is cut into the name of a layer and the part that the tensor plays there, by its end
alone; the name is never parsed, since underscores stand for dots and for themselves. Never imports
torch, never reads a weight.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

# The ends of keys, by the part that the tensor plays. Factors of a low rank: ComfyUI and kohya,
# diffusers before peft (three spellings), peft with and without the adapter's name.
_ENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "down": (
        ".lora_down.weight",
        "_lora.down.weight",
        ".lora.down.weight",
        ".lora_linear_layer.down.weight",
        ".lora_A.weight",
        ".lora_A.default.weight",
        ".lora_A.default_0.weight",
    ),
    "up": (
        ".lora_up.weight",
        "_lora.up.weight",
        ".lora.up.weight",
        ".lora_linear_layer.up.weight",
        ".lora_B.weight",
        ".lora_B.default.weight",
        ".lora_B.default_0.weight",
    ),
    "mid": (".lora_mid.weight",),
    "alpha": (".alpha", "_lora.alpha"),
    "dora_scale": (".dora_scale",),
    "magnitude": (
        ".lora_magnitude_vector",
        ".lora_magnitude_vector.weight",
        ".lora_magnitude_vector.default.weight",
    ),
    "diff": (".diff",),
    "diff_b": (".diff_b",),
    "w_norm": (".w_norm",),
    "b_norm": (".b_norm",),
    **{
        part: (f".{part}",)
        for part in (
            *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
            *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
        )
    },
}
_PARTS: Final[Mapping[str, str]] = {end: part for part, ends in _ENDS.items() for end in ends}
# Longest first: ".x_lora.alpha" also ends in ".alpha".
_BY_LENGTH: Final = tuple(sorted(_PARTS, key=len, reverse=True))

_FAMILY_BY_CONTEXT: Final[Mapping[int, str]] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
_TEXT_TWO: Final = ("lora_te2_", "text_encoder_2.", "text_encoders.clip_g.")
_TEXT_ONE: Final = ("lora_te_", "lora_te1_", "text_encoder.", "text_encoders.clip_l.")
_DEEP: Final = tuple(f"_transformer_blocks_{depth}_" for depth in range(2, 10))
_UNET: Final = ("down_blocks", "up_blocks", "mid_block", "input_blocks", "output_blocks")


def cut(key: str) -> tuple[str, str] | None:
    """Return (name of the layer as the file spells it, part), or None for an unknown end."""
    for end in _BY_LENGTH:
        if key.endswith(end) and len(key) > len(end):
            return key.removesuffix(end), _PARTS[end]
    return None


def lora_fits(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the family that a file's tensors (key -> shape) fit: "sd1", "sd2", "sdxl", or
    "unknown" when neither names nor shapes tell.

    The width of the text that cross-attention reads decides; a file that leaves cross-attention
    alone is told by its text encoders and by blocks that only one family has.
    """
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        if found := cut(key):
            layers.setdefault(found[0], {})[found[1]] = shape
    widths = {
        width
        for name, parts in layers.items()
        if any(
            spelling in name for spelling in ("attn2_to_k", "attn2.to_k", "attn2.processor.to_k")
        )
        for width in _columns(parts)
    }
    for width, family in _FAMILY_BY_CONTEXT.items():
        if widths == {width}:
            return family
    if widths:
        return "unknown"
    return _by_names(layers)


def _by_names(layers: Mapping[str, Mapping[str, tuple[int, ...]]]) -> str:
    names = [name.replace(".", "_") for name in layers]
    if any(name.startswith(_TEXT_TWO) for name in layers):
        return "sdxl"
    # Deep transformers exist only there.
    if _any([name for name in names if _any([name], _UNET)], _DEEP):
        return "sdxl"
    texts = {
        width
        for name, parts in layers.items()
        if name.startswith(_TEXT_ONE) and "self_attn" in name
        for width in _columns(parts)
    }
    if texts == {1024}:
        return "sd2"
    if texts == {768} and any(name.startswith("lora_te_") for name in layers):
        return "sd1"
    projections = {
        len(shape)
        for name, parts in layers.items()
        if name.endswith(("proj_in", "proj_out")) and _any([name], _UNET)
        for part, shape in parts.items()
        if part in ("down", "diff")
    }
    # Attention at full size: sd1 and sd2 alone, and only sd1 has 1 x 1 convolutions there.
    if _any(names, ("down_blocks_0_attentions", "input_blocks_1_1_")) and projections:
        return "sd1" if projections == {4} else "sd2"
    return "unknown"


def _columns(parts: Mapping[str, tuple[int, ...]]) -> Iterator[int]:
    """Yield the input width of a layer, wherever its parts tell."""
    for part in ("down", "diff", "hada_w1_b"):
        shape = parts.get(part, ())
        if len(shape) >= 2:
            yield shape[1]
    left = parts.get("lokr_w1") or parts.get("lokr_w1_b") or ()
    right = parts.get("lokr_w2") or parts.get("lokr_w2_b") or ()
    if len(left) == len(right) == 2:
        yield left[1] * right[1]


def _any(names: Iterable[str], pieces: tuple[str, ...]) -> bool:
    return any(piece in name for name in names for piece in pieces)
