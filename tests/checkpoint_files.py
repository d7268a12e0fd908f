"""Writers of safetensors files for tests: whole ones, and sparse ones as large as they claim."""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1}


def head(table: Mapping[str, object]) -> bytes:
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def describe(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> tuple[dict[str, object], int]:
    """Return the table of a header, and how many bytes follow it."""
    table: dict[str, object] = {}
    position = 0
    for key, (dtype, shape) in tensors.items():
        end = position + math.prod(shape) * WIDTHS[dtype]
        table[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    return table, position


def sparse(
    path: Path,
    tensors: Mapping[str, tuple[str, Sequence[int]]],
    values: Mapping[str, Sequence[float]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a file of full size that takes no room; `values` fills single float32 tensors."""
    table, length = describe(tensors)
    front = head({"__metadata__": dict(metadata), **table} if metadata else table)
    with path.open("wb") as file:
        file.write(front)
        file.truncate(len(front) + length)
        for key, numbers in (values or {}).items():
            start = table[key]["data_offsets"][0]  # type: ignore[index]
            file.seek(len(front) + start)
            file.write(struct.pack(f"<{len(numbers)}f", *numbers))
    return path


def scaled(start: float, end: float, count: int = 1000) -> list[float]:
    """Return betas that are linear in their square roots."""
    low, high = math.sqrt(start), math.sqrt(end)
    return [(low + (high - low) * i / (count - 1)) ** 2 for i in range(count)]
