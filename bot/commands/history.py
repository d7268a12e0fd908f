"""/history: earlier pictures, page by page."""

from typing import Any

import discord
from discord import app_commands

from bot import texts, texts_people
from bot.escape import one_line
from bot.history_pages import SEARCH_LIMIT, Asked, show_page
from bot.services import Interaction


def history() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="history", description=texts.COMMANDS["history"])
    @app_commands.describe(
        user=texts.OPTIONS["user"],
        search=texts.OPTIONS["search"],
        favourites=texts_people.OPTIONS["favourites"],
    )
    async def run(
        interaction: Interaction,
        user: discord.User | None = None,
        search: app_commands.Range[str, 1, SEARCH_LIMIT] | None = None,
        favourites: bool = False,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        asked = Asked(
            user_id=0 if user is None else user.id,
            page=0,
            search=one_line(search or "", SEARCH_LIMIT),
            favourites=favourites,
        )
        await show_page(interaction, asked)

    return run
