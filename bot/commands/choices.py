"""What options offer while somebody types."""

from collections.abc import Iterable
from typing import Final

from discord import app_commands

from bot.services import Interaction, services_of

MOST_CHOICES: Final = 25


def matching(typed: str, names: Iterable[str]) -> list[str]:
    """Return the names that contain what was typed, those that begin with it first."""
    wanted = typed.strip().casefold()
    found = [name for name in names if wanted in name.casefold()]
    found.sort(key=lambda name: not name.casefold().startswith(wanted))
    return found[:MOST_CHOICES]


async def complete_models(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
    """Offer the models of this server."""
    names = matching(current, sorted(services_of(interaction).models))
    return [app_commands.Choice(name=name, value=name) for name in names]
