"""Painting a stored picture once more, to see whether every pixel comes back.

Promises that nothing is stored or posted by it, that the picture is painted by the recipe that made
it, from the same params (one tile alone, by its own seed, where its number in the grid plays no
part), and that it waits behind everybody's jobs. Decoding and comparing happen in threads.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from PIL import ImageChops

from bot import jobs
from bot.judged import is_withheld
from bot.making import Making, Order, Painted
from bot.recipes import RECIPES
from bot.services import Services
from diffusion import Params, Step
from diffusion.pictures import withhold
from storage import Job, JobKind, Picture, StorageError

if TYPE_CHECKING:
    from PIL.Image import Image

# What these paint depends on more than one picture's params and seed.
_WHOLE: Final = frozenset({JobKind.GRID, JobKind.MORPH})


class NotPaintableError(Exception):
    """A picture cannot be painted again: its job, its model or its file is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How many pixels there are, and how many came out differently."""

    pixels: int
    differ: int


async def repaint(services: Services, job: Job, index: int) -> Compared:
    """Paint a job's picture again (of a grid its first one) and compare it with what is kept.

    Raises NotPaintableError where something is missing, DiffusionError where the engine fails.
    """
    job, index = await _painted_by(services, job, max(1, index))
    stored = await services.store.pictures(job.id)
    kept = next((each for each in stored if each.index == index), None)
    if kept is None or job.model not in services.models or job.deleted_at is not None:
        raise NotPaintableError(job.id)
    before = await _read(services, kept)
    params = Params.from_json(job.params)
    if not _needs_all(job, params, index):
        params, index = jobs.alone(params, index), 1
    files = await RECIPES[job.kind].make(_making(services, job, params))
    data = next((each.data for each in files if each.index == index), None)
    if data is None:
        raise NotPaintableError(job.id)
    return await asyncio.to_thread(_compare, before, data)


async def _painted_by(services: Services, job: Job, index: int) -> tuple[Job, int]:
    """Return the job that painted a picture: one shown alone was painted by the grid's."""
    if job.kind is not JobKind.UPSCALE or job.parent_id is None:
        return job, index
    grid = await services.store.job(job.parent_id)
    if grid is None or job.parent_index is None:
        raise NotPaintableError(job.id)
    return grid, job.parent_index


def _needs_all(job: Job, params: Params, index: int) -> bool:
    """Say whether a picture is what it is because of the others."""
    return job.kind in _WHOLE or bool(params.morph) or (params.chaos > 0 and index > 1)


async def _read(services: Services, picture: Picture) -> "Image":
    try:
        data = await services.store.read_picture(picture)
    except StorageError as error:
        raise NotPaintableError(picture.job_id) from error
    return await asyncio.to_thread(jobs.own_picture, data)


def _making(services: Services, job: Job, params: Params) -> Making:
    settings = services.settings()

    async def brush(order: Order) -> Painted:
        last: Step | None = None
        steps = services.engine.submit(
            order.params,
            init_image=order.init_image,
            mask=order.mask,
            hints=order.hints,
            share="relax",
            state=order.state,
        )
        async with aclosing(steps):
            async for step in steps:
                last = step
        if last is None or last.pictures is None:
            raise NotPaintableError(job.id)
        pictures = last.pictures
        if is_withheld(settings.moderation, job):
            pictures = withhold(pictures, last.flagged)
        # No state goes back: what is kept of the job stays as it is.
        return Painted(pictures=pictures, images=last.images or tuple(range(len(pictures))))

    return Making(
        job=job,
        params=params,
        model=services.models.get(job.model),
        store=services.store,
        engine=services.engine,
        settings=settings,
        brush=brush,
    )


def _compare(before: "Image", data: bytes) -> Compared:
    """Count the pixels that differ; pictures of two sizes differ in all of them. Blocks."""
    after = jobs.own_picture(data)
    pixels = before.width * before.height
    if before.size != after.size:
        return Compared(pixels=pixels, differ=pixels)
    red, green, blue = ImageChops.difference(before, after).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return Compared(pixels=pixels, differ=pixels - most.histogram()[0])
