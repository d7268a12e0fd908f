"""Pictures of a folder as latents: bucketed by shape, encoded once, drawn in batches of one shape.

Promises: what a step draws depends on its generator alone; every picture goes through the model's
own autoencoder (its mean: the spread of a trained one is far below the noise that is added) and
stays in memory, on the CPU, in float32. A file that changes meanwhile is told by its name.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from diffusion.files import sha256_of
from diffusion.train.buckets import (
    Bucket,
    BucketBatches,
    Placed,
    TrainingPicture,
    load_pixels,
    make_buckets,
    place,
)
from diffusion.train.tuning.recipe import TuningError
from diffusion.train.tuning.subject import Subject

# Pixels that the autoencoder is given at once.
_AT_ONCE: Final = 512 * 512
# From this side on buckets differ by 64 pixels.
_COARSE_FROM: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A batch: N x z x h x w latents of one bucket, and their captions."""

    latents: Tensor
    captions: tuple[str, ...]
    bucket: Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSet:
    """All pictures, encoded. latents: for each picture one or, mirrored too, two of z x h x w."""

    batches: BucketBatches
    latents: Mapping[tuple[Path, Bucket], Tensor]

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """Draw a batch with a CPU generator; mirrored ones are as likely as not."""
        batch = self.batches.draw(count, generator)
        rolls = torch.rand(count, generator=generator)
        chosen = []
        for picture, roll in zip(batch.pictures, rolls.tolist(), strict=True):
            ways = self.latents[picture.path, batch.bucket]
            chosen.append(ways[int(roll * len(ways))])
        return Drawn(
            latents=torch.stack(chosen),
            captions=tuple(picture.caption for picture in batch.pictures),
            bucket=batch.bucket,
        )


def buckets_for(subject: Subject, side: int = 0) -> tuple[Bucket, ...]:
    """Return the shapes that a model is trained in: of the area of a square of `side` pixels (0:
    native), from 1:4 to 4:1. TuningError for a side that the model has no pictures of.
    """
    chosen, unit = subject.side(side), subject.model.info.size_multiple
    # Stable Diffusion's own buckets; sides of few pixels need finer steps.
    multiple = max(unit, 64) if chosen >= _COARSE_FROM else unit
    try:
        return make_buckets(
            chosen * chosen, multiple=multiple, min_side=chosen // 2, max_side=2 * chosen
        )
    except ValueError as error:
        raise TuningError(
            f"side is {side}; pictures of {subject.model.info.name} have sides that are multiples "
            f"of {unit}: use {unit} or more."
        ) from error


def place_all(
    subject: Subject, pictures: Sequence[TrainingPicture], side: int = 0
) -> tuple[Placed, ...]:
    """Put every picture into its bucket."""
    buckets = buckets_for(subject, side)
    return tuple(place(picture, buckets) for picture in pictures)


def latent_bytes(subject: Subject, *, side: int, mirror: bool) -> int:
    """Return the bytes that one picture's latents take."""
    config = subject.vae.config
    positions = (subject.side(side) // config.downscale) ** 2
    return 4 * config.latent_channels * positions * (2 if mirror else 1)


@torch.no_grad()
def encode_all(
    subject: Subject,
    placed: Sequence[Placed],
    *,
    mirror: bool,
    progress: Callable[[int, int], None] | None = None,
) -> LatentSet:
    """Encode every picture, and its mirror image; PictureError names a file that changed."""
    latents: dict[tuple[Path, Bucket], Tensor] = {}
    by_bucket: dict[Bucket, list[Path]] = {}
    for one in placed:
        by_bucket.setdefault(one.bucket, []).append(one.picture.path)
    done, device = 0, subject.model.device
    for bucket, paths in sorted(by_bucket.items()):
        room = max(1, _AT_ONCE // (bucket.width * bucket.height))
        for start in range(0, len(paths), room):
            part = paths[start : start + room]
            pixels = torch.stack([load_pixels(path, bucket) for path in part]).to(device)
            ways = [pixels, pixels.flip(-1)] if mirror else [pixels]
            encoded = torch.stack([subject.vae.encode(way).float().cpu() for way in ways], dim=1)
            for path, both in zip(part, encoded, strict=True):
                latents[path, bucket] = both.clone()
            done += len(part)
            if progress is not None:
                progress(done, len(placed))
    return LatentSet(batches=BucketBatches(placed), latents=latents)


def digest_of(root: Path, pictures: Sequence[TrainingPicture]) -> str:
    """Return a hash of all pictures: names, bytes, captions and repeats."""
    digest = hashlib.sha256()
    for picture in sorted(pictures, key=lambda each: each.path):
        name = picture.path.relative_to(root).as_posix()
        told = f"{name}\0{picture.caption}\0{picture.repeats}\0{sha256_of(picture.path)}\n"
        digest.update(told.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]
