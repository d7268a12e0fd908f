"""Are all of these numbers finite? Asked of every weight, at the speed of memory.

Promises: exact (no number that is not finite passes, none that is finite is refused), without a
temporary of the size of the weights, and in few calls: where the interpreter is busy building the
next network, every call waits for it.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor

# Numbers that are looked at together: healthy weights so few do not sum up to infinity.
_BLOCK: Final = 1 << 16
# Blocks that are summed in one call; they are gathered for it.
_BLOCKS_AT_ONCE: Final = 64
_INTEGERS: Final = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def are_finite(flat: Tensor) -> bool:
    """Say whether all numbers of a flat tensor of real floating-point numbers are finite.

    A sum keeps what is not finite; only where it leaves the range by itself are the extremes looked
    at. On the CPU, most blocks are not even added up: see `_may_be_infinite`.
    """
    count = len(flat) // _BLOCK
    blocks = flat[: count * _BLOCK].view(count, _BLOCK)
    rest = flat[count * _BLOCK :]
    if flat.device.type == "cpu":
        suspects = torch.from_numpy(np.flatnonzero(_may_be_infinite(blocks)))
        groups = (blocks[chosen] for chosen in torch.split(suspects, _BLOCKS_AT_ONCE))
        return all(_rows_are_finite(group) for group in groups) and _rows_are_finite(rest[None])
    return _rows_are_finite(blocks) and _rows_are_finite(rest[None])


def _may_be_infinite(blocks: Tensor) -> np.ndarray:
    """Return which rows hold a number of magnitude two or more.

    In every binary format of IEEE 754's kind (bfloat16 too), the highest bit of the exponent is set
    in those and in nothing else, infinity and not-a-number among them. So all numbers of a row are
    joined by "or", eight bytes at a time, and that one bit is asked for: one core does this nearly
    as fast as it reads memory, and adds up half-precision numbers at half that speed.
    """
    width = blocks.itemsize
    # NumPy has no bfloat16, and does not mind numbers that start between two multiples of eight.
    patterns = blocks.view(_INTEGERS[width]).numpy()
    joined = np.bitwise_or.reduce(patterns.view(np.int64), axis=1, keepdims=True)
    highest = patterns.dtype.type(1 << (8 * width - 2))
    found: np.ndarray = (joined.view(patterns.dtype) & highest).any(axis=1)
    return found


def _rows_are_finite(rows: Tensor) -> bool:
    if bool(rows.sum(dim=1).isfinite().all()):
        return True
    # Not-a-number wins both.
    return all(bool(extreme.isfinite()) for extreme in rows.aminmax())
