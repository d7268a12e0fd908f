"""/random: a prompt to begin with, and a button that paints it."""

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from bot import texts_people
from bot.acknowledging import Answer, thinking
from bot.answers import rewrite, say
from bot.cards import forgotten
from bot.ideas import MAX_SEED, NOTHING, think, vocabulary_of
from bot.preferences import Name, preferred
from bot.prompting import run_prompt
from bot.services import Interaction, services_of
from bot.wildcards import load_wildcards

if TYPE_CHECKING:
    from discord.ui import View

PAINT: Final = "idea"
AGAIN: Final = "think"
_KIND: Final = "idea"


def random_command() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="random", description=texts_people.COMMANDS["random"])
    @app_commands.describe(seed=texts_people.OPTIONS["seed"])
    async def run(
        interaction: Interaction, seed: app_commands.Range[int, 0, MAX_SEED] | None = None
    ) -> None:
        # 0 is a seed.
        drawn = secrets.randbits(32) if seed is None else seed
        idea = _idea(interaction, drawn)
        text, view = await thinking(interaction, idea, Answer.EPHEMERAL)
        await say(interaction, text, view=view)

    return run


async def think_again(interaction: Interaction, state: str) -> None:
    """Another one: think of another prompt, in the same message."""
    idea = _idea(interaction, secrets.randbits(32))
    text, view = await thinking(interaction, idea, Answer.EDIT)
    await rewrite(interaction, text, view)


async def paint_idea(interaction: Interaction, state: str) -> None:
    """Paint it: run the prompt that was kept with the button."""
    note = await services_of(interaction).store.people.read_note(state.partition(":")[0])
    if note is None or note.kind != _KIND:
        await say(interaction, texts_people.idea_forgotten())
        return
    await run_prompt(interaction, note.payload, model=None)


async def _idea(interaction: Interaction, seed: int) -> "tuple[str, View]":
    services = services_of(interaction)
    holds = await preferred(
        services.store,
        services.settings(),
        services.models,
        user_id=interaction.user.id,
        channel_id=interaction.channel_id,
        guild_id=interaction.guild_id,
    )
    info = services.models.get(holds[Name.MODEL])
    words = NOTHING if info is None else await asyncio.to_thread(vocabulary_of, info)
    lists = await asyncio.to_thread(load_wildcards, services.settings().defaults.wildcards)
    prompt = think(seed, words, lists)
    # The prompt itself is kept: a later model may have learned other words.
    note_id = await services.store.people.note(_KIND, interaction.user.id, prompt)
    view = discord.ui.View(timeout=None)
    view.add_item(
        discord.ui.Button(
            label=texts_people.paint_it(),
            style=discord.ButtonStyle.success,
            custom_id=f"v1:{PAINT}:{note_id}:0",
        )
    )
    view.add_item(
        discord.ui.Button(label=texts_people.another(), custom_id=f"v1:{AGAIN}:{note_id}:0")
    )
    return texts_people.idea(prompt, seed), forgotten(view)
