"""The bytes of a checkpoint as tensors, filled and checked in the background.

Promises: finite (every weight is looked at once), and frugal: on the CPU, weights that are stored
as they are wanted stay in the file, mapped privately; others are read through a small buffer where
they are cast. So the peak is the weights themselves. Never writes to a file, never opens a pickle.

## Why files are mapped
Reading 4 GB into fresh memory took 4 to 8 seconds where mapping and checking them took half of one,
and mapped pages can be dropped and read again when memory is short. The price: a model's file must
be replaced by renaming, as `easel models pull` and every hub client do, never rewritten in place
while the model is in use.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from diffusion.checkpoints.finite import are_finite
from diffusion.checkpoints.parts import Part, Piece, Source
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
# Mapped weights that are looked through in one go.
_CHECKED_BYTES: Final = 1 << 30


class Reading:
    """Open files, and two threads that read and check what the caller does not wait for.

    Casting weights, and looking through mapped ones for numbers that are not finite, takes half of
    the time of loading and needs no interpreter: meanwhile the networks are built, and when that is
    done, another thread has a core to itself. Leaving the context waits for them: no weight is
    there, nor known to be sound, before.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="weights")
        self._tasks: list[Future[None]] = []
        self._files: dict[Path, int] = {}
        self._maps: dict[Path, Tensor] = {}
        self._casts: list[Callable[[], None]] = []
        self._checked: set[tuple[Path, int]] = set()

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Raises CheckpointError naming the first tensor that is cut off or not finite."""
        self._threads.shutdown(wait=True, cancel_futures=kind is not None)
        for file in self._files.values():
            os.close(file)
        if kind is None:
            for task in self._tasks:
                task.result()

    # The threads that fill weights are in none of the caller's modes, and inference tensors would
    # refuse them.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def check(self, part: Part, device: torch.device, dtype: torch.dtype) -> None:
        """Have the weights of a part that will be mapped looked through, in the order of the files.

        `read_all` does so too; whoever knows early what will be loaded asks early.
        """
        pieces = {
            (piece.file, piece.info.start): piece
            for source in part.sources.values()
            for piece in source.pieces
            if _is_mapped(piece, device, dtype) and piece.info.end > piece.info.start
        }
        places = sorted(pieces.keys() - self._checked)
        self._checked.update(places)
        group: list[tuple[Piece, Tensor]] = []
        size = 0
        for place in places:
            info = pieces[place].info
            group.append((pieces[place], self._bytes(pieces[place])[info.start : info.end]))
            size += info.end - info.start
            if size >= _CHECKED_BYTES:
                self._tasks.append(self._threads.submit(_check_mapped, group, dtype))
                group, size = [], 0
        self._tasks.append(self._threads.submit(_check_mapped, group, dtype))

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def read_all(self, part: Part, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the tensors of a part by its own names; numbers may still be on their way."""
        self.check(part, device, dtype)
        # Neighbours in a file are read one after the other.
        names = sorted(part.sources, key=lambda name: _position(part.sources[name]))
        found = {name: self._source(part.sources[name], device, dtype) for name in names}
        # One task for all that is cast: short tasks of two threads wait for the interpreter.
        self._tasks.append(self._threads.submit(_call_all, self._casts))
        self._casts = []
        return found

    def _source(self, source: Source, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return one tensor of a network, transformed as its source says."""
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
        if _is_mapped(piece, device, dtype):
            return self._bytes(piece)[start:end].view(dtype).view(shape)
        result = torch.empty(shape, dtype=dtype, device=device)
        stored = _DTYPES[info.dtype]
        task = partial(_read, self._file(piece.file), piece, result.view(-1), stored, start)
        if now or device.type != "cpu":
            task()
        else:
            self._casts.append(task)
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


def _call_all(tasks: Sequence[Callable[[], None]]) -> None:
    for task in tasks:
        task()


def _is_mapped(piece: Piece, device: torch.device, dtype: torch.dtype) -> bool:
    """Say whether a piece's weights stay in their file."""
    stored = _DTYPES[piece.info.dtype]
    # A tensor that starts between two of its numbers has no address.
    return stored == dtype and device.type == "cpu" and piece.info.start % stored.itemsize == 0


def _check_mapped(weights: Sequence[tuple[Piece, Tensor]], dtype: torch.dtype) -> None:
    """Refuse numbers that are not finite in the bytes of mapped weights, sorted by place.

    Neighbours in a file are looked at together, in one call.
    """
    for run in _runs(weights):
        start = run[0][1]
        whole = start.as_strided((sum(len(weight) for _, weight in run),), (1,))
        if not are_finite(whole.view(dtype)):
            for piece, weight in run:
                _check(weight.view(dtype), piece)


def _runs(weights: Sequence[tuple[Piece, Tensor]]) -> list[list[tuple[Piece, Tensor]]]:
    """Part weights where one does not begin in its file where the one before it ends."""
    runs: list[list[tuple[Piece, Tensor]]] = []
    for piece, weight in weights:
        before = runs[-1][-1][0] if runs else None
        if before and (before.file, before.info.end) == (piece.file, piece.info.start):
            runs[-1].append((piece, weight))
        else:
            runs.append([(piece, weight)])
    return runs


def _check(chunk: Tensor, piece: Piece) -> None:
    """Refuse numbers that are not finite."""
    if not are_finite(chunk):
        raise CheckpointError(
            f"{piece.file}: the tensor {piece.key!r:.160} holds numbers that are not "
            f"finite as {str(chunk.dtype).removeprefix('torch.')}. The file is damaged, or its "
            "numbers need a wider type."
        )


def _position(source: Source) -> tuple[str, int]:
    piece = source.pieces[0]
    return str(piece.file), piece.info.start
