"""/forget-me: after one question, nothing is kept about a person any more.

Promises that the store forgets first and at once, whatever becomes of the messages, which go as far
as Discord lets them; that whoever presses loses their own data and nobody else's, wherever the
button came from; and that what was just being sent is forgotten as soon as it has arrived.
"""

import logging
from typing import Any, Final

import discord
from discord import app_commands

from bot import texts_papers, texts_people
from bot.answers import say
from bot.cards import forgotten
from bot.services import Interaction, services_of

ACTION: Final = "forget"

log = logging.getLogger(__name__)


def forget_me() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="forget-me", description=texts_people.COMMANDS["forget-me"])
    async def run(interaction: Interaction) -> None:
        view = discord.ui.View(timeout=None)
        view.add_item(
            discord.ui.Button(
                label=texts_papers.forget_yes(),
                style=discord.ButtonStyle.danger,
                custom_id=f"v1:{ACTION}:yes",
            )
        )
        await say(interaction, texts_papers.forget_asked(), view=forgotten(view))

    return run


async def forget_for_good(interaction: Interaction, state: str) -> None:
    """Yes: everything about the presser goes."""
    await forget_person(interaction, interaction.user.id)


async def forget_person(interaction: Interaction, user_id: int) -> None:
    """Forget somebody, and tell the presser of a button how far it is and how it ended."""
    remover = services_of(interaction).remover
    await interaction.response.defer()
    gone = await remover.forget(user_id)
    log.info("somebody was forgotten: %d jobs, %d files", gone.jobs, gone.files)
    await _tell(interaction, texts_papers.forgetting(gone, len(gone.messages)))
    removed = await remover.remove(gone.messages)
    still = await remover.forget_rest(user_id)
    later = len(await remover.waiting(gone.messages))
    text = texts_papers.forgotten_all(
        is_own=user_id == interaction.user.id,
        removed=removed,
        messages=len(gone.messages),
        later=later,
        still=still,
    )
    await _tell(interaction, text)


async def _tell(interaction: Interaction, text: str) -> None:
    try:
        await interaction.edit_original_response(
            content=text, view=None, allowed_mentions=discord.AllowedMentions.none()
        )
    except discord.HTTPException as error:
        log.info("an answer to interaction %d was lost: %s", interaction.id, error)
