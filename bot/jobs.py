"""What a job asks of the engine and what comes of it: new jobs from old ones, pictures to files.

Promises that a re-roll or variation carries over what it should and nothing else, that file bytes
are made by `diffusion.pictures` alone, and that a file holds the words of its prompt only where its
requester wants that. The functions that encode take CPU time: call them in a thread.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from PIL import Image, ImageOps

from bot.prompt import carried, without_flags
from diffusion import ModelInfo, Params, Step
from diffusion.likeness import phash
from diffusion.params import DEFAULT_HIRES_STRENGTH
from diffusion.pictures import (
    encode_jpeg,
    encode_png,
    encode_webp,
    enlarge,
    make_grid,
)
from diffusion.provenance import Provenance
from storage import Job, JobKind, NewJob, NewPicture

PNG: Final = "image/png"
WEBP: Final = "image/webp"
MAX_UPLOAD: Final = 10 * 2**20
MOST_SHOWN: Final = 4096
# A film lies beside the grid, out of the way of the numbers of tiles.
FILM_INDEX: Final = 36
THUMBNAIL: Final = 160
GAP: Final = 8
# What a job says where its files may hold its prompt.
TELLS_WORDS: Final = "words"
_SEEDS: Final = 2**32
# What people asked for that is no parameter, and holds for what is made of the pictures too.
_CARRIED: Final = ("video", "spoiler", "share", "private", "restricted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asked, where, through which interaction."""

    requester_id: int
    guild_id: int | None
    channel_id: int
    interaction_id: int
    locale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a job is made from: params, the words as they are shown, and the details."""

    params: Params
    prompt: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The picture that something is made of: which one of which job, and its file."""

    job: Job
    index: int
    sha256: str


def imagine_job(
    params: Params,
    asked: Asked,
    *,
    prompt: str,
    repeat_index: int = 0,
    details: Mapping[str, Any] | None = None,
) -> NewJob:
    """Make the job of a prompt."""
    new = new_job(JobKind.IMAGINE, params, asked, prompt=prompt, details=details)
    return replace(new, repeat_index=repeat_index)


def new_job(
    kind: JobKind,
    params: Params,
    asked: Asked,
    *,
    prompt: str,
    details: Mapping[str, Any] | None = None,
    origin: Origin | None = None,
) -> NewJob:
    """Make a job of any kind; `origin` is the picture that it is made of."""
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
        parent_id=None if origin is None else origin.job.id,
        parent_index=None if origin is None else origin.index,
        locale=asked.locale,
        details=json.dumps(dict(details or {}), sort_keys=True),
    )


def details_of(job: NewJob) -> dict[str, Any]:
    """Read what a job says beyond its params."""
    found = json.loads(job.details)
    return found if isinstance(found, dict) else {}


def draft_of(job: Job) -> Draft:
    """Return what pictures made of a job's pictures take over from it.

    Shape, negative prompt, stop, tile and film stay; what spreads a grid or steers it from outside
    does not: chaos, morphs, control pictures, masks. An enlarged picture counts as it was before.
    """
    params = replace(
        Params.from_json(job.params),
        variation_seed=None,
        variation_strength=0.0,
        controls=(),
        chaos=0,
        same_seed=False,
        morph=(),
        mask=None,
    )
    details = details_of(job)
    width, height = details.get("size", (params.width, params.height))
    steps = _plain_steps(params, details)
    params = replace(params, steps=steps, width=width, height=height)
    kept: dict[str, Any] = {key: details[key] for key in _CARRIED if key in details}
    return Draft(params=params, prompt=carried(job.prompt), details=kept)


def reroll_job(job: Job, asked: Asked, *, seed: int) -> NewJob:
    """Make the same job again with a new seed, whatever kind of job it was."""
    params = replace(Params.from_json(job.params), seed=seed)
    details = details_of(job)
    kind = job.kind
    if kind in _PLAIN:
        kind = JobKind.REROLL
    # The seed that was typed is not this one's.
    prompt = without_flags(job.prompt, {"seed"})
    new = new_job(kind, params, asked, prompt=prompt, details=details)
    if kind is not JobKind.REROLL and job.parent_id is not None:
        # A zoom is made of the same picture again, and says so.
        return replace(new, parent_id=job.parent_id, parent_index=job.parent_index)
    return replace(new, parent_id=job.id)


def upscale_job(job: Job, asked: Asked, *, index: int) -> NewJob:
    """Make the job that posts one picture alone."""
    params = Params.from_json(job.params)
    details = {key: value for key, value in details_of(job).items() if key in _CARRIED}
    new = new_job(JobKind.UPSCALE, alone(params, index), asked, prompt=job.prompt, details=details)
    return replace(new, parent_id=job.id, parent_index=index)


def continue_job(job: Job, asked: Asked) -> NewJob:
    """Make the job that goes on where one was stopped early: nothing but the stop changes."""
    params = replace(Params.from_json(job.params), stop=100)
    details = details_of(job)
    new = new_job(JobKind.CONTINUE, params, asked, prompt=job.prompt, details=details)
    return replace(new, parent_id=job.id)


def alone(params: Params, index: int) -> Params:
    """Return the params that paint one picture of a grid by itself.

    With `chaos` they do not quite: what shakes a picture is its number in the grid.
    """
    variation_seed = params.variation_seed_of(index - 1)
    return replace(
        params,
        seed=params.seed_of(index - 1) % _SEEDS,
        images=1,
        variation_seed=None if variation_seed is None else variation_seed % _SEEDS,
        chaos=0,
        same_seed=False,
        morph=(),
    )


def without_second_pass(params: Params) -> Params:
    """Return params whose pictures have the size that they name."""
    return replace(params, hires=1.0, hires_strength=DEFAULT_HIRES_STRENGTH)


def file_stem(job: Job) -> str:
    """Return the file name of a job's posted picture, without its ending.

    A single picture is named as what it is: one picture of the grid it comes from.
    """
    if job.kind is JobKind.UPSCALE and job.parent_id is not None:
        return f"easel-{job.parent_id}-{job.parent_index}"
    return f"easel-{job.id}"


def film_name(job: Job) -> str:
    """Return the name of the film of a job's making."""
    return f"easel-{job.id}-film.webp"


def encode_grid(
    job: Job,
    params: Params,
    pictures: Sequence[Image.Image],
    model: ModelInfo | None,
    *,
    images: Sequence[int] | None = None,
) -> list[NewPicture]:
    """Encode the tiles at their own size and the grid enlarged for posting. Blocks.

    `images` are the pictures' numbers (from 0) where not all were kept: each is stored under its
    own, so that its buttons and its seed stay what they were.
    """
    numbers = range(len(pictures)) if images is None else images
    # Enlarged one by one, so that no tile bleeds into its neighbour and U shows the same pixels.
    grid = make_grid([shown(picture, model) for picture in pictures], min(2, len(pictures)))
    encoded = [_encoded(job, 0, 0, params, grid, model)]
    for number, picture in zip(numbers, pictures, strict=True):
        encoded.append(_encoded(job, number + 1, number + 1, params, picture, model))
    return encoded


def encode_single(
    job: Job,
    params: Params,
    tile: Image.Image,
    data: bytes | None,
    model: ModelInfo | None,
) -> list[NewPicture]:
    """Encode a picture enlarged for posting, and keep it as picture 1. Blocks.

    `data` are its bytes where it is stored already; `params` have the picture's own seed.
    """
    own = _encoded(job, 1, 1, params, tile, model)
    if data is not None:
        own = replace(own, data=data)
    return [_encoded(job, 0, 1, params, shown(tile, model), model), own]


def shown(picture: Image.Image, model: ModelInfo | None) -> Image.Image:
    """Enlarge a picture as its model's pictures are shown, but for one that is large anyway."""
    scale = 1 if model is None else model.display_scale
    return enlarge(picture, max(1, min(scale, MOST_SHOWN // max(picture.size))))


def fitting(
    job: Job, data: bytes, model: ModelInfo | None, *, limit: int = MAX_UPLOAD
) -> tuple[str, bytes]:
    """Return name and bytes of a picture as it is posted: PNG, or smaller where Discord asks.

    Blocks. `limit` is the largest file in bytes. The stored original stays as it is. An animation
    is small enough already.
    """
    name = file_stem(job)
    if is_animation(data):
        return f"{name}.webp", data
    if len(data) <= limit:
        return f"{name}.png", data
    picture = own_picture(data)
    # A single picture's params have its own seed already, hence place 1.
    place = 1 if job.kind in (JobKind.UPSCALE, JobKind.ENLARGE) else 0
    provenance = provenance_of(job, place, Params.from_json(job.params), model)
    smaller = encode_webp(picture, provenance)
    if len(smaller) <= limit:
        return f"{name}.webp", smaller
    while len(smaller := encode_jpeg(picture, provenance)) > limit and min(picture.size) > 1:
        picture = picture.resize((picture.width // 2, picture.height // 2))
    return f"{name}.jpg", smaller


def is_animation(data: bytes) -> bool:
    """Tell whether a file of ours is a film; its pictures are PNG."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def encode_preview(step: Step, job: Job, params: Params, model: ModelInfo | None) -> bytes:
    """Encode what a running job looks like, about as large as its result will be. Blocks."""
    picture = step.preview()
    columns = 1 if params.images == 1 else 2
    wanted = min(columns * params.width * (1 if model is None else model.display_scale), 512)
    picture = enlarge(picture, max(1, wanted // picture.width))
    return encode_jpeg(picture, provenance_of(job, 0, params, model), quality=80)


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
    return encode_jpeg(sheet, provenance_of(newest, 0, params, models.get(newest.model)))


def software() -> str:
    """Name this program and its version."""
    try:
        return f"Easel {version('easel')}"
    except PackageNotFoundError:
        return "Easel"


def plain_png(picture: Image.Image) -> bytes:
    """Encode a picture that is kept to paint from, and never shown. Blocks."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def own_picture(data: bytes) -> Image.Image:
    """Open what we stored ourselves, however large."""
    return Image.open(io.BytesIO(data), formats=("PNG",)).convert("RGB")


def _encoded(
    job: Job,
    index: int,
    place: int,
    params: Params,
    picture: Image.Image,
    model: ModelInfo | None,
) -> NewPicture:
    provenance = provenance_of(job, place, params, model)
    data = encode_png(picture, provenance)
    width, height = picture.size
    return NewPicture(
        index=index,
        data=data,
        width=width,
        height=height,
        media_type=PNG,
        phash=phash(picture),
    )


def provenance_of(job: Job, place: int, params: Params, model: ModelInfo | None) -> Provenance:
    """Return what a file of a job says about itself; place 0 is the grid.

    The prompt is left out unless its requester wants it there.
    """
    if details_of(job).get(TELLS_WORDS) is not True:
        params = replace(params, prompt="", negative_prompt="", morph=())
    return Provenance(
        params=params,
        job_id=job.id,
        index=place,
        model_name=params.model if model is None else model.name,
        model_sha256=None if model is None else model.sha256,
        software=software(),
    )


def _plain_steps(params: Params, details: Mapping[str, Any]) -> int:
    """Take back what --quality did to the steps, where the job says so."""
    quality = details.get("quality")
    if not isinstance(quality, int | float) or quality <= 0:
        return params.steps
    return max(1, round(params.steps / quality))


# Kinds whose re-roll is an ordinary painting: the params say everything.
_PLAIN: Final = frozenset(
    {JobKind.IMAGINE, JobKind.VARY, JobKind.REROLL, JobKind.UPSCALE, JobKind.CONTINUE}
)
