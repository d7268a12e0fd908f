"""Textual inversions (Gal et al. 2022): words of an admin's own, as vectors in front of a text
transformer.

Promises: the tokenizer never grows: vectors stand in the sequence where the name stood, so two jobs
cannot meet, and a file is read when its name is first used, inside of the block of whoever vouches
for it; what is written into it afterwards reaches nobody. A name is matched as a whole word, in
any case, or written as `<name>` or `embedding:name`. Never opens a pickle.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from diffusion.checkpoints.header import Header, read_header
from diffusion.errors import CheckpointError
from diffusion.vouching import Vouch, anybody

MAX_VECTORS: Final = 75
# The names that trainers give the vectors of each encoder of Stable Diffusion XL.
_PLACES: Final = {"clip_l": 0, "clip_g": 1}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inversion:
    """One file's vectors: n x D for each encoder it speaks to, by the encoder's number."""

    path: Path
    vectors: Mapping[int, Tensor]


def load_inversion(path: Path, widths: tuple[int, ...]) -> Inversion:
    """Read a textual inversion for encoders of the given widths.

    diffusers' files hold one tensor under the token's name, A1111's `emb_params`, those for Stable
    Diffusion XL `clip_l` and `clip_g`; n x D or D. Raises CheckpointError.
    """
    header = read_header(path)
    places = {key: _PLACES[key] for key in header.tensors if key in _PLACES}
    if not places:
        if len(header.tensors) != 1:
            raise CheckpointError(f"{path} is no textual inversion: it holds several tensors")
        places = {next(iter(header.tensors)): 0}
    if len(widths) == 1 and set(places.values()) == {0, 1}:
        raise CheckpointError(f"{path} is made for Stable Diffusion XL, not for this model")
    for key, place in places.items():
        _check(header, key, widths[place] if place < len(widths) else 0)
    try:
        with safe_open(path, framework="pt") as file:
            # A copy: the library's tensors are the file itself, mapped.
            found = {place: file.get_tensor(key).float().clone() for key, place in places.items()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    vectors = {place: v[None] if v.ndim == 1 else v for place, v in found.items()}
    if not all(bool(torch.isfinite(v).all()) for v in vectors.values()):
        raise CheckpointError(f"{path} holds numbers that are not finite")
    return Inversion(path=path, vectors=vectors)


def _check(header: Header, key: str, width: int) -> None:
    shape = header.tensors[key].shape
    if len(shape) not in (1, 2) or not 1 <= (shape[0] if len(shape) == 2 else 1) <= MAX_VECTORS:
        raise CheckpointError(
            f"{header.path} is no textual inversion: {key!r:.60} is {shape}; "
            f"it must be 1 to {MAX_VECTORS} vectors"
        )
    if shape[-1] != width:
        raise CheckpointError(
            f"{header.path} has vectors {shape[-1]} wide; this model's text encoder takes {width}"
        )


@dataclass(slots=True, eq=False)
class Inversions:
    """The textual inversions of one model, by name. `widths`: of its encoders, in order."""

    files: Mapping[str, Path] = field(default_factory=dict)
    widths: tuple[int, ...] = ()
    vouch: Vouch = anybody
    _read: dict[str, Inversion] = field(default_factory=dict)
    _pattern: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        self._pattern = _pattern_of(self.files)

    def look_again(self, files: Mapping[str, Path], changed: Collection[str]) -> None:
        """Take in a folder as it is now; what changed or is gone is read anew when it is named."""
        kept = {name.lower() for name in files} - {name.lower() for name in changed}
        self.files, self._pattern = files, _pattern_of(files)
        for name in [each for each in list(self._read) if each.lower() not in kept]:
            self._read.pop(name, None)

    def unread(self, *texts: str) -> tuple[str, ...]:
        """Return the names in some texts whose files were not read yet."""
        pattern = self._pattern
        if pattern is None:
            return ()
        named = (_named(match) for text in texts for match in pattern.finditer(text))
        return tuple(dict.fromkeys(name for name in named if name not in self._read))

    def split(self, text: str, place: int) -> Iterator[tuple[str, Tensor | None]]:
        """Yield the pieces of a text: plain ones, and the vectors of what is named between."""
        pattern = self._pattern
        if pattern is None:
            yield text, None
            return
        end = 0
        for match in pattern.finditer(text):
            vectors = self.read(_named(match)).vectors.get(place)
            if vectors is None:
                # A file that does not speak to this encoder leaves the word as it is.
                continue
            if match.start() > end:
                yield text[end : match.start()], None
            yield "", vectors
            end = match.end()
        if end < len(text) or end == 0:
            yield text[end:], None

    def read(self, name: str) -> Inversion:
        """Return what a name stands for, in any case. Raises CheckpointError."""
        found = self._read.get(name)
        if found is None:
            path = next((p for n, p in self.files.items() if n.lower() == name.lower()), None)
            if path is None:
                raise CheckpointError(f"the embedding {name!r:.80} is gone from its folder")
            with self.vouch("embedding", path):
                found = load_inversion(path, self.widths)
            self._read[name] = found
        return found


def _pattern_of(files: Mapping[str, Path]) -> re.Pattern[str] | None:
    if not files:
        return None
    names = "|".join(re.escape(name) for name in sorted(files, key=len, reverse=True))
    return re.compile(
        rf"<({names})>|embedding:({names})(?![\w-])|(?<![\w-])({names})(?![\w-])", re.IGNORECASE
    )


def _named(match: re.Match[str]) -> str:
    return next(name for name in match.groups() if name)
