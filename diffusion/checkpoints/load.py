"""Weights into networks: every tensor of a description into its place.

Promises: strict (every tensor of the network is placed, every source used), and what `reading`
promises of the weights themselves.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from diffusion.checkpoints.parts import Part
from diffusion.checkpoints.placing import some
from diffusion.checkpoints.reading import Reading
from diffusion.errors import CheckpointError

# Prefixes that transformers' modules have in some versions and classes.
_INNER: Final = ("", "text_model.", "vision_model.")
_POSITIONS: Final = "position_ids"


def load_part(
    part: Part,
    network: nn.Module,
    device: torch.device | str,
    dtype: torch.dtype,
    reading: Reading | None = None,
) -> None:
    """Fill a network that was built on the meta device with a part's weights, in `dtype` on
    `device`. Afterwards it is in evaluation mode and wants no gradients. `reading` goes on when
    this returns; without it, this waits.

    Raises CheckpointError when network and part do not match in every name and shape, when a file
    has become shorter, and when a number is not finite in `dtype`.
    """
    if reading is None:
        with Reading() as own:
            load_part(part, network, device, dtype, own)
        return
    names = _names(part, _tensors(network))
    target = torch.device(device)
    found = reading.read_all(part, target, dtype)
    tensors = {names[key]: tensor for key, tensor in found.items()}
    network.load_state_dict(tensors, strict=False, assign=True)
    _restore_positions(network, target)
    network.eval().requires_grad_(False)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return what `state_dict` would, without the detached copy that it makes of each."""
    return {
        f"{prefix}.{name}" if prefix else name: tensor
        for prefix, module in network.named_modules(remove_duplicate=False)
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
        if tensor is not None and name not in module._non_persistent_buffers_set
    }


def _names(part: Part, expected: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the network's name of every tensor of the part; both must have the same ones."""
    names = {}
    unknown, wrong = [], []
    for key, source in part.sources.items():
        name = next((inner + key for inner in _INNER if inner + key in expected), None)
        if name is None:
            unknown.append(key)
        elif tuple(expected[name].shape) != source.shape:
            wrong.append(key)
        else:
            names[key] = name
    used = set(names.values())
    missing = [n for n in expected if n not in used and not n.endswith(_POSITIONS)]
    if missing or unknown or wrong:
        raise CheckpointError(
            f"the {part.name} does not fit its network: missing {some(missing) or 'nothing'}; "
            f"unknown {some(unknown) or 'nothing'}; wrong shape {some(wrong) or 'nothing'}."
        )
    return names


def _restore_positions(network: nn.Module, device: torch.device) -> None:
    """Count the positions anew: merged files carry damaged ones, and meta networks none."""
    for module in network.modules():
        stored: Any = module._buffers.get(_POSITIONS)
        if stored is not None:
            positions = torch.arange(stored.shape[-1], device=device).expand(stored.shape)
            module.register_buffer(_POSITIONS, positions.clone(), persistent=False)
