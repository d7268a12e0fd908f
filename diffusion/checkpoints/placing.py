"""Placing: every tensor of a network finds its place in the files, every tensor its network.

Promises: whatever is missing, of another shape, or left over is named in one error. Never imports
torch.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from diffusion.checkpoints.header import TensorInfo
from diffusion.checkpoints.inventory import Entry, Inventory, check_room, same_shape
from diffusion.checkpoints.parts import Piece, Source
from diffusion.errors import CheckpointError

# Integers may stand in the files as indices, never as weights.
_NUMBERS: Final = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_SHOWN: Final = 4

Spelling = Callable[[str, Entry], Source | None]


class Placing:
    """The tensors of some files, and which of them have found their place."""

    def __init__(self, pieces: Mapping[str, Piece], where: Path) -> None:
        self.pieces = pieces
        self.where = where
        self._placed: set[str] = set()

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """What the files hold, by name."""
        return {key: piece.info for key, piece in self.pieces.items()}

    def find(self, *keys: str) -> Piece | None:
        """Return the first of these tensors that there is, and count it as placed."""
        key = next((key for key in keys if key in self.pieces), None)
        if key is None:
            return None
        self._placed.add(key)
        return self.pieces[key]

    def drop(self, prefix: str) -> None:
        """Count the tensors behind a prefix as known and not needed."""
        self._placed.update(key for key in self.pieces if key.startswith(prefix))

    def by_prefix(self, prefix: str) -> Spelling:
        """Return the spelling of original files: our name behind a prefix."""

        def spell(key: str, entry: Entry) -> Source | None:
            piece = self.find(prefix + key)
            return one_piece(piece, entry)

        return spell

    def by_hub(self, prefix: str = "") -> Spelling:
        """Return the spelling of hub folders, older names included."""

        def spell(_: str, entry: Entry) -> Source | None:
            if entry.heads:
                found = [self.find(prefix + n, prefix + _old(n)) for n in entry.hub]
                pieces = tuple(piece for piece in found if piece)
                whole = len(pieces) == len(entry.hub)
                return (
                    Source(pieces=pieces, shape=entry.shape, heads=entry.heads) if whole else None
                )
            piece = self.find(*(prefix + name for name in entry.hub))
            return one_piece(piece, entry)

        return spell

    def place(self, name: str, inventory: Inventory, spell: Spelling) -> dict[str, Source]:
        """Return the source of every tensor of a network; CheckpointError names what is not so."""
        check_room(inventory, self.tensors, f"{self.where}: {name}")
        sources: dict[str, Source] = {}
        missing, wrong = [], []
        for key, entry in inventory.entries.items():
            source = spell(key, entry)
            if source is None:
                missing.append(key)
            elif not _fits(source):
                shapes = [list(piece.info.shape) for piece in source.pieces]
                wrong.append(f"{source.pieces[0].key} {shapes} for {list(entry.shape)}")
            else:
                sources[key] = source
        if missing or wrong:
            parts = [f"missing {some(missing)}"] if missing else []
            parts += [f"of a wrong shape or type {some(wrong)}"] if wrong else []
            raise CheckpointError(
                f"{self.where}: the {name} is not whole: {'; '.join(parts)}. "
                "The file is damaged or of a make that is not known here."
            )
        return sources

    def finish(self, leftovers: re.Pattern[str]) -> None:
        """Refuse tensors that found no place and are not known leftovers."""
        unknown = [
            key for key in self.pieces if key not in self._placed and not leftovers.fullmatch(key)
        ]
        if unknown:
            raise CheckpointError(
                f"{self.where} holds tensors that belong to no network here: {some(unknown)}. "
                "The file is damaged or of a make that is not known here."
            )


def one_piece(
    piece: Piece | None,
    entry: Entry,
    *,
    rows: tuple[int, int] | None = None,
    transposed: bool = False,
) -> Source | None:
    """Return the source of an entry that one tensor of a file is for, None for None."""
    if piece is None:
        return None
    return Source(pieces=(piece,), shape=entry.shape, rows=rows, transposed=transposed)


def some(names: Iterable[str]) -> str:
    """Return the first few names and how many more there are."""
    listed = sorted(f"{name:.160}" for name in names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _fits(source: Source) -> bool:
    """Say whether the pieces, transformed, have the shape that is wanted."""
    if any(piece.info.dtype not in _NUMBERS for piece in source.pieces):
        return False
    found = source.pieces[0].info.shape
    if source.rows is not None:
        # The rows of three equal layers, stacked.
        if not found or found[0] != 3 * source.shape[0]:
            return False
        found = (source.rows[1] - source.rows[0], *found[1:])
    if source.transposed:
        found = found[::-1]
    if source.heads:
        if any(piece.info.shape != found for piece in source.pieces):
            return False
        if not found or found[0] % source.heads:
            return False
        found = (len(source.pieces) * found[0], *found[1:])
    return same_shape(source.shape, found)


def _old(name: str) -> str:
    for new, old in ((".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value.")):
        name = name.replace(new, old)
    return name
