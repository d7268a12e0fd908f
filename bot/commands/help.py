"""/help: what can be typed and pressed."""

from typing import Any

from discord import app_commands

from bot import texts
from bot.help_pages import show_help
from bot.services import Interaction


def help_command() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="help", description=texts.COMMANDS["help"])
    async def run(interaction: Interaction) -> None:
        await show_help(interaction)

    return run
