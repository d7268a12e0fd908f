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
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

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
# Prefixes that transformers' modules have in some versions and classes.
_INNER: Final = ("", "text_model.", "vision_model.")
_POSITIONS: Final = "position_ids"


class Checking:
    """Looks through mapped weights for numbers that are not finite, in a thread of its own.

    Leaving the context waits for it: nothing is known to be sound before. It takes half of the time
    of loading, and needs no interpreter: meanwhile the next network is built.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="finite")
        self._looks: list[Future[None]] = []

    def __enter__(self) -> "Checking":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Raises CheckpointError naming the first tensor that is not finite."""
        self._thread.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for look in self._looks:
                look.result()

    def look(self, weights: Sequence[tuple[Piece, Tensor]]) -> None:
        """Look through weights of mapped files, in the order of their places there."""
        self._looks.append(self._thread.submit(_check_mapped, weights))


def load_part(
    part: Part,
    network: nn.Module,
    device: torch.device | str,
    dtype: torch.dtype,
    checking: Checking | None = None,
) -> None:
    """Fill a network that was built on the meta device with a part's weights, in `dtype` on
    `device`. Afterwards it is in evaluation mode and wants no gradients. `checking` goes on with
    looking for numbers that are not finite when this returns; without it, this waits.

    Raises CheckpointError when network and part do not match in every name and shape, when a file
    has become shorter, and when a number is not finite in `dtype`.
    """
    if checking is None:
        with Checking() as own:
            load_part(part, network, device, dtype, own)
        return
    names = _names(part, network.state_dict())
    target = torch.device(device)
    tensors: dict[str, Tensor] = {}
    with _Reader() as reader, torch.no_grad():
        # Neighbours in a file are read one after the other.
        for key in sorted(part.sources, key=lambda key: _position(part.sources[key])):
            source = part.sources[key]
            tensors[names[key]] = reader.read(source, target, dtype)
    checking.look(reader.mapped)
    network.load_state_dict(tensors, strict=False, assign=True)
    _restore_positions(network, target)
    network.eval().requires_grad_(False)


class _Reader:
    """Open files, and the buffer that tensors are cast through."""

    def __init__(self) -> None:
        self._files: dict[Path, BinaryIO] = {}
        self._maps: dict[Path, Tensor] = {}
        self.mapped: list[tuple[Piece, Tensor]] = []
        self._buffer = torch.empty(_CHUNK_BYTES, dtype=torch.uint8)

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def read(self, source: Source, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return one tensor of a network, transformed as its source says."""
        parts = [self._piece(piece, source.rows, device, dtype) for piece in source.pieces]
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
            result = self._mapped(piece)[start:end].view(dtype)
            if len(result):
                self.mapped.append((piece, result))
            return result.view(shape)
        result = torch.empty(shape, dtype=dtype, device=device)
        flat, width = result.view(-1), stored.itemsize
        file = self._file(piece.file, start)
        for first in range(0, end - start, _CHUNK_BYTES):
            count = min(_CHUNK_BYTES, end - start - first)
            chunk = flat[first // width : (first + count) // width]
            _fill(file, self._buffer[:count], piece)
            chunk.copy_(self._buffer[:count].view(stored))
            _check(chunk, piece)
        return result

    def _mapped(self, piece: Piece) -> Tensor:
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

    def _file(self, path: Path, position: int) -> BinaryIO:
        try:
            if path not in self._files:
                self._files[path] = path.open("rb", buffering=0)
            self._files[path].seek(position)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
        return self._files[path]


def _fill(file: BinaryIO, target: Tensor, piece: Piece) -> None:
    """Read exactly as many bytes as the target has."""
    bytes_of: Any = target.numpy()
    view = memoryview(bytes_of)
    while view:
        try:
            count = file.readinto(view)  # type: ignore[attr-defined]
        except OSError as error:
            raise CheckpointError(f"{piece.file} cannot be read: {error.strerror}.") from error
        if not count:
            raise CheckpointError(
                f"{piece.file} became shorter while it was read: {piece.key!r:.160} is cut off."
            )
        view = view[count:]


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
    low, high = whole.aminmax()
    if not math.isfinite(low.item()) or not math.isfinite(high.item()):
        for piece, weight in run:
            _check(weight, piece)


def _check(chunk: Tensor, piece: Piece) -> None:
    """Refuse numbers that are not finite."""
    # One pass without a temporary; not-a-number wins both extremes.
    low, high = chunk.aminmax()
    if not math.isfinite(low.item()) or not math.isfinite(high.item()):
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
