"""Where a picture comes from: the jobs whose pictures it is, is like, or says it is.

Promises that what a file says about itself is believed only as far as pixels show it, and that how
sure a match is travels with it. Names jobs that the asker may have no business with: whoever shows
a match asks `bot.seeing` first. Decoding and hashing take CPU time and happen in threads.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bot.jobs import own_picture
from diffusion import PictureError
from diffusion.likeness import difference, phash
from diffusion.pictures import decode_picture, read_parameters
from diffusion.provenance import parse_parameters
from storage import Job, Picture, StorageError, Store, is_job_id

if TYPE_CHECKING:
    from PIL.Image import Image

# Of 64 bits: JPEG at a third of the size moves a picture at most so far. Pictures of one prompt lie
# as near as five bits, so what is this near is looked at again, in colour: the same picture differs
# by at most 0.01 after WebP at half its size and 0.05 after the worst that was tried, the nearest
# other one by 0.06 and, among those that are near by their bits, by 0.12
# (`python -m tests.benchmarks.verify`).
ALIKE: Final = 10
SAME: Final = 0.05
_MOST_MATCHES: Final = 10
_MOST_LOOKED_AT: Final = 40


class Sureness(StrEnum):
    """How a match was found, the surest first."""

    FILE = "file"
    PIXELS = "pixels"
    LIKE = "like"
    SAYS = "says"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One job that a picture may come from; index 0 is the whole grid.

    `apart` counts the bits in which the likenesses differ, of 64; None where nothing was compared.
    """

    job: Job
    index: int
    sureness: Sureness
    apart: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """What was found, the surest first, and whether the file itself names a job and a program."""

    matches: tuple[Match, ...]
    says_job: bool
    says_program: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a file says about itself."""

    job_id: str | None
    index: int
    program: str | None


async def origins_of(store: Store, data: bytes) -> Origins:
    """Find where a file comes from; PictureError with a sentence when it is no picture."""
    picture, text = await asyncio.to_thread(_open, data)
    claim = claim_of(text)
    matches = await _same_file(store, data)
    if not matches:
        matches = await _claimed(store, claim, picture)
    if not matches or matches[0].sureness is Sureness.SAYS:
        matches = [*await _alike(store, picture), *matches]
    return Origins(
        matches=tuple(matches[:_MOST_MATCHES]),
        says_job=claim.job_id is not None,
        says_program=claim.program,
    )


def claim_of(text: str | None) -> Claim:
    """Read what a picture's notes say about job and program."""
    settings = {} if text is None else parse_parameters(text).settings
    job_id, index = settings.get("Job", ""), settings.get("Index", "0")
    whole = index.isascii() and index.isdigit() and len(index) < 3
    return Claim(
        job_id=job_id if is_job_id(job_id) else None,
        index=int(index) if whole else 0,
        program=settings.get("Version"),
    )


def _open(data: bytes) -> "tuple[Image, str | None]":
    """Open a foreign picture, and read its notes if they can be read. Blocks."""
    picture = decode_picture(data)
    try:
        return picture, read_parameters(data)
    except PictureError:
        return picture, None


async def _same_file(store: Store, data: bytes) -> list[Match]:
    sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    return await _matches(store, await store.picture_by_sha256(sha256), Sureness.FILE)


async def _claimed(store: Store, claim: Claim, picture: "Image") -> list[Match]:
    """Hold what a file says against the pixels that are kept."""
    job = None if claim.job_id is None else await store.job(claim.job_id)
    if job is None:
        return []
    for each in await store.pictures(job.id):
        if (each.width, each.height) == picture.size:
            kept = await _kept(store, each)
            if kept is not None and await asyncio.to_thread(_same_pixels, kept, picture):
                return [Match(job=job, index=each.index, sureness=Sureness.PIXELS)]
    return [Match(job=job, index=claim.index, sureness=Sureness.SAYS)]


async def _alike(store: Store, picture: "Image") -> list[Match]:
    likeness = await asyncio.to_thread(phash, picture)
    near = await store.pictures_like(likeness, distance=ALIKE, limit=_MOST_LOOKED_AT)
    found = [(each, bits) for each, bits in near if await _looks_the_same(store, each, picture)]
    apart = {(each.job_id, each.index): bits for each, bits in found}
    matches = await _matches(store, [each for each, _ in found], Sureness.LIKE)
    return [
        Match(
            job=each.job,
            index=each.index,
            sureness=each.sureness,
            apart=apart[each.job.id, each.index],
        )
        for each in matches
    ]


async def _looks_the_same(store: Store, picture: Picture, other: "Image") -> bool:
    kept = await _kept(store, picture)
    return kept is not None and await asyncio.to_thread(difference, kept, other) <= SAME


async def _matches(store: Store, pictures: Sequence[Picture], sureness: Sureness) -> list[Match]:
    found = []
    for each in pictures[:_MOST_MATCHES]:
        job = await store.job(each.job_id)
        if job is not None:
            found.append(Match(job=job, index=each.index, sureness=sureness))
    return found


async def _kept(store: Store, picture: Picture) -> "Image | None":
    try:
        data = await store.read_picture(picture)
        return await asyncio.to_thread(own_picture, data)
    except (StorageError, OSError):
        # Gone, damaged, or a film, which is no still picture.
        return None


def _same_pixels(one: "Image", other: "Image") -> bool:
    return one.tobytes() == other.tobytes()
