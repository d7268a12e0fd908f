"""/settings: what I prefer, and, for those who manage the server, what holds for everybody."""

from typing import Any

from discord import app_commands

from bot import texts_people
from bot.answers import say
from bot.preferences import Origin
from bot.services import Interaction
from bot.settings_panel import panel


def settings() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="settings", description=texts_people.COMMANDS["settings"])
    async def run(interaction: Interaction) -> None:
        text, view = await panel(interaction, Origin.USER)
        await say(interaction, text, view=view)

    return run
