"""Prompts offered behind numbers: kept in the database, so that the buttons work for years.

Promises that a press opens the prompt in a modal, where it can be changed before it runs, and that
the modal is understood by whichever run of the bot it comes back to. Paints nothing.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import discord

from bot import texts_ideas
from bot.answers import say
from bot.cards import forgotten
from bot.language import tr
from bot.prompting import RETYPE_ID
from bot.services import Interaction, services_of
from bot.texts_pictures import FIELDS

if TYPE_CHECKING:
    from discord.ui import View

ACTION: Final = "take"
KIND: Final = "ideas"
MOST: Final = 5
_LONGEST: Final = 4000


async def offered(interaction: Interaction, prompts: Sequence[str]) -> "View":
    """Keep prompts and return a button for each, numbered from 1."""
    payload = json.dumps([prompt[:_LONGEST] for prompt in prompts[:MOST]])
    note_id = await services_of(interaction).store.people.note(KIND, interaction.user.id, payload)
    view = discord.ui.View(timeout=None)
    for number in range(1, len(prompts[:MOST]) + 1):
        view.add_item(
            discord.ui.Button(
                label=str(number),
                style=discord.ButtonStyle.primary,
                custom_id=f"v1:{ACTION}:{note_id}:{number}",
            )
        )
    return forgotten(view)


async def take_idea(interaction: Interaction, state: str) -> None:
    """Open one of the prompts in a modal: `state` is `<note>:<number>`."""
    note_id, _, number = state.partition(":")
    note = await services_of(interaction).store.people.read_note(note_id)
    prompts = [] if note is None or note.kind != KIND else json.loads(note.payload)
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= len(prompts)):
        await say(interaction, texts_ideas.idea_gone())
        return
    await interaction.response.send_modal(asking(prompts[int(number) - 1]))


def asking(prompt: str) -> discord.ui.Modal:
    """Return a modal that asks for a prompt, with one typed into it already."""
    modal = discord.ui.Modal(title=tr("Imagine"), timeout=None, custom_id=RETYPE_ID)
    field: discord.ui.TextInput[discord.ui.Modal] = discord.ui.TextInput(
        style=discord.TextStyle.paragraph,
        max_length=_LONGEST,
        custom_id="prompt",
        default=prompt,
    )
    modal.add_item(discord.ui.Label(text=tr(FIELDS["prompt"]), component=field))
    # A view that has ended is not remembered: the answer is read from the raw event.
    modal.stop()
    return modal
