"""Enlarging pictures: by an upscaler network of the ESRGAN family, or by resampling.

Promises: memory is bounded by a tile, whatever the picture's size; a tile sees its neighbours'
pixels, so that seams are those of the network's own far sight at most. Weights come from
safetensors only. Never loads spandrel, which knows the architectures, before an upscaler is asked
for: it is the extra `easel[upscale]`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from diffusion.errors import CheckpointError, ParamsError

TILE: Final = 384
HALO: Final = 32
_MOST_SCALE: Final = 8


class _Network(Protocol):
    """What spandrel makes of a checkpoint."""

    scale: int
    input_channels: int
    output_channels: int

    def __call__(self, image: Tensor) -> Tensor:
        """Map 1 x 3 x h x w in [0, 1] to 1 x 3 x sh x sw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscaler:
    """A network that makes pictures `scale` times as wide and high, tile by tile.

    `tile` is the side of what is made at once, `halo` how many pixels around it the network sees
    besides, both in pixels of the small picture.
    """

    network: _Network
    scale: int
    device: str = "cpu"
    tile: int = TILE
    halo: int = HALO

    @torch.inference_mode()
    def upscale(self, picture: Image.Image) -> Image.Image:
        """Return the picture enlarged (RGB)."""
        small = np.asarray(picture.convert("RGB"))
        height, width = small.shape[:2]
        large = np.empty((height * self.scale, width * self.scale, 3), np.uint8)
        for top, bottom in _spans(height, self.tile):
            for left, right in _spans(width, self.tile):
                part = self._enlarged(small, top, bottom, left, right)
                large[
                    top * self.scale : bottom * self.scale, left * self.scale : right * self.scale
                ] = part
        return Image.fromarray(large)

    def _enlarged(
        self, small: NDArray[np.uint8], top: int, bottom: int, left: int, right: int
    ) -> NDArray[np.uint8]:
        """Return one tile enlarged, after showing the network its surroundings too."""
        first_row, first_column = max(0, top - self.halo), max(0, left - self.halo)
        seen = small[first_row : bottom + self.halo, first_column : right + self.halo]
        given = torch.from_numpy(seen.copy()).permute(2, 0, 1)[None].to(self.device).float() / 255
        made = self.network(given)[0].float()
        wanted = 3, seen.shape[0] * self.scale, seen.shape[1] * self.scale
        if tuple(made.shape) != wanted:
            raise CheckpointError(
                f"the upscaler made {tuple(made.shape)} of {tuple(given.shape)}; {wanted} was due, "
                "so its file is not what it says."
            )
        y, x = (top - first_row) * self.scale, (left - first_column) * self.scale
        core = made[:, y : y + (bottom - top) * self.scale, x : x + (right - left) * self.scale]
        pixels = (core.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu()
        tile: NDArray[np.uint8] = pixels.numpy()
        return tile


def load_upscaler(
    path: Path, device: str = "cpu", *, tile: int = TILE, halo: int = HALO
) -> Upscaler:
    """Load an upscaler from a .safetensors file.

    Raises CheckpointError: not a safetensors file, unknown to spandrel, not RGB to RGB, or the
    extra is not installed.
    """
    if tile < 1 or halo < 0:
        raise ParamsError("tile", (tile, halo), "a tile has 1 pixel or more and no negative halo.")
    if path.suffix.lower() != ".safetensors":
        raise CheckpointError(
            f"{path} is no .safetensors file; pickled upscalers (.pth) are never opened. Look for "
            "the same upscaler as safetensors."
        )
    spandrel = _spandrel()
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}.") from error
    try:
        network = spandrel.ModelLoader(device=device).load_from_state_dict(tensors)
    # Each architecture reads the sizes from the tensors in its own way, and fails in its own way.
    except Exception as error:
        raise CheckpointError(
            f"{path} is no upscaler that spandrel knows ({type(error).__name__}: {error})."
        ) from error
    channels = network.input_channels, network.output_channels
    single = isinstance(network, spandrel.ImageModelDescriptor)
    if not single or channels != (3, 3) or not 1 <= network.scale <= _MOST_SCALE:
        raise CheckpointError(
            f"{path} maps {channels[0]} channels to {channels[1]} at {network.scale}x; an upscaler "
            f"maps 3 to 3 at 1x to {_MOST_SCALE}x."
        )
    network.eval()
    return Upscaler(network=network, scale=network.scale, device=device, tile=tile, halo=halo)


def resample(picture: Image.Image, scale: float) -> Image.Image:
    """Return the picture `scale` times as wide and high by Lanczos: what needs no network."""
    if not 0 < scale <= _MOST_SCALE:
        raise ParamsError("scale", scale, f"it goes from above 0 to {_MOST_SCALE}.")
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _spandrel() -> ModuleType:
    try:
        return import_module("spandrel")
    except ImportError as error:
        raise CheckpointError(
            f"upscaler networks need an extra that is not installed ({error}); run "
            'pip install "easel[upscale]".'
        ) from error
    except RuntimeError as error:
        # What torchvision raises beside a torch that it was not built for.
        raise CheckpointError(
            f"upscaler networks need a torchvision that fits torch {torch.__version__} ({error}); "
            "install both from the same index, of versions that belong together."
        ) from error


def _spans(size: int, tile: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size, tile):
        yield start, min(start + tile, size)
