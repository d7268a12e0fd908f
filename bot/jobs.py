"""What a job asks of the engine and what comes of it: new jobs from old ones, pictures to files.

Promises that a re-roll or variation carries over what it should and nothing else, and that file
bytes are made by `diffusion.pictures` alone. The functions that encode take CPU time: call them in
a thread.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from PIL import Image, ImageOps

from diffusion import ModelInfo, Params, Step
from diffusion.pictures import (
    encode_jpeg,
    encode_png,
    encode_webp,
    enlarge,
    make_grid,
)
from diffusion.provenance import Provenance
from storage import Job, JobKind, NewJob, NewPicture

VARY_STRENGTH: Final = 0.75
PNG: Final = "image/png"
MAX_UPLOAD: Final = 10 * 2**20
THUMBNAIL: Final = 160
GAP: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asked, where, through which interaction."""

    requester_id: int
    guild_id: int | None
    channel_id: int
    interaction_id: int
    locale: str


def imagine_job(params: Params, asked: Asked, *, prompt: str, repeat_index: int = 0) -> NewJob:
    """Make the job of a prompt."""
    return _new(JobKind.IMAGINE, params, asked, prompt=prompt, repeat_index=repeat_index)


def reroll_job(job: Job, asked: Asked, *, seed: int) -> NewJob:
    """Make the same job again with a new seed, whatever kind of job it was."""
    params = replace(Params.from_json(job.params), seed=seed)
    new = _new(JobKind.REROLL, params, asked, prompt=job.prompt)
    return replace(new, parent_id=job.id)


def vary_job(job: Job, asked: Asked, *, index: int, sha256: str, seed: int) -> NewJob:
    """Make a new grid near one picture of a job."""
    params = replace(
        Params.from_json(job.params), seed=seed, init_image=sha256, strength=VARY_STRENGTH
    )
    new = _new(JobKind.VARY, params, asked, prompt=job.prompt)
    return replace(new, parent_id=job.id, parent_index=index)


def upscale_job(job: Job, asked: Asked, *, index: int) -> NewJob:
    """Make the job that posts one picture alone."""
    params = Params.from_json(job.params)
    # Image i of a grid starts from seed + i - 1, so this is how it is painted alone.
    alone = replace(params, seed=(params.seed + index - 1) % 2**32, images=1)
    new = _new(JobKind.UPSCALE, alone, asked, prompt=job.prompt)
    return replace(new, parent_id=job.id, parent_index=index)


def file_stem(job: Job) -> str:
    """Return the file name of a job's posted picture, without its ending.

    A single picture is named as what it is: one picture of the grid it comes from.
    """
    if job.kind is JobKind.UPSCALE and job.parent_id is not None:
        return f"easel-{job.parent_id}-{job.parent_index}"
    return f"easel-{job.id}"


def encode_grid(
    job: Job, params: Params, pictures: Sequence[Image.Image], model: ModelInfo | None
) -> list[NewPicture]:
    """Encode the tiles at their own size and the grid enlarged for posting. Blocks."""
    scale = 1 if model is None else model.display_scale
    # Enlarged one by one, so that no tile bleeds into its neighbour and U shows the same pixels.
    grid = make_grid([enlarge(picture, scale) for picture in pictures], min(2, len(pictures)))
    encoded = [_encoded(job.id, 0, 0, params, grid, model)]
    for number, picture in enumerate(pictures, start=1):
        encoded.append(_encoded(job.id, number, number, params, picture, model))
    return encoded


def encode_single(
    job: Job, params: Params, tile: Image.Image, data: bytes, model: ModelInfo | None
) -> list[NewPicture]:
    """Encode a stored picture enlarged for posting; its bytes are kept as picture 1. Blocks."""
    scale = 1 if model is None else model.display_scale
    own = NewPicture(index=1, data=data, width=tile.width, height=tile.height, media_type=PNG)
    # `params` already has the picture's own seed, hence place 1.
    return [_encoded(job.id, 0, 1, params, enlarge(tile, scale), model), own]


def fitting(job: Job, data: bytes, model: ModelInfo | None) -> tuple[str, bytes]:
    """Return name and bytes of a picture as it is posted: PNG, or smaller where Discord asks.

    Blocks. The stored original stays as it is.
    """
    name = file_stem(job)
    if len(data) <= MAX_UPLOAD:
        return f"{name}.png", data
    picture = own_picture(data)
    # A single picture's params have its own seed already, hence place 1.
    place = 1 if job.kind is JobKind.UPSCALE else 0
    provenance = _provenance(job.id, place, Params.from_json(job.params), model)
    smaller = encode_webp(picture, provenance)
    if len(smaller) <= MAX_UPLOAD:
        return f"{name}.webp", smaller
    while len(smaller := encode_jpeg(picture, provenance)) > MAX_UPLOAD:
        picture = picture.resize((picture.width // 2, picture.height // 2))
    return f"{name}.jpg", smaller


def encode_preview(step: Step, job: Job, params: Params, model: ModelInfo | None) -> bytes:
    """Encode what a running job looks like, about as large as its result will be. Blocks."""
    picture = step.preview()
    columns = 1 if params.images == 1 else 2
    wanted = min(columns * params.width * (1 if model is None else model.display_scale), 512)
    picture = enlarge(picture, max(1, wanted // picture.width))
    return encode_jpeg(picture, _provenance(job.id, 0, params, model), quality=80)


def encode_contact_sheet(
    kept: Sequence[tuple[Job, bytes]], models: Mapping[str, ModelInfo]
) -> bytes:
    """Lay stored pictures side by side as thumbnails. Blocks."""
    sheet = Image.new("RGB", (len(kept) * (THUMBNAIL + GAP) - GAP, THUMBNAIL), "#2b2d31")
    for number, (_, data) in enumerate(kept):
        small = ImageOps.contain(own_picture(data), (THUMBNAIL, THUMBNAIL))
        sheet.paste(small, (number * (THUMBNAIL + GAP), (THUMBNAIL - small.height) // 2))
    newest = kept[0][0]
    params = Params.from_json(newest.params)
    return encode_jpeg(sheet, _provenance(newest.id, 0, params, models.get(newest.model)))


def software() -> str:
    """Name this program and its version."""
    try:
        return f"Easel {version('easel')}"
    except PackageNotFoundError:
        return "Easel"


def own_picture(data: bytes) -> Image.Image:
    """Open what we stored ourselves, however large."""
    return Image.open(io.BytesIO(data), formats=("PNG",)).convert("RGB")


def _encoded(
    job_id: str,
    index: int,
    place: int,
    params: Params,
    picture: Image.Image,
    model: ModelInfo | None,
) -> NewPicture:
    provenance = _provenance(job_id, place, params, model)
    data = encode_png(picture, provenance)
    width, height = picture.size
    return NewPicture(index=index, data=data, width=width, height=height, media_type=PNG)


def _provenance(job_id: str, place: int, params: Params, model: ModelInfo | None) -> Provenance:
    return Provenance(
        params=params,
        job_id=job_id,
        index=place,
        model_name=params.model if model is None else model.name,
        model_sha256=None if model is None else model.sha256,
        software=software(),
    )


def _new(
    kind: JobKind, params: Params, asked: Asked, *, prompt: str, repeat_index: int = 0
) -> NewJob:
    return NewJob(
        kind=kind,
        params=params.to_json(),
        prompt=prompt,
        images=params.images,
        model=params.model,
        requester_id=asked.requester_id,
        guild_id=asked.guild_id,
        channel_id=asked.channel_id,
        interaction_id=asked.interaction_id,
        repeat_index=repeat_index,
        locale=asked.locale,
    )
