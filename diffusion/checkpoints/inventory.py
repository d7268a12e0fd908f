"""Inventories: every tensor of a network by its name with us, its names in hub folders, its shape.

Promises: an inventory follows from a network's sizes alone, so that a checkpoint can be checked to
the last tensor while no network exists. Never imports torch.

## Why
The networks carry the names of the original single files, so for those the map is the identity. Hub
folders have other names for the same tensors. Parsing either into the other is ambiguous; walking
through the network once and writing both names side by side is not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from diffusion.checkpoints.header import TensorInfo
from diffusion.errors import CheckpointError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of a network.

    hub: its name in hub folders, then older spellings. heads: above 0 where hub folders keep three
    tensors (queries, keys, values; `hub` names them in turn) that this one joins head by head.
    """

    shape: tuple[int, ...]
    hub: tuple[str, ...]
    heads: int = 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """The entries of one network by our names, in the order of its layers."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def tensor(self, key: str, hub: str, *shape: int, aliases: tuple[str, ...] = ()) -> None:
        """Note one tensor."""
        self.entries[key] = Entry(shape=shape, hub=(hub, *aliases))

    def norm(self, key: str, hub: str, width: int, *, aliases: tuple[str, ...] = ()) -> None:
        """Note the weight and bias of a normalisation."""
        for name in ("weight", "bias"):
            self.tensor(
                f"{key}.{name}",
                f"{hub}.{name}",
                width,
                aliases=tuple(f"{a}.{name}" for a in aliases),
            )

    def linear(
        self,
        key: str,
        hub: str,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        kernel: tuple[int, ...] = (),
        aliases: tuple[str, ...] = (),
    ) -> None:
        """Note a linear layer, or a convolution with a `kernel`."""
        weights = tuple(f"{alias}.weight" for alias in aliases)
        self.tensor(f"{key}.weight", f"{hub}.weight", outputs, inputs, *kernel, aliases=weights)
        if bias:
            biases = tuple(f"{alias}.bias" for alias in aliases)
            self.tensor(f"{key}.bias", f"{hub}.bias", outputs, aliases=biases)

    def conv(
        self,
        key: str,
        hub: str,
        inputs: int,
        outputs: int,
        size: int = 3,
        *,
        bias: bool = True,
        aliases: tuple[str, ...] = (),
    ) -> None:
        """Note a convolution with a square kernel."""
        self.linear(key, hub, inputs, outputs, bias=bias, kernel=(size, size), aliases=aliases)

    @property
    def numbers(self) -> int:
        """How many numbers the network has."""
        return sum(math.prod(entry.shape) for entry in self.entries.values())


def same_shape(wanted: tuple[int, ...], found: tuple[int, ...]) -> bool:
    """Say whether two shapes differ at most by trailing dimensions of size 1."""
    return _squeezed(wanted) == _squeezed(found)


def check_room(inventory: Inventory, tensors: Mapping[str, TensorInfo], where: str) -> None:
    """Refuse sizes that demand more numbers than the files can hold."""
    held = sum(math.prod(info.shape) for info in tensors.values())
    if inventory.numbers > held:
        raise CheckpointError(
            f"{where}: a network of these sizes has {inventory.numbers} numbers, "
            f"the file holds {held}. The configuration or the file belongs to another model."
        )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
