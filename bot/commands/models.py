"""/models: what this server can paint with."""

from typing import Any

from discord import app_commands

from bot import texts_people
from bot.commands.choices import matching
from bot.list_pages import SEARCH_LIMIT, first_page
from bot.services import Interaction, services_of


def models() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="models", description=texts_people.COMMANDS["models"])
    @app_commands.describe(search=texts_people.OPTIONS["search"])
    async def run(
        interaction: Interaction, search: app_commands.Range[str, 1, SEARCH_LIMIT] | None = None
    ) -> None:
        await first_page(interaction, "models", search)

    @run.autocomplete("search")
    async def complete(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        names = matching(current, sorted(services_of(interaction).models))
        return [app_commands.Choice(name=name, value=name) for name in names]

    return run
