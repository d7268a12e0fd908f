"""How a mixture of pictures is made: their latents mixed, then painted over.

Promises that without words the model's own describer says what the pictures show, where it has
one, and that a job run again gives the same pictures.
"""

import asyncio
from dataclasses import replace
from typing import Final

from bot import jobs
from bot.making import Making, Recipe
from diffusion import AbilityError
from storage import NewPicture

# Near enough to see both pictures in the mixture, far enough to make one thing of them.
STRENGTH: Final = 0.6


async def _blend(making: Making) -> list[NewPicture]:
    params, model = making.params, making.job.model
    pictures = [await making.picture(each) for each in making.details["sources"]]
    mixed = await making.engine.blend(model, pictures)
    if not params.prompt:
        words: list[str] = []
        for picture in pictures:
            try:
                (best, *_) = await making.engine.describe(model, picture, count=1)
            except AbilityError:
                break
            thing = best.partition(",")[0].strip()
            if thing not in words:
                words.append(thing)
        # As conditions of their own: "a and b" would be two things side by side.
        several = len(words) > 1
        prompt = " ".join(f"{thing}::1" if several else thing for thing in words)
        params = replace(params, prompt=prompt)
    painted = await making.paint(params, init_image=mixed)
    return await asyncio.to_thread(
        jobs.encode_grid,
        making.job,
        params,
        painted.pictures,
        making.model,
        images=painted.images,
    )


BLEND: Final = Recipe(make=_blend)
