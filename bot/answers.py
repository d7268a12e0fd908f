"""Answers that only the presser sees, and who that is.

Promises that a lost interaction is logged and forgotten: nothing a person gets this way is worth an
error, what matters travels as a message of its own.
"""

import logging
from typing import TYPE_CHECKING

import aiohttp
import discord

from bot.acknowledging import respond, stop_thinking
from bot.jobs import Asked
from bot.permissions import Action, Actor, Verdict, judge
from bot.services import Interaction, services_of
from storage import Job

if TYPE_CHECKING:
    from discord.ui import View

log = logging.getLogger(__name__)


async def say(
    interaction: Interaction,
    text: str,
    *,
    view: "View | None" = None,
    embed: discord.Embed | None = None,
) -> None:
    """Answer so that only the person who asked sees it."""
    given_view = discord.utils.MISSING if view is None else view
    given_embed = discord.utils.MISSING if embed is None else embed
    await stop_thinking(interaction)
    try:
        await respond(
            interaction,
            interaction.response.send_message,
            interaction.followup.send,
            content=text,
            view=given_view,
            embed=given_embed,
            ephemeral=True,
            allowed_mentions=discord.AllowedMentions.none(),
            # Links need no previews; the flag would hide an embed of our own as well.
            suppress_embeds=embed is None,
        )
    # A session that was closed under a request raises a bare RuntimeError.
    except (discord.HTTPException, aiohttp.ClientError, OSError, RuntimeError) as error:
        log.info("an answer to interaction %d was lost: %s", interaction.id, error)


async def rewrite(interaction: Interaction, text: str, view: "View | None") -> None:
    """Put something else into the message that was pressed."""
    await respond(
        interaction,
        interaction.response.edit_message,
        interaction.edit_original_response,
        content=text,
        view=view,
        allowed_mentions=discord.AllowedMentions.none(),
    )


def asked(interaction: Interaction) -> Asked:
    """Say who asked, where, and through what."""
    return Asked(
        requester_id=interaction.user.id,
        guild_id=interaction.guild_id,
        channel_id=interaction.channel_id or 0,
        interaction_id=interaction.id,
        locale=str(interaction.locale),
    )


def actor(interaction: Interaction) -> Actor:
    """Say who asks, with the permissions that Discord itself sent.

    The bot's admins are moderators wherever they are members.
    """
    in_guild = interaction.guild_id is not None
    is_admin = interaction.user.id in services_of(interaction).settings().moderation.admins
    return Actor(
        user_id=interaction.user.id,
        guild_id=interaction.guild_id,
        manage_messages=in_guild and (is_admin or interaction.permissions.manage_messages),
    )


def verdict(interaction: Interaction, action: Action, job: Job) -> Verdict:
    """Say whether this person may do this to this job, here."""
    return judge(
        action,
        actor(interaction),
        requester_id=job.requester_id,
        guild_id=job.guild_id,
        press=services_of(interaction).settings().moderation.press,
    )
