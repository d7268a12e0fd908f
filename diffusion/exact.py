"""Which batch sizes give the same bits: certificates, earned by running.

A row's bits do not depend on its place or its neighbours, but kernels are chosen by the size of a
batch, and two kernels add up in two orders. Promises, in strict mode: whatever company a row has,
its bits are those that it has in a batch of `base` rows. A size that was never tried is tried on
the first rows that want it, beside batches of `base`; it is used from then on if every bit agrees,
and never again if one does not. Kernels are chosen by shapes, not by numbers, so one trial tells.
The same is done, product by product, for what LoRAs add to some of the rows (`adapters.batched`):
that depends on how many rows have one, and would make kinds of rows without number.

## Why the base is two
With one row, linear layers become products of a matrix and a vector, and take another path than
with any other number of rows. On processors measured so far two to sixteen rows agree.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

BASE: Final = 2
Deterministic: TypeAlias = Literal["strict", "fast"]
# Maps numbers of rows, of those that are asked for, to the network's outputs for them.
Forward: TypeAlias = Callable[[list[int]], Tensor]


@dataclass(slots=True)
class Certificates:
    """What was found out about batch sizes, for each kind of rows.

    `agreeing` and `refused` hold the sizes tried besides the base.
    """

    base: int = BASE
    agreeing: dict[Hashable, set[int]] = field(default_factory=dict)
    refused: dict[Hashable, set[int]] = field(default_factory=dict)

    def sizes(self, kind: Hashable) -> list[int]:
        """Return the sizes known to agree, the largest first."""
        return sorted({self.base, *self.agreeing.get(kind, ())}, reverse=True)

    def is_known(self, kind: Hashable, size: int) -> bool:
        """Whether a size was tried."""
        tried = self.agreeing.get(kind, set()) | self.refused.get(kind, set())
        return size == self.base or size in tried

    def note(self, kind: Hashable, size: int, *, agrees: bool) -> None:
        """Remember the outcome of a trial."""
        (self.agreeing if agrees else self.refused).setdefault(kind, set()).add(size)


def run_exactly(
    forward: Forward, rows: int, kind: Hashable, certificates: Certificates
) -> tuple[Tensor, bool]:
    """Return the outputs of `rows` rows, each with the bits that it has in a batch of the base, and
    whether that was a trial.

    `forward` takes numbers of rows and returns the network's outputs for them, stacked.
    """
    if rows <= certificates.base or certificates.is_known(kind, rows):
        return _in_parts(forward, rows, kind, certificates), False
    whole = forward(list(range(rows)))
    parts = _in_parts(forward, rows, kind, certificates)
    agrees = same_bits(whole, parts)
    certificates.note(kind, rows, agrees=agrees)
    return parts, True


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal bit for bit, numbers that are none included."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[first.element_size()]
    return torch.equal(first.contiguous().view(width), second.contiguous().view(width))


def _in_parts(forward: Forward, rows: int, kind: Hashable, certificates: Certificates) -> Tensor:
    outputs = []
    for start, size in _parts(rows, certificates.sizes(kind)):
        numbers = list(range(start, min(start + size, rows)))
        # Too few for the smallest size: the last row keeps itself company.
        padded = numbers + numbers[-1:] * (size - len(numbers))
        outputs.append(forward(padded)[: len(numbers)])
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _parts(rows: int, sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, size) of the fewest batches; only the last may be larger than what is left."""
    start = 0
    while start < rows:
        left = rows - start
        size = next((size for size in sizes if size <= left), sizes[-1])
        yield start, size
        start += size
