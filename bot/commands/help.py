"""/help: what can be typed and pressed."""

from typing import Any

from discord import app_commands

from bot import texts
from bot.answers import say
from bot.services import Interaction


def help_command() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="help", description=texts.COMMANDS["help"])
    async def run(interaction: Interaction) -> None:
        await say(interaction, texts.help_text())

    return run
