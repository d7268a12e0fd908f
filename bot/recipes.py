"""How the pictures of each kind of job are made: one table, from the kind to its recipe.

Promises that every kind has a recipe, that a recipe run again gives the same pictures, and that old
pixels come back exactly where a job repainted only a part. Knows no Discord. A further kind is one
line in `RECIPES` and a recipe in a file of its own, made of what `bot.making` offers.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bot import jobs
from bot.canvases import fitted
from bot.enlarging import enlarged
from bot.films import film_of
from bot.making import Making, Painted, Recipe, SourceGoneError
from bot.mixing import BLEND
from bot.morphing import MORPH
from bot.patience import until_stored
from bot.sheets import GRID
from bot.trusted_addons import vouched
from diffusion import Params, ParamsError
from diffusion.pictures import make_grid
from storage import JobKind, NewJob, NewPicture

if TYPE_CHECKING:
    from PIL.Image import Image


async def _paint(making: Making) -> list[NewPicture]:
    """Paint what the params say, from whatever they start."""
    params, job = making.params, making.job
    source, mask = await making.sources(params)
    film = bool(making.details.get("video"))
    painted = await _painted(making, params, source, mask, film=film)
    pictures = painted.pictures
    if source is not None and mask is not None:
        pictures = await asyncio.to_thread(_old_pixels_back, source, mask, pictures)
    state = painted.state
    if state is not None:
        await until_stored(lambda: making.store.save_state(job.id, state))
    files = await asyncio.to_thread(
        jobs.encode_grid, job, params, pictures, making.model, images=painted.images
    )
    if painted.frames:
        frames = [*painted.frames, make_grid(pictures, min(2, len(pictures)))]
        files += await asyncio.to_thread(film_of, job, params, frames, making.model)
    return files


async def _painted(
    making: Making, params: Params, source: "Image | None", mask: "Image | None", *, film: bool
) -> Painted:
    state = await _state(making)
    if state is not None:
        try:
            return await making.paint(params, init_image=source, mask=mask, state=state, film=film)
        except ParamsError as error:
            if error.field != "state":
                raise
    # From the beginning it is the same picture; it only takes longer.
    return await making.paint(params, init_image=source, mask=mask, film=film)


async def _state(making: Making) -> bytes | None:
    job = making.job
    if job.kind is not JobKind.CONTINUE or job.parent_id is None:
        return None
    return await making.store.state(job.parent_id)


def _old_pixels_back(
    source: "Image", mask: "Image", pictures: "Sequence[Image]"
) -> "tuple[Image, ...]":
    from diffusion.canvas import paste_back

    return tuple(paste_back(source, picture, mask) for picture in pictures)


async def _cut_out(making: Making) -> list[NewPicture]:
    """Take one picture of a grid as it is stored, and show it alone."""
    job = making.job
    stored = await making.store.pictures(job.parent_id or "")
    found = next((item for item in stored if item.index == job.parent_index), None)
    if found is None:
        raise SourceGoneError(f"picture {job.parent_index} of {job.parent_id} is not kept")
    data = await making.file(found.sha256)
    tile = await asyncio.to_thread(jobs.own_picture, data)
    return await asyncio.to_thread(jobs.encode_single, job, making.params, tile, data, making.model)


async def _enlarge(making: Making) -> list[NewPicture]:
    """Enlarge a picture; Creative paints over it afterwards, at the larger size."""
    job, params = making.job, making.params
    (sha256,) = making.details["sources"]
    tile = await making.picture(sha256)
    larger = await asyncio.to_thread(
        enlarged,
        tile,
        int(making.details["factor"]),
        upscaler=making.settings.upscale.path,
        device="cuda" if making.engine.device.startswith("cuda") else "cpu",
        vouch=partial(vouched, making.settings, ""),
    )
    if not _is_subtle(job):
        painted = await making.paint(params, init_image=larger)
        larger = await asyncio.to_thread(fitted, painted.pictures[0], *larger.size)
    return await asyncio.to_thread(jobs.encode_single, job, params, larger, None, making.model)


def _is_subtle(job: NewJob) -> bool:
    return bool(jobs.details_of(job).get("how") != "creative")


PAINTED: Final = Recipe(make=_paint)
RECIPES: Final[Mapping[JobKind, Recipe]] = MappingProxyType(
    {
        JobKind.IMAGINE: PAINTED,
        JobKind.VARY: PAINTED,
        JobKind.REROLL: PAINTED,
        JobKind.UPSCALE: Recipe(make=_cut_out, express=lambda _: True),
        JobKind.ENLARGE: Recipe(make=_enlarge, express=_is_subtle, heavy=True),
        JobKind.ZOOM: PAINTED,
        JobKind.PAN: PAINTED,
        JobKind.SQUARE: PAINTED,
        JobKind.REGION: PAINTED,
        JobKind.BLEND: BLEND,
        JobKind.MORPH: MORPH,
        JobKind.GRID: GRID,
        JobKind.CONTINUE: PAINTED,
    }
)


def is_express(job: NewJob) -> bool:
    """Say whether a job needs no device, and so no place in the queue."""
    return RECIPES[job.kind].express(job)
