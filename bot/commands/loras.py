"""/loras: the LoRAs and embeddings that a prompt may name."""

from typing import Any

from discord import app_commands

from bot import texts_people
from bot.list_pages import SEARCH_LIMIT, first_page
from bot.services import Interaction


def loras() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="loras", description=texts_people.COMMANDS["loras"])
    @app_commands.describe(search=texts_people.OPTIONS["search"])
    async def run(
        interaction: Interaction, search: app_commands.Range[str, 1, SEARCH_LIMIT] | None = None
    ) -> None:
        await first_page(interaction, "loras", search)

    return run
