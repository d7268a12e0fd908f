"""/blend: two to five pictures mixed."""

import asyncio
from dataclasses import replace
from typing import Any

import discord
from discord import app_commands

from bot import jobs, texts_ideas
from bot.acknowledging import thinking
from bot.answers import asked, say
from bot.enclosed import EnclosedError
from bot.image_prompt import keep_upload, shaped
from bot.mixing import STRENGTH
from bot.services import Interaction, services_of
from bot.single_plan import single_run
from diffusion import Params, PictureError
from storage import JobKind

_SHAPES = [
    app_commands.Choice(name=name, value=value) for value, name in texts_ideas.DIMENSIONS.items()
]
_PICTURE = texts_ideas.OPTIONS["blended"]
# Stands where words belong while the shape is worked out.
_NO_WORDS = "blend"


def blend() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="blend", description=texts_ideas.COMMANDS["blend"])
    @app_commands.describe(
        image1=_PICTURE,
        image2=_PICTURE,
        image3=_PICTURE,
        image4=_PICTURE,
        image5=_PICTURE,
        dimensions=texts_ideas.OPTIONS["dimensions"],
        prompt=texts_ideas.OPTIONS["words"],
    )
    @app_commands.choices(dimensions=_SHAPES)
    async def run(
        interaction: Interaction,
        image1: discord.Attachment,
        image2: discord.Attachment,
        image3: discord.Attachment | None = None,
        image4: discord.Attachment | None = None,
        image5: discord.Attachment | None = None,
        dimensions: str | None = None,
        prompt: app_commands.Range[str, 1, 4000] | None = None,
    ) -> None:
        given = (image1, image2, image3, image4, image5)
        pictures = [each for each in given if each is not None]
        text = prompt or _NO_WORDS
        if dimensions is not None and "--ar" not in text.split():
            text = f"{text} --ar {dimensions}"
        planned = await single_run(interaction, text)
        if planned is None:
            return
        params = planned.params if prompt else replace(planned.params, prompt="")
        kept = await _kept(interaction, pictures, params)
        if kept is None:
            return
        params = replace(params, init_image=kept[0], strength=STRENGTH)
        shown = planned.text if prompt else texts_ideas.blended_of(len(kept))
        details = {**planned.details, "sources": kept}
        new = jobs.new_job(JobKind.BLEND, params, asked(interaction), prompt=shown, details=details)
        await services_of(interaction).intake.accept(interaction, [new])

    return run


async def _kept(
    interaction: Interaction, pictures: list[discord.Attachment], params: Params
) -> list[str] | None:
    """Keep the pictures in the mixture's shape; None when a fault was answered."""
    store = services_of(interaction).store

    async def keep() -> list[str]:
        whole = await asyncio.gather(*(keep_upload(each, store) for each in pictures))
        fitted = [shaped(store, each, params.width, params.height) for each in whole]
        return await asyncio.gather(*fitted)

    try:
        return await thinking(interaction, keep())
    except EnclosedError as error:
        await say(interaction, str(error))
    except PictureError as error:
        await say(interaction, texts_ideas.bad_picture(str(error)))
    return None
