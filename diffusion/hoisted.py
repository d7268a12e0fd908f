"""What is constant over a job's steps, computed once: keys and values of its texts, projections of
its timesteps.

Promises: exact, since each is computed by itself at one shape, and found again by the very bits it
was made from, whichever job they belong to; bounded, the least recently used goes first. Safe from
several threads.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Final

import torch
from torch import Tensor

# Of one model: 3.8 MB a text for Stable Diffusion 1.5, 25.6 for XL, in half precision.
MAX_BYTES: Final = 512 << 20
# Companies of texts whose stacked keys and values are kept: it changes when a job joins or leaves.
_STACKS: Final = 4

Rows = tuple[Tensor, ...]


class Hoisted:
    """The memory of one model."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._rows: OrderedDict[Hashable, Rows] = OrderedDict()
        self._stacks: OrderedDict[Hashable, tuple[Sequence[Rows], list[Tensor]]] = OrderedDict()
        self._lock = threading.Lock()

    def rows(self, key: Hashable, compute: Callable[[], Rows]) -> Rows:
        """Return what belongs to a key, computing it when it is not there."""
        with self._lock:
            found = self._rows.get(key)
            if found is not None:
                self._rows.move_to_end(key)
                return found
        made = compute()
        with self._lock:
            if key not in self._rows:
                self._rows[key] = made
                self.bytes += _size(made)
            while self.bytes > self.max_bytes and len(self._rows) > 1:
                self.bytes -= _size(self._rows.popitem(last=False)[1])
        return made

    def clear(self) -> None:
        """Forget everything: the model's weights leave the device, and others want its memory."""
        with self._lock:
            self._rows.clear()
            self._stacks.clear()
            self.bytes = 0

    def stacked(self, rows: Sequence[Rows]) -> list[Tensor]:
        """Return the rows' tensors stacked, place by place; the same company finds its stack."""
        # Objects, not numbers: what is kept here keeps them alive, so no address is used twice.
        key = tuple(id(row) for row in rows)
        with self._lock:
            found = self._stacks.get(key)
            if found is not None:
                self._stacks.move_to_end(key)
                return found[1]
        made = [torch.stack(parts) for parts in zip(*rows, strict=True)]
        with self._lock:
            self._stacks[key] = list(rows), made
            while len(self._stacks) > _STACKS:
                self._stacks.popitem(last=False)
        return made


def _size(rows: Rows) -> int:
    return sum(row.nbytes for row in rows)
