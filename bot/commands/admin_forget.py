"""/admin forget: what /forget-me does, for somebody who cannot ask the bot themselves.

For requests that come by mail and for accounts that Discord has deleted. Promises that only an
admin named in the settings can do it, since it reaches beyond every server, and that this is asked
again when the button is pressed, wherever that came from.
"""

import logging
import re
from typing import Any, Final

import discord
from discord import app_commands

from bot import texts, texts_community, texts_papers
from bot.answers import say
from bot.cards import forgotten
from bot.commands.forget_me import forget_person
from bot.moderation import is_admin
from bot.services import Interaction
from storage import LARGEST_ID

ACTION: Final = "forgetone"

log = logging.getLogger(__name__)


def admin_forget() -> app_commands.Command[Any, ..., None]:
    """Make the command of the group /admin."""

    @app_commands.command(name="forget", description=texts_community.COMMANDS["forget"])
    @app_commands.describe(user=texts_community.OPTIONS["user"])
    async def run(interaction: Interaction, user: discord.User) -> None:
        if not is_admin(interaction):
            await say(interaction, texts_community.admins_only())
            return
        view = discord.ui.View(timeout=None)
        view.add_item(
            discord.ui.Button(
                label=texts_papers.forget_them_yes(),
                style=discord.ButtonStyle.danger,
                custom_id=f"v1:{ACTION}:{user.id}",
            )
        )
        await say(interaction, texts_papers.forget_them_asked(user.id), view=forgotten(view))

    return run


async def forget_one(interaction: Interaction, state: str) -> None:
    """Yes: everything about this person goes."""
    if not is_admin(interaction):
        await say(interaction, texts_community.admins_only())
        return
    if re.fullmatch(r"[1-9][0-9]{0,18}", state, re.ASCII) is None or int(state) > LARGEST_ID:
        await say(interaction, texts.unknown_button())
        return
    log.warning("admin %d has somebody forgotten", interaction.user.id)
    await forget_person(interaction, int(state))
