"""Weights into networks: from the places that a description names, tensor by tensor.

Promises: strict (every tensor of the network is placed, every source used), finite, and frugal: on
the CPU, weights that are stored as they are wanted stay in the file, mapped privately; others are
read through a small buffer where they are cast. So the peak is the weights themselves. Never writes
to a file, never opens a pickle.

## Why files are mapped
Reading 4 GB into fresh memory took 4 to 8 seconds where mapping and checking them took half of one,
and mapped pages can be dropped and read again when memory is short. The price: a model's file must
be replaced by renaming, as `easel models pull` and every hub client do, never rewritten in place
while the model is in use.
"""

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from diffusion.checkpoints.parts import Part, Piece, Source
from diffusion.checkpoints.placing import some
from diffusion.errors import CheckpointError

_DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_CHUNK_BYTES: Final = 4 << 20
# Numbers whose sum is looked at; of more, the sum of healthy weights could leave half precision.
_SUMMED: Final = 1 << 24
# Prefixes that transformers' modules have in some versions and classes.
_INNER: Final = ("", "text_model.", "vision_model.")
_POSITIONS: Final = "position_ids"


class Reading:
    """Open files, and a thread that reads and checks what the caller does not wait for.

    Casting weights, and looking through mapped ones for numbers that are not finite, takes half of
    the time of loading and needs no interpreter: meanwhile the next network is built. Leaving the
    context waits for it: no weight is there, nor known to be sound, before.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="weights")
        self._tasks: list[Future[None]] = []
        self._files: dict[Path, int] = {}
        self._maps: dict[Path, Tensor] = {}
        self._mapped: list[tuple[Piece, Tensor]] = []

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Raises CheckpointError naming the first tensor that is cut off or not finite."""
        self._thread.shutdown(wait=True, cancel_futures=kind is not None)
        for file in self._files.values():
            os.close(file)
        if kind is None:
            for task in self._tasks:
                task.result()

    def read(self, source: Source, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return one tensor of a network, transformed as its source says; its numbers may still be
        on their way.
        """
        now = bool(source.heads or source.transposed)
        parts = [self._piece(piece, source.rows, device, dtype, now=now) for piece in source.pieces]
        whole = parts[0]
        if source.heads:
            # Of each head, the rows for its queries, its keys, its values.
            split = [part.reshape(source.heads, len(part) // source.heads, -1) for part in parts]
            whole = torch.stack(split, dim=1)
        elif source.transposed:
            whole = whole.t().contiguous()
        return whole.reshape(source.shape)

    def check_mapped(self) -> None:
        """Have what was mapped so far looked through, in the order of its places in the files."""
        self._tasks.append(self._thread.submit(_check_mapped, self._mapped))
        self._mapped = []

    def _piece(
        self,
        piece: Piece,
        rows: tuple[int, int] | None,
        device: torch.device,
        dtype: torch.dtype,
        *,
        now: bool,
    ) -> Tensor:
        info, shape = piece.info, piece.info.shape
        start, end = info.start, info.end
        if rows is not None:
            row = (end - start) // shape[0]
            start, end = start + rows[0] * row, start + rows[1] * row
            shape = (rows[1] - rows[0], *shape[1:])
        stored = _DTYPES[info.dtype]
        # A tensor that starts between two of its numbers has no address.
        if stored == dtype and device.type == "cpu" and start % stored.itemsize == 0:
            result = self._bytes(piece)[start:end].view(dtype)
            if len(result):
                self._mapped.append((piece, result))
            return result.view(shape)
        result = torch.empty(shape, dtype=dtype, device=device)
        task = partial(_read, self._file(piece.file), piece, result.view(-1), stored, start)
        if now or device.type != "cpu":
            task()
        else:
            self._tasks.append(self._thread.submit(task))
        return result

    def _bytes(self, piece: Piece) -> Tensor:
        """Return the bytes of a whole file, mapped; writing to them copies a page."""
        path = piece.file
        if path not in self._maps:
            try:
                size = path.stat().st_size
                storage: Any = torch.UntypedStorage.from_file(str(path), False, size)
            except (OSError, RuntimeError) as error:
                raise CheckpointError(f"{path} cannot be read: {error}.") from error
            self._maps[path] = torch.empty(0, dtype=torch.uint8).set_(storage)
        if len(self._maps[path]) < piece.info.end:
            raise CheckpointError(
                f"{path} became shorter while it was read: {piece.key!r:.160} is cut off."
            )
        return self._maps[path]

    def _file(self, path: Path) -> int:
        try:
            if path not in self._files:
                self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
        return self._files[path]


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
    names = _names(part, network.state_dict())
    target = torch.device(device)
    tensors: dict[str, Tensor] = {}
    # The threads that fill weights are in none of the caller's modes, and inference tensors would
    # refuse them.
    with torch.inference_mode(mode=False), torch.no_grad():
        # Neighbours in a file are read one after the other.
        for key in sorted(part.sources, key=lambda key: _position(part.sources[key])):
            tensors[names[key]] = reading.read(part.sources[key], target, dtype)
    reading.check_mapped()
    network.load_state_dict(tensors, strict=False, assign=True)
    _restore_positions(network, target)
    network.eval().requires_grad_(False)


@torch.no_grad()
def _read(file: int, piece: Piece, flat: Tensor, stored: torch.dtype, start: int) -> None:
    """Read numbers that are `stored` from `start` on into `flat`, cast and checked, through a small
    buffer: what a file holds in another precision is never whole in memory.
    """
    width, total = stored.itemsize, len(flat) * stored.itemsize
    buffer = torch.empty(min(total, _CHUNK_BYTES), dtype=torch.uint8)
    for first in range(0, total, _CHUNK_BYTES):
        count = min(_CHUNK_BYTES, total - first)
        chunk = flat[first // width : (first + count) // width]
        _fill(file, buffer[:count], start + first, piece)
        chunk.copy_(buffer[:count].view(stored))
        _check(chunk, piece)


def _fill(file: int, target: Tensor, start: int, piece: Piece) -> None:
    """Read exactly as many bytes as the target has, from `start` on."""
    bytes_of: Any = target.numpy()
    view = memoryview(bytes_of)
    while view:
        try:
            count = os.preadv(file, [view], start)
        except OSError as error:
            raise CheckpointError(f"{piece.file} cannot be read: {error.strerror}.") from error
        if not count:
            raise CheckpointError(
                f"{piece.file} became shorter while it was read: {piece.key!r:.160} is cut off."
            )
        view, start = view[count:], start + count


def _adjacent(first: Tensor, second: Tensor) -> bool:
    """Say whether one flat tensor follows another in the same memory."""
    return first.data_ptr() + first.nbytes == second.data_ptr() and first.dtype == second.dtype


def _check_mapped(weights: Sequence[tuple[Piece, Tensor]]) -> None:
    """Refuse numbers in mapped weights that are not finite.

    Neighbours in a file are looked at together: a thousand short looks with all threads wait for
    each other a thousand times when the machine is busy.
    """
    run: list[tuple[Piece, Tensor]] = []
    for piece, weight in weights:
        if run and not (run[-1][0].file == piece.file and _adjacent(run[-1][1], weight)):
            _check_run(run)
            run = []
        run.append((piece, weight))
    if run:
        _check_run(run)


def _check_run(run: Sequence[tuple[Piece, Tensor]]) -> None:
    """Refuse numbers that are not finite in neighbours of one mapped file."""
    start = run[0][1]
    whole = start.as_strided((sum(len(weight) for _, weight in run),), (1,))
    if not all(_finite(part) for part in torch.split(whole, _SUMMED)):
        for piece, weight in run:
            _check(weight, piece)


def _finite(flat: Tensor) -> bool:
    """Say whether all numbers are finite, in one pass without a temporary.

    A sum keeps what is not, and in half precision is twice as fast as the extremes; only where it
    leaves the range itself are those looked for (not-a-number wins both).
    """
    if math.isfinite(flat.sum().item()):
        return True
    low, high = flat.aminmax()
    return math.isfinite(low.item()) and math.isfinite(high.item())


def _check(chunk: Tensor, piece: Piece) -> None:
    """Refuse numbers that are not finite."""
    if not _finite(chunk):
        raise CheckpointError(
            f"{piece.file}: the tensor {piece.key!r:.160} holds numbers that are not "
            f"finite as {str(chunk.dtype).removeprefix('torch.')}. The file is damaged, or its "
            "numbers need a wider type."
        )


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


def _position(source: Source) -> tuple[str, int]:
    piece = source.pieces[0]
    return str(piece.file), piece.info.start
