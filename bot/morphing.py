"""How a film between prompts is made: its frames painted as one job, then there and back again.

Promises a film that begins and ends with the first prompt, and its frames stored as single
pictures beside it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bot import films, jobs
from bot.making import Making, Recipe
from diffusion import ModelInfo, Params
from storage import Job, NewPicture

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_FRAMES: Final = 36


async def _morph(making: Making) -> list[NewPicture]:
    painted = await making.paint(making.params)
    return await asyncio.to_thread(
        _encoded, making.job, making.params, painted.pictures, making.model
    )


def _encoded(
    job: Job, params: Params, pictures: "Sequence[Image]", model: ModelInfo | None
) -> list[NewPicture]:
    there = [jobs.shown(picture, model) for picture in pictures]
    frames = [*there, *reversed(there[1:-1])]
    singles = jobs.encode_grid(job, params, pictures, model)[1:]
    films_made = films.film_of(job, params, frames, model)
    if films_made:
        return [replace(films_made[0], index=0), *singles]
    # No film of this length is small enough for Discord: its frames side by side are.
    return jobs.encode_grid(job, params, pictures, model)


MORPH: Final = Recipe(make=_morph)
