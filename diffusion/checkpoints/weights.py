"""The weight files of one component in a hub folder: which they are, and what lies in them.

Promises: opens safetensors files only; never one outside the folder (a hub's cache, which links to
its own store, excepted). Never imports torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from diffusion.checkpoints.header import MAX_TENSORS, read_header
from diffusion.checkpoints.hub_fields import read_object
from diffusion.checkpoints.parts import Piece
from diffusion.errors import CheckpointError

_STEMS: Final = ("diffusion_pytorch_model", "model")
_VARIANTS: Final = ("fp16", "bf16", "fp32", "non_ema", "ema")
_MAX_SHARDS: Final = 1000
_PICKLES: Final = ("*.bin", "*.ckpt", "*.pt", "*.pth")


def component_pieces(folder: Path, root: Path, variant: str | None) -> dict[str, Piece]:
    """Return every tensor of a component. `variant` ("fp16") names the files that are wanted;
    without it plain files win over the only variant there is.
    """
    files = _files(folder, root, variant)
    pieces: dict[str, Piece] = {}
    for path in files:
        for key, info in read_header(path).tensors.items():
            if key in pieces:
                raise CheckpointError(f"{path} holds the tensor {key!r:.120} of another shard too.")
            pieces[key] = Piece(file=path, key=key, info=info)
    if len(pieces) > MAX_TENSORS:
        raise CheckpointError(f"{folder} holds {len(pieces)} tensors; the limit is {MAX_TENSORS}.")
    return pieces


def inside(path: Path, root: Path) -> Path:
    """Return `path` if it leads to a file of the folder `root`; CheckpointError otherwise."""
    real, home = path.resolve(), root.resolve()
    homes = [home]
    # A snapshot in a hub's cache consists of links to the store beside it.
    if home.parent.name == "snapshots":
        homes.append(home.parent.parent / "blobs")
    if not any(real.is_relative_to(each) for each in homes):
        raise CheckpointError(f"{path} leads out of {root}; copy the file itself into the folder.")
    return path


def _files(folder: Path, root: Path, variant: str | None) -> list[Path]:
    for name in (variant,) if variant else (None, *_VARIANTS):
        for stem in _STEMS:
            infix = f".{name}" if name else ""
            whole = folder / f"{stem}{infix}.safetensors"
            if whole.is_file():
                return [inside(whole, root)]
            for index in (
                folder / f"{stem}.safetensors.index{infix}.json",
                folder / f"{stem}{infix}.safetensors.index.json",
            ):
                if index.is_file():
                    return _shards(inside(index, root), root)
    what = f"variant {variant!r:.40}" if variant else "weights"
    if any(next(folder.glob(pattern), None) for pattern in _PICKLES):
        raise CheckpointError(
            f"{folder} has its {what} as pickles only, which can run any program when they are "
            "opened, so they are never opened here. Fetch the .safetensors files of the same model."
        )
    raise CheckpointError(f"{folder} has no {what} (diffusion_pytorch_model.safetensors or such).")


def _shards(index: Path, root: Path) -> list[Path]:
    table = read_object(index).get("weight_map")
    if not isinstance(table, Mapping) or not table:
        raise CheckpointError(f"{index}: weight_map must say where each tensor is.")
    names = set()
    for name in table.values():
        plain = isinstance(name, str) and name.endswith(".safetensors")
        if not plain or name != Path(name).name or "\\" in name:
            raise CheckpointError(f"{index}: {name!r:.120} is no name of a shard beside it.")
        names.add(name)
    if len(names) > _MAX_SHARDS:
        raise CheckpointError(f"{index} names {len(names)} shards; the limit is {_MAX_SHARDS}.")
    shards = [inside(index.parent / name, root) for name in sorted(names)]
    held = {path.name: set(read_header(path).tensors) for path in shards}
    lost = [key for key, name in table.items() if key not in held[name]]
    if lost:
        raise CheckpointError(f"{index}: {lost[0]!r:.120} is not in {table[lost[0]]}.")
    return shards
