"""From a finished job's stored files to the one message that shows them.

Promises that the same job makes the same message whenever it is asked for, that a file is as small
as the place it goes to wants it, and that what must be hidden is hidden. Sends nothing.
"""

import asyncio
import logging
from collections.abc import Sequence

from bot import jobs, judged, texts_discord
from bot.cards import under_result
from bot.patience import until_stored
from bot.talk import Attachment, Letter
from diffusion import ModelInfo, Params
from storage import Job, Picture, StorageError, Store

log = logging.getLogger(__name__)


async def letter_of(
    store: Store, job: Job, model: ModelInfo | None, *, limit: int | None = None
) -> Letter | None:
    """Return what a job's message says; None when its picture cannot be had.

    `limit` is the largest file in bytes, where that of the job was too large.
    """
    pictures = await until_stored(lambda: store.pictures(job.id))
    grid = next((picture for picture in pictures if picture.index == 0), None)
    if grid is None:
        return None
    try:
        data = await store.read_picture(grid)
    except StorageError:
        log.exception("job %s: its picture cannot be read", job.id)
        return None
    most, hidden = limit or largest_file(job), judged.is_hidden(grid, job)
    name, data = await asyncio.to_thread(jobs.fitting, job, data, model, limit=most)
    tiles = tiles_of(job, pictures)
    picture = Attachment(
        name=judged.posted_name(name, hidden=hidden),
        data=data,
        alt=texts_discord.alt_text(job, tiles),
    )
    view = under_result(job, tiles, can_continue=await can_continue(store, job))
    # What was too large once is sent again without what only lies beside it.
    others = await _film(store, job, pictures, hidden=hidden) if limit is None else ()
    content = texts_discord.final(job)
    return Letter(content=content, view=view, picture=picture, others=others)


async def can_continue(store: Store, job: Job) -> bool:
    """Tell whether a job was stopped early and left what it can go on from."""
    if Params.from_json(job.params).stop == 100:
        return False
    return await until_stored(lambda: store.state(job.id)) is not None


def largest_file(job: Job) -> int:
    """Return the size of the largest file that Discord takes where a job was asked for."""
    limit = jobs.details_of(job).get("limit")
    return limit if isinstance(limit, int) and limit > 0 else jobs.MAX_UPLOAD


def tiles_of(job: Job, pictures: Sequence[Picture]) -> Sequence[int] | None:
    """Return the numbers of a job's single pictures where not all were kept; None for all."""
    numbers = [each.index for each in pictures if 1 <= each.index <= job.images]
    return numbers if 0 < len(numbers) < job.images else None


async def _film(
    store: Store, job: Job, pictures: Sequence[Picture], *, hidden: bool
) -> tuple[Attachment, ...]:
    """Return the film of a job's making, if there is one; it is worth no failure."""
    film = next((each for each in pictures if each.index == jobs.FILM_INDEX), None)
    if film is None or film.media_type.partition(";")[0] != jobs.WEBP:
        return ()
    try:
        data = await store.read_picture(film)
    except StorageError:
        log.exception("job %s: its film cannot be read", job.id)
        return ()
    name = judged.posted_name(jobs.film_name(job), hidden=hidden)
    return (Attachment(name=name, data=data, alt=texts_discord.film_text(job)),)
