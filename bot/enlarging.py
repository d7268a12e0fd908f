"""Making a finished picture larger without painting it: by a network, or by resampling.

Promises that nothing here touches the engine, and that a server without an upscaler enlarges by
Lanczos. Takes CPU seconds, or minutes with a network on a processor: call it in a thread. Never
loads torch where there is no network to run; reads its file inside of the block of whoever vouches
for it, and again after it changed.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from bot.manifest import ChangedFileError, Stamp, stamp_of
from diffusion import CheckpointError
from diffusion.vouching import Vouch, anybody

if TYPE_CHECKING:
    from diffusion.upscale import Upscaler


class UpscalerError(Exception):
    """The configured upscaler cannot be used."""


def enlarged(
    picture: Image.Image,
    factor: int,
    *,
    upscaler: Path | None,
    device: str,
    vouch: Vouch = anybody,
) -> Image.Image:
    """Return the picture `factor` times as wide and high. Blocks.

    Raises UpscalerError, and ChangedFileError where `vouch` does around the reading of the file.
    """
    size = picture.width * factor, picture.height * factor
    if upscaler is not None:
        try:
            with vouch("upscaler", upscaler):
                network = _loaded(upscaler, device, stamp_of(upscaler))
            while picture.width < size[0] and network.scale > 1:
                picture = network.upscale(picture)
        except ChangedFileError:
            raise
        except (CheckpointError, OSError) as error:
            raise UpscalerError(str(error)) from error
    if picture.size == size:
        return picture
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


# Reading the file takes longer than enlarging a small picture.
@lru_cache(maxsize=1)
def _loaded(path: Path, device: str, stamp: Stamp) -> "Upscaler":
    from diffusion.upscale import load_upscaler

    del stamp
    return load_upscaler(path, device)
