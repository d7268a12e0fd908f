"""The pictures a pixel-space model learns: small squares on white, as bytes.

Promises: the same bytes for the same files; draws depend on the generator alone. Never a caption:
the model is unconditional.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffusion.train.buckets import Bucket, load_pixels
from diffusion.train.caches import place
from diffusion.train.data import DataError, read_art, read_index, select
from diffusion.train.folder import Checks, read_folder
from diffusion.train.vae import composite


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSet:
    """pixels: N x 3 x S x S bytes. mirrored: N, whether a picture may be shown in a mirror."""

    pixels: Tensor
    mirrored: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.pixels.shape)
        if len(shape) != 4 or shape[0] < 1 or shape[1] != 3 or shape[2] != shape[3]:
            raise ValueError(f"pixels have the shape {shape}, not N x 3 x S x S with N above 0.")
        if self.pixels.dtype != torch.uint8 or self.mirrored.shape != shape[:1]:
            raise ValueError("pixels must be bytes, and mirrored one flag for each picture.")

    @property
    def size(self) -> int:
        """S, pixels a side."""
        return self.pixels.shape[-1]

    @property
    def digest(self) -> str:
        """SHA-256 of all this, to know it again."""
        parts = (self.pixels, self.mirrored)
        return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` pictures as count x 3 x S x S in [-1, 1] (Ho et al. 2020, section 3.3:
        bytes scaled linearly), half of those that may be in a mirror.
        """
        chosen = torch.randint(len(self.pixels), (count,), generator=generator)
        turned = self.mirrored[chosen] & (torch.rand(count, generator=generator) < 0.5)
        x0 = to_signal(self.pixels[chosen])
        return torch.where(turned[:, None, None, None], x0.flip(-1), x0)


def to_signal(pixels: Tensor) -> Tensor:
    """Scale bytes to float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_bytes(signal: Tensor) -> Tensor:
    """Scale [-1, 1] to bytes; what lies outside is cut off."""
    return ((signal + 1) * 127.5).round().clamp(0, 255).byte()


def read_drawings(
    folder: Path, size: int, *, styles: Sequence[str] = ("twemoji",), names: str = "known"
) -> PictureSet:
    """Read drawings of the art data set (`diffusion.train.data`), on white, size x size.

    Names as for `select`: "known" or "all". DataError for a missing set or style.
    """
    rows = select(read_index(folder), styles=styles, preset=names)
    if not rows:
        raise DataError(f"{folder} holds none of the {names} names in {', '.join(styles)}.")
    pixels = read_art(folder)[[row.row for row in rows]]
    art = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    on_white = composite(place(art, size, size), torch.ones(len(art), 3))
    return PictureSet(pixels=to_bytes(on_white), mirrored=torch.tensor([row.flip for row in rows]))


def read_pictures(folder: Path, size: int, *, mirror: bool = True) -> tuple[PictureSet, list[str]]:
    """Read anybody's pictures from a folder, shrunk and cut around the centre to size x size;
    return what a person should know, too. TrainingDataError tells all that is wrong with a folder.
    """
    found = read_folder(folder, checks=Checks(min_side=size))
    items = [item for item in found.items for _ in range(item.repeats)]
    square = Bucket(width=size, height=size)
    pixels = torch.stack([to_bytes(load_pixels(item.path, square)) for item in items])
    mirrored = torch.full((len(items),), mirror)
    return PictureSet(pixels=pixels, mirrored=mirrored), list(found.warnings)
