"""LoRA and its relatives: small files that change a network while they are asked to.

`keys` knows how files spell their tensors, `names` how they spell our layers; `lora` reads a file
and matches it to networks, `patches` applies the match for the length of a `with` block, `batched`
multiplies what many rows want at once. Nothing here ever changes a parameter. `lora_fits` needs no
torch, and importing the package does not load it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from diffusion.adapters.keys import lora_fits

if TYPE_CHECKING:
    from diffusion.adapters.batched import stacks_of
    from diffusion.adapters.lora import LoraFile, Matched, load_lora, match
    from diffusion.adapters.patches import PatchSet, patched, patched_rows

__all__ = [
    "LoraFile",
    "Matched",
    "PatchSet",
    "load_lora",
    "lora_fits",
    "match",
    "patched",
    "patched_rows",
    "stacks_of",
]


def __getattr__(name: str) -> object:
    """Load what needs torch when it is first asked for."""
    match name:
        case "LoraFile" | "Matched" | "load_lora" | "match":
            module = "diffusion.adapters.lora"
        case "PatchSet" | "patched" | "patched_rows":
            module = "diffusion.adapters.patches"
        case "stacks_of":
            module = "diffusion.adapters.batched"
        case _:
            raise AttributeError(f"module 'diffusion.adapters' has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    return value
