"""LoRA files: what one holds, and which layers of which network it changes.

Promises: only safetensors, whose head is checked before anything is read; factors are complete,
finite and of the shape of the layer they change; every key that found no layer is reported. A file
for another family is refused by name. Never guesses a layer by parsing a name.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from diffusion.adapters.alphas import alpha_for, metadata_alpha
from diffusion.adapters.formulas import decomposed, delta, weight_kind
from diffusion.adapters.keys import cut, lora_fits
from diffusion.adapters.names import text_names, unet_names
from diffusion.adapters.patches import Bias, Full, LowRank, Norm, Patch, PatchSet
from diffusion.checkpoints.header import Header, read_header
from diffusion.errors import CheckpointError
from diffusion.networks.unet import UNet

MAX_RANK: Final = 4096
_RANKED: Final = ("down", "hada_w1_b", "hada_w2_b", "lokr_w1_b", "lokr_w2_b")
_NORM_PARTS: Final = ("w_norm", "b_norm")
_FLOATS: Final = ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraLayer:
    """What a file says about one layer: tensors and their keys by part, and the alpha."""

    parts: Mapping[str, Tensor]
    keys: Mapping[str, str]
    alpha: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFile:
    """A LoRA file in memory. `layers` by the file's own names; `unknown` keys belong to no layer.

    `family` is that of `lora_fits`.
    """

    path: Path
    family: str
    layers: Mapping[str, LoraLayer]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """A file's patches for the U-Net and for every text transformer, and the keys left over."""

    unet: PatchSet
    texts: tuple[PatchSet, ...]
    unmatched: tuple[str, ...]


def load_lora(path: Path) -> LoraFile:
    """Read a LoRA, LoCon, LoHa, LoKr or DoRA file; CheckpointError for everything else."""
    header = read_header(path)
    cuts = {key: cut(key) for key in header.tensors}
    for key, found in cuts.items():
        if found is not None:
            _check_head(header, key, found[1])
    if not any(found is not None and found[1] != "alpha" for found in cuts.values()):
        raise CheckpointError(
            f"{path} is no LoRA: none of its {len(cuts)} tensors has a name that one would have. "
            "Put checkpoints under [models], and LoRA files alone where LoRAs belong."
        )
    layers: dict[str, dict[str, str]] = {}
    for key, found in cuts.items():
        if found is not None:
            name, part = found
            if part in layers.setdefault(name, {}):
                raise CheckpointError(f"{path} has two tensors for {name} as {part}: {key}")
            layers[name][part] = key
    return LoraFile(
        path=path,
        family=lora_fits({key: info.shape for key, info in header.tensors.items()}),
        layers=_read(header, layers),
        unknown=tuple(key for key, found in cuts.items() if found is None),
    )


def match(lora: LoraFile, unet: UNet, texts: Sequence[nn.Module] = ()) -> Matched:
    """Bind a file to a U-Net and the text transformers beside it (none, one or two, in order).

    The patches are in the precision and on the device that the networks have now. Raises
    CheckpointError when nothing fits, or when a layer of that name has another shape.
    """
    networks: list[nn.Module] = [unet, *texts]
    names = [unet_names(unet), *(text_names(text, index) for index, text in enumerate(texts))]
    found: list[dict[nn.Module, tuple[Patch, ...]]] = [{} for _ in networks]
    unmatched = list(lora.unknown)
    for spelling, stored in lora.layers.items():
        places = [(i, table[spelling]) for i, table in enumerate(names) if spelling in table]
        if not places:
            unmatched += stored.keys.values()
            continue
        index, name = places[0]
        layer = networks[index].get_submodule(name)
        if layer in found[index]:
            raise CheckpointError(f"{lora.path} changes the layer {name} under two names")
        try:
            patches, unused = _patches(layer, stored)
        except CheckpointError as error:
            raise CheckpointError(f"{lora.path}: {spelling}: {error}{_advice(lora)}") from error
        if patches:
            found[index][layer] = patches
        unmatched += unused
    if not any(found):
        raise CheckpointError(
            f"{lora.path} changes no layer of this model: none of its {len(lora.layers)} layers "
            f"(the first is {next(iter(lora.layers))!r:.100}) is in it.{_advice(lora)}"
        )
    sets = [
        PatchSet(network=network, layers=layers)
        for network, layers in zip(networks, found, strict=True)
    ]
    return Matched(unet=sets[0], texts=tuple(sets[1:]), unmatched=tuple(unmatched))


def _patches(layer: nn.Module, stored: LoraLayer) -> tuple[tuple[Patch, ...], tuple[str, ...]]:
    """Return the patches of a layer, and the keys that mean nothing for it."""
    if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
        return _norm_patches(layer, stored)
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        raise CheckpointError(f"a {type(layer).__name__} cannot be changed")
    parts = stored.parts
    kind = weight_kind(parts)
    patches: list[Patch] = []
    if kind is not None:
        _check_shapes(layer, kind, parts)
        plain = kind == "lora" and not {"dora_scale", "magnitude"} & parts.keys()
        patches.append(
            LowRank(layer, parts, stored.alpha) if plain else Full(layer, kind, parts, stored.alpha)
        )
    if "diff_b" in parts:
        if parts["diff_b"].shape != layer.weight.shape[:1]:
            raise _misfit(layer, tuple(parts["diff_b"].shape))
        patches.append(Bias(layer, parts["diff_b"]))
    if not patches:
        return (), tuple(stored.keys.values())
    return tuple(patches), tuple(stored.keys[part] for part in _NORM_PARTS if part in parts)


def _norm_patches(
    layer: nn.GroupNorm | nn.LayerNorm, stored: LoraLayer
) -> tuple[tuple[Patch, ...], tuple[str, ...]]:
    used = {"w_norm" if "w_norm" in stored.parts else "diff"}
    used.add("b_norm" if "b_norm" in stored.parts else "diff_b")
    changes = {part: stored.parts[part] for part in sorted(used & stored.parts.keys())}
    for change in changes.values():
        if change.shape != layer.weight.shape:
            raise _misfit(layer, tuple(change.shape))
    if not changes:
        return (), tuple(stored.keys.values())
    weight = changes.get("w_norm", changes.get("diff"))
    bias = changes.get("b_norm", changes.get("diff_b"))
    unused = tuple(key for part, key in stored.keys.items() if part not in changes)
    return (Norm(layer, weight, bias),), unused


def _check_shapes(layer: nn.Linear | nn.Conv2d, kind: str, parts: Mapping[str, Tensor]) -> None:
    """Compute the change on tensors without memory: its shape must be the weight's."""
    shape = layer.weight.shape
    meta = {name: part.to("meta") for name, part in parts.items()}
    try:
        change = delta(kind, meta, None)
        if change.shape[0] != shape[0] or change.flatten(1).shape[1] != math.prod(shape[1:]):
            raise _misfit(layer, tuple(change.shape))
        if kind == "lora":
            _check_factors(layer, parts)
        change = change.reshape(shape)
        for name in ("magnitude", "dora_scale"):
            if name in meta:
                rows = name == "magnitude" or meta[name].shape[:1] == shape[:1]
                decomposed(layer.weight.to("meta"), change, meta[name], "out" if rows else "in")
    except (RuntimeError, IndexError) as error:
        shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in parts.items())
        raise CheckpointError(
            f"its factors do not go together or with a layer of {tuple(shape)}: {shapes}"
        ) from error


def _check_factors(layer: nn.Linear | nn.Conv2d, parts: Mapping[str, Tensor]) -> None:
    """The outer factors of a low rank are points; the middle one has the layer's window."""
    window = tuple(layer.weight.shape[2:])
    points = ["up", "down"] if "mid" in parts else ["up"]
    if any(math.prod(parts[name].shape[2:]) != 1 for name in points):
        raise CheckpointError("the outer factors must be 1 x 1")
    if "mid" in parts and tuple(parts["mid"].shape[2:]) != window:
        raise _misfit(layer, tuple(parts["mid"].shape))


def _misfit(layer: nn.Module, shape: tuple[int, ...]) -> CheckpointError:
    weight = layer.weight
    return CheckpointError(
        f"it changes a weight of {shape}, and this model's has "
        f"{tuple(weight.shape) if isinstance(weight, Tensor) else None}"
    )


def _advice(lora: LoraFile) -> str:
    if lora.family == "unknown":
        return " It is for another family of models."
    return f" By its tensors it is for {lora.family} models: use it with one of those."


def _check_head(header: Header, key: str, part: str) -> None:
    info = header.tensors[key]
    count = math.prod(info.shape)
    if part == "alpha":
        if count != 1 or info.dtype == "BOOL":
            raise CheckpointError(f"{header.path}: {key} must be one number, not {info.shape}")
    elif info.dtype not in _FLOATS or not 1 <= len(info.shape) <= 4 or count == 0:
        raise CheckpointError(
            f"{header.path}: {key} is {info.dtype} of {info.shape}; floating-point factors of 1 to "
            "4 dimensions are read. Save the file again as float16."
        )
    elif part in _RANKED and info.shape[0] > MAX_RANK:
        raise CheckpointError(f"{header.path}: {key} has rank {info.shape[0]}, above {MAX_RANK}")


def _read(header: Header, names: Mapping[str, Mapping[str, str]]) -> dict[str, LoraLayer]:
    settings = metadata_alpha(header.metadata)
    layers: dict[str, LoraLayer] = {}
    try:
        with safe_open(header.path, framework="pt") as file:
            for name, keys in names.items():
                # Copies: the library's tensors are the file itself, mapped, and what is written
                # into it afterwards would be in them.
                tensors = {part: file.get_tensor(key).clone() for part, key in keys.items()}
                for part, tensor in tensors.items():
                    if not bool(torch.isfinite(tensor).all()):
                        raise CheckpointError(
                            f"{header.path}: {keys[part]} is not finite: the training of this file "
                            "went wrong. Use an earlier save of it."
                        )
                alpha = tensors.pop("alpha", None)
                rank = tensors["down"].shape[0] if "down" in tensors else 1
                layers[name] = LoraLayer(
                    parts=tensors,
                    keys=keys,
                    alpha=alpha_for(name, rank, settings) if alpha is None else float(alpha.item()),
                )
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{header.path} cannot be read: {error}") from error
    return layers
