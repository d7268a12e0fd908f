"""/imagine: paint four pictures from words, and from a picture where one is attached."""

from typing import Any

import discord
from discord import app_commands

from bot import texts, texts_ideas, texts_prompting
from bot.acknowledging import thinking
from bot.answers import say
from bot.commands.choices import matching
from bot.enclosed import EnclosedError
from bot.image_prompt import keep_upload
from bot.prompting import run_prompt
from bot.services import Interaction, services_of
from diffusion import PictureError


def imagine() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="imagine", description=texts.COMMANDS["imagine"])
    @app_commands.describe(
        prompt=texts.OPTIONS["prompt"],
        image=texts_prompting.OPTIONS["image"],
        model=texts.OPTIONS["model"],
        preset=texts_prompting.OPTIONS["preset"],
    )
    async def run(
        interaction: Interaction,
        prompt: app_commands.Range[str, 1, 6000],
        image: discord.Attachment | None = None,
        model: str | None = None,
        preset: str | None = None,
    ) -> None:
        kept = None
        if image is not None:
            try:
                keeping = keep_upload(image, services_of(interaction).store)
                kept = await thinking(interaction, keeping)
            except EnclosedError as error:
                await say(interaction, str(error))
                return
            except PictureError as error:
                await say(interaction, texts_ideas.bad_picture(str(error)))
                return
        await run_prompt(interaction, prompt, model=model, preset=preset, image=kept)

    @run.autocomplete("model")
    async def complete_model(
        interaction: Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        names = matching(current, sorted(services_of(interaction).models))
        return [app_commands.Choice(name=name, value=name) for name in names]

    @run.autocomplete("preset")
    async def complete_preset(
        interaction: Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        names = matching(current, sorted(services_of(interaction).settings().presets))
        return [app_commands.Choice(name=name, value=name) for name in names]

    return run
