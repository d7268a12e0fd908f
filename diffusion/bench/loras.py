"""Small random LoRAs for a U-Net's attention, written as kohya's scripts write theirs.

Promises: the files are LoRAs like any other; they go through the engine's own reader.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diffusion.addon_files import enumerate_files
from diffusion.model import Model

RANK: Final = 8
# The projections of attention, which most published LoRAs change.
_LAYERS: Final = ("to_q", "to_k", "to_v", "to_out.0")


def with_loras(
    model: Model, folder: Path, count: int, *, rank: int = RANK
) -> tuple[Model, list[str]]:
    """Write `count` LoRAs into a folder; return the model that has them beside it, and their names.

    Every one changes each attention projection of the U-Net by two random factors of that rank.
    """
    names = [f"style{number}" for number in range(count)]
    for seed, name in enumerate(names):
        save_file(_factors(model.backbone, seed, rank), folder / f"{name}.safetensors")
    addons = replace(model.addons, loras=enumerate_files(folder))
    return replace(model, addons=addons), names


def _factors(network: nn.Module, seed: int, rank: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear) or not name.endswith(_LAYERS):
            continue
        flat = f"lora_unet_{name.replace('.', '_')}"
        down = torch.randn(rank, module.in_features, generator=generator)
        up = torch.randn(module.out_features, rank, generator=generator)
        found[f"{flat}.lora_down.weight"] = down * module.in_features**-0.5
        found[f"{flat}.lora_up.weight"] = up * 0.1 * rank**-0.5
        found[f"{flat}.alpha"] = torch.tensor(float(rank))
    return found
