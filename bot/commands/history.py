"""/history: earlier pictures, page by page."""

from typing import Any

import discord
from discord import app_commands

from bot import texts
from bot.escape import one_line
from bot.history_pages import SEARCH_LIMIT, show_page
from bot.services import Interaction


def history() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="history", description=texts.COMMANDS["history"])
    @app_commands.describe(user=texts.OPTIONS["user"], search=texts.OPTIONS["search"])
    async def run(
        interaction: Interaction,
        user: discord.User | None = None,
        search: app_commands.Range[str, 1, SEARCH_LIMIT] | None = None,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        words = one_line(search or "", SEARCH_LIMIT)
        await show_page(interaction, 0 if user is None else user.id, 0, words)

    return run
