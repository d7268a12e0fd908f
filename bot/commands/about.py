"""/about: what this is, under which licence, and whose drawings its models learned from."""

from typing import Any

from discord import app_commands

from bot import jobs, texts
from bot.answers import say
from bot.services import Interaction, services_of


def about() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="about", description=texts.COMMANDS["about"])
    async def run(interaction: Interaction) -> None:
        models = services_of(interaction).models
        credits = {name: model.credits for name, model in models.items()}
        describers = {name: model.describer_credits for name, model in models.items()}
        await say(interaction, texts.about(jobs.software(), credits, describers))

    return run
