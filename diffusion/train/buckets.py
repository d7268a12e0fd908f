"""Pictures of any shape as training batches of one shape: files read, bucketed, cut and drawn.

The rule of the buckets (after NovelAI's "aspect ratio bucketing", 2022): a bucket is a width and a
height, multiples of one number, of at most a given area. For every width between the limits there
is the bucket with the largest height that keeps to the area; the same with width and height
exchanged; and the largest square. A picture goes to the bucket whose log(width / height) is
nearest to its own, is scaled until it covers the bucket, and what stands out on two sides goes.

Promises: a batch has one shape; each picture is drawn as often as its repeats say, whatever bucket
it is in; draws depend on the generator alone. Pixels are float32 in [-1, 1], as `vae.composite`
makes them and `AutoencoderKL.encode` takes them. A file's size, kind and pixels are checked before
a pixel is decoded.
"""

import io
import math
import re
import stat
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from diffusion.errors import PictureError

# Below the 89 million at which Pillow itself warns of decompression bombs.
MAX_PIXELS: Final = 64_000_000
MAX_FILE_BYTES: Final = 512 << 20
MAX_REPEATS: Final = 1000
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
# Further frames of a JPEG are depth maps and the like, not an animation.
_ANIMATED: Final = ("PNG", "WEBP", "GIF")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPicture:
    """One picture: width and height in pixels, upright; learned `repeats` times a round."""

    path: Path
    caption: str
    width: int
    height: int
    repeats: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """An upright RGB picture and what it was before, "" when that is all it was."""

    picture: Image.Image
    was: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Bucket:
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def log_aspect(self) -> float:
        """log(width / height): 0 for a square, of equal size for a shape and the same lying."""
        return math.log(self.width / self.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A picture in its bucket: enlarged by `scale`, then the share `cropped` (0 to 1) cut off."""

    picture: TrainingPicture
    bucket: Bucket
    scale: float
    cropped: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Pictures of one bucket, drawn together."""

    bucket: Bucket
    pictures: tuple[TrainingPicture, ...]

    def pixels(self) -> Tensor:
        """Return N x 3 x height x width in [-1, 1]; PictureError for a file that changed."""
        return torch.stack([load_pixels(picture.path, self.bucket) for picture in self.pictures])


def read_regular(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of a regular file; PictureError says why not, without the file's name."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PictureError("is no regular file: take it out of the folder.")
        if status.st_size > limit:
            size, most = status.st_size / 2**20, limit / 2**20
            raise PictureError(f"has {size:.1f} MiB, the limit is {most:.1f}: make it smaller.")
        return path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise PictureError(f"cannot be read ({why}): check it and who may read it.") from error


def read_below(root: Path, path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Do as `read_regular`, and refuse links that lead out of the folder `root`."""
    try:
        if path.resolve().is_relative_to(root.resolve()):
            return read_regular(path, limit)
    # What Python 3.11 and 3.12 raise for links in a circle.
    except RuntimeError as error:
        raise PictureError("is a link to itself: take it out of the folder.") from error
    raise PictureError("is a link out of the folder: copy the file itself here.")


def repeats_of(path: Path) -> int:
    """Return how often a picture counts: the number before the innermost folder's name that has one
    (kohya's `10_cats`), else 1. PictureError for a number that cannot be meant.
    """
    numbers = [found for part in path.parts[:-1] if (found := re.match("([0-9]{1,9})_", part))]
    repeats = int(numbers[-1][1]) if numbers else 1
    if not 1 <= repeats <= MAX_REPEATS:
        told = f"lies in {numbers[-1].string!r:.40}, which asks for {repeats} repeats"
        raise PictureError(f"{told}, not 1 to {MAX_REPEATS}: rename the folder.")
    return repeats


def decode_rgb(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode a whole picture as upright RGB, transparency laid on white, of an animation the first
    frame, 16 bits scaled to 8. PictureError completes "this picture ...".
    """
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(_too_large("far too many", max_pixels)) from error
    except UnidentifiedImageError as error:
        kinds = ", ".join(_FORMATS)
        raise PictureError(f"is damaged or no picture ({kinds}): save it again.") from error
    # Pillow's parsers raise whatever damaged bytes lead them to.
    except Exception as error:
        raise PictureError(f"is damaged ({error}): save it again.") from error
    if picture.width * picture.height > max_pixels:
        size = f"{picture.width} x {picture.height}"
        raise PictureError(_too_large(size, max_pixels))
    try:
        moves = picture.format in _ANIMATED and bool(getattr(picture, "is_animated", False))
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        was = [picture.mode] if picture.mode != "RGB" or picture.has_transparency_data else []
        was += ["with transparency"] if picture.has_transparency_data else []
        was += ["animated (first frame)"] if moves else []
        was += ["turned"] if picture.getexif().get(0x0112, 1) in range(2, 9) else []
        return Decoded(picture=_on_white(upright), was=" ".join(was))
    except Exception as error:
        raise PictureError(f"is damaged ({error}): save it again.") from error


def _too_large(pixels: str, most: int) -> str:
    return f"has {pixels} pixels, at most {most / 1e6:.1f} million are taken: make it smaller."


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # Pillow's own conversion cuts off everything above 255 instead of scaling.
        values = np.asarray(picture).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def make_buckets(
    area: int, *, multiple: int = 64, min_side: int = 256, max_side: int = 1024
) -> tuple[Bucket, ...]:
    """Return the buckets of at most `area` pixels, from the highest to the widest.

    Sides are multiples of `multiple` between the limits. ValueError where there is none.
    """
    if multiple < 1 or min_side < 1:
        raise ValueError(f"multiple is {multiple}, min_side {min_side}; both start at 1.")
    low, high = -(-min_side // multiple) * multiple, max_side // multiple * multiple
    found: set[Bucket] = set()
    for side in range(low, high + 1, multiple):
        other = min(area // side // multiple * multiple, high)
        if other >= low:
            found |= {Bucket(width=side, height=other), Bucket(width=other, height=side)}
    square = min(math.isqrt(area) // multiple * multiple, high)
    if square >= low:
        found.add(Bucket(width=square, height=square))
    if not found:
        raise ValueError(
            f"no bucket has sides of {min_side} to {max_side} in steps of {multiple} and at most "
            f"{area} pixels: allow more pixels or shorter sides."
        )
    return tuple(sorted(found, key=lambda bucket: (bucket.log_aspect, bucket)))


def place(picture: TrainingPicture, buckets: Sequence[Bucket]) -> Placed:
    """Put a picture into the bucket of the nearest log aspect; of two, into the larger."""
    aspect = math.log(picture.width / picture.height)
    # Rounded, or the last bit would decide between two that are equally near.
    bucket = min(
        buckets, key=lambda b: (round(abs(b.log_aspect - aspect), 9), -b.width * b.height, b)
    )
    scale = max(bucket.width / picture.width, bucket.height / picture.height)
    kept = bucket.width * bucket.height / (scale**2 * picture.width * picture.height)
    return Placed(picture=picture, bucket=bucket, scale=scale, cropped=max(0.0, 1 - kept))


def describe(placed: Sequence[Placed]) -> tuple[str, ...]:
    """Return lines for a person: pictures by bucket, what is cut off, what is enlarged."""
    counted = sorted(Counter(p.bucket for p in placed).items())
    sizes = ", ".join(f"{n} at {bucket.width} x {bucket.height}" for bucket, n in counted)
    worst = max(placed, key=lambda p: p.cropped)
    mean = sum(p.cropped for p in placed) / len(placed)
    name = worst.picture.path.name
    enlarged = sum(p.scale > 1 for p in placed)
    more = [f"{enlarged} of {len(placed)} pictures are smaller than their bucket and enlarged."]
    return (
        f"Sizes: {sizes}.",
        f"Cropping cuts off {mean:.0%} on average, most of {name} ({worst.cropped:.0%}).",
        *(more if enlarged else []),
    )


def load_pixels(path: Path, bucket: Bucket) -> Tensor:
    """Return a file as 3 x height x width float32 in [-1, 1], scaled to cover (Lanczos) and cut
    around the centre; PictureError names the file.
    """
    try:
        picture = decode_rgb(read_regular(path)).picture
    except PictureError as error:
        raise PictureError(f"{path} {error}") from error
    scale = max(bucket.width / picture.width, bucket.height / picture.height)
    width, height = bucket.width / scale, bucket.height / scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    # Rounding must not put the box outside by a last bit.
    box = (max(0.0, left), max(0.0, top),
           min(picture.width, left + width), min(picture.height, top + height))  # fmt: skip
    cut = picture.resize((bucket.width, bucket.height), Image.Resampling.LANCZOS, box=box)
    return torch.from_numpy(np.array(cut)).permute(2, 0, 1).float() / 127.5 - 1


class BucketBatches:
    """Draws batches: a bucket by its number of pictures, then pictures of it, repeats counted."""

    def __init__(self, placed: Sequence[Placed]) -> None:
        """Sort pictures into buckets; ValueError when there is none."""
        if not placed:
            raise ValueError("there are no pictures to draw batches from.")
        rounds: dict[Bucket, list[TrainingPicture]] = {}
        for one in placed:
            rounds.setdefault(one.bucket, []).extend([one.picture] * one.picture.repeats)
        self.rounds = {bucket: tuple(rounds[bucket]) for bucket in sorted(rounds)}
        self._ends = list(accumulate(len(pictures) for pictures in self.rounds.values()))

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Draw `count` pictures of one bucket with a CPU generator.

        Within a batch a picture comes again only when its bucket's round is used up, and the
        chance is the same for all: by symmetry within a bucket, and between buckets because each
        is drawn in proportion to its round.
        """
        ticket = int(torch.randint(self._ends[-1], (1,), generator=generator))
        bucket = list(self.rounds)[bisect_right(self._ends, ticket)]
        pictures = self.rounds[bucket]
        order: list[int] = []
        while len(order) < count:
            order += torch.randperm(len(pictures), generator=generator).tolist()
        return Batch(bucket=bucket, pictures=tuple(pictures[i] for i in order[:count]))
