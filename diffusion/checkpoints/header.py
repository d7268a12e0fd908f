"""The head of a safetensors file: which tensors lie where.

Promises: nothing is believed. Lengths, names, dtypes, shapes and offsets are checked against the
size of the file before anything is allocated for them, and every refusal says what to do. Reads the
head only, never a weight; never imports torch, never runs what it reads.
"""

import json
import math
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from diffusion.errors import CheckpointError

MAX_HEADER_BYTES: Final = 25_000_000
MAX_TENSORS: Final = 100_000
MAX_DIMENSIONS: Final = 8
MAX_NUMBERS: Final = 100_000

DTYPE_BYTES: Final[Mapping[str, int]] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}
_PICKLE_SUFFIXES: Final = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_FORMATS: Final[Mapping[str, str]] = {"F16": "e", "F32": "f", "F64": "d", "I64": "q", "I32": "i"}
_AGAIN: Final = "Copy it again from where it came."
_PICKLE: Final = (
    "is a pickle, which can run any program when it is opened, so it is never opened here. "
    "Look for the .safetensors file of the same model, or convert it where nothing can be harmed."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """One tensor of a file: dtype as the file spells it, shape, and its first and last byte + 1 in
    the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a safetensors file says about itself; `size` is that of the file in bytes."""

    path: Path
    size: int
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read and check the head of a safetensors file; CheckpointError for everything unfit."""
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        raise CheckpointError(f"{path} {_PICKLE}")
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CheckpointError(f"{path} is no regular file.")
            return _read(file, path, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error


def read_numbers(path: Path, info: TensorInfo) -> tuple[float, ...]:
    """Return the values of a small tensor: at most 100,000 numbers, no bfloat16, no 8 bits."""
    letter = _FORMATS.get(info.dtype)
    count = math.prod(info.shape)
    if letter is None or count > MAX_NUMBERS:
        raise CheckpointError(f"{path}: {count} numbers as {info.dtype} cannot be read as a list.")
    try:
        with path.open("rb") as file:
            file.seek(info.start)
            data = file.read(info.end - info.start)
        return tuple(float(number) for number in struct.unpack(f"<{count}{letter}", data))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except struct.error as error:
        raise CheckpointError(f"{path} became shorter while it was read. {_AGAIN}") from error


def _read(file: BinaryIO, path: Path, size: int) -> Header:
    head = file.read(64)
    length = int.from_bytes(head[:8], "little")
    if size < 8 or length > size - 8 or length > MAX_HEADER_BYTES or head[8:9] != b"{":
        raise CheckpointError(f"{path} {_diagnosis(head, length, size)}")
    file.seek(8)
    text = file.read(length)
    fields = _parse(text, path)
    metadata = _metadata(fields.pop("__metadata__", {}), path)
    if len(fields) > MAX_TENSORS:
        raise CheckpointError(f"{path} names {len(fields)} tensors; the limit is {MAX_TENSORS}.")
    tensors = {name: _info(name, value, 8 + length, path) for name, value in fields.items()}
    _check_layout(tensors, 8 + length, size, path)
    return Header(path=path, size=size, tensors=tensors, metadata=metadata)


def _diagnosis(head: bytes, length: int, size: int) -> str:
    if size == 0:
        return f"is empty. {_AGAIN}"
    pickled = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    if head[:4] == b"PK\x03\x04" or pickled:
        return _PICKLE
    if head.startswith(b"version https://git-lfs"):
        return "is only the pointer to a large file: fetch the file itself with `git lfs pull`."
    if head[:4] == b"GGUF":
        return "is a GGUF file; only safetensors files are read. Fetch the model in that format."
    if head.lstrip()[:1] == b"<":
        return "is a web page, not a model: the download was refused. Download it again, signed in."
    if head[8:9] == b"{" and size - 8 < length <= MAX_HEADER_BYTES:
        return f"is cut off: its head alone has {length} bytes, the file has {size}. {_AGAIN}"
    if head[8:9] == b"{":
        return f"has a head of {length} bytes; the limit is {MAX_HEADER_BYTES}."
    return f"is no safetensors file. {_AGAIN}"


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise ValueError("a name stands there twice")
        return fields

    def constant(name: str) -> float:
        raise ValueError(f"{name} is no number of JSON")

    try:
        fields = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged head: {error}. {_AGAIN}") from error
    # The text starts with a brace, but a brace may also open what is no object at all.
    return dict(fields)


def _metadata(value: object, path: Path) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CheckpointError(f"{path} has metadata that is no table of texts. {_AGAIN}")
    return value


def _info(name: str, value: object, base: int, path: Path) -> TensorInfo:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise _refuse(path, name, "is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise _refuse(path, name, f"has the dtype {dtype!r:.40}, which is not known here")
    if not _whole(shape) or len(shape) > MAX_DIMENSIONS:
        raise _refuse(path, name, f"has the shape {shape!r:.80}")
    if not _whole(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _refuse(path, name, f"has the offsets {offsets!r:.80}")
    needed = math.prod(shape) * DTYPE_BYTES[dtype]
    if needed != offsets[1] - offsets[0]:
        raise _refuse(path, name, f"needs {needed} bytes and has {offsets[1] - offsets[0]}")
    return TensorInfo(
        dtype=dtype, shape=tuple(shape), start=base + offsets[0], end=base + offsets[1]
    )


def _check_layout(tensors: Mapping[str, TensorInfo], base: int, size: int, path: Path) -> None:
    """The format allows no hole, no overlap, and nothing behind the last tensor."""
    position = base
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.start != position:
            what = "overlaps another" if info.start < position else "leaves a hole before it"
            raise _refuse(path, name, what)
        position = info.end
    if position > size:
        raise CheckpointError(
            f"{path} is cut off: its tensors need {position} bytes, the file has {size}. {_AGAIN}"
        )
    if position < size:
        raise CheckpointError(f"{path} goes on for {size - position} bytes after its last tensor.")


def _whole(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _refuse(path: Path, name: str, what: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: the tensor {name!r:.120} {what}. {_AGAIN}")
