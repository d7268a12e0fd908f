"""/imagine: paint four pictures from words."""

from typing import Any

from discord import app_commands

from bot import texts
from bot.commands.choices import matching
from bot.prompting import run_prompt
from bot.services import Interaction, services_of


def imagine() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="imagine", description=texts.COMMANDS["imagine"])
    @app_commands.describe(prompt=texts.OPTIONS["prompt"], model=texts.OPTIONS["model"])
    async def run(
        interaction: Interaction,
        prompt: app_commands.Range[str, 1, 6000],
        model: str | None = None,
    ) -> None:
        await run_prompt(interaction, prompt, model=model)

    @run.autocomplete("model")
    async def complete(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        names = matching(current, sorted(services_of(interaction).models))
        return [app_commands.Choice(name=name, value=name) for name in names]

    return run
