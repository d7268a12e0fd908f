"""/describe: four prompts for a picture."""

from typing import Any

import discord
from discord import app_commands

from bot import texts, texts_ideas
from bot.commands.choices import complete_models
from bot.describing import describe_attachment
from bot.services import Interaction


def describe() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="describe", description=texts_ideas.COMMANDS["describe"])
    @app_commands.describe(image=texts_ideas.OPTIONS["picture"], model=texts.OPTIONS["model"])
    @app_commands.autocomplete(model=complete_models)
    async def run(
        interaction: Interaction, image: discord.Attachment, model: str | None = None
    ) -> None:
        await describe_attachment(interaction, image, model)

    return run
