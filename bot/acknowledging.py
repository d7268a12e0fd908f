"""The first answer to an interaction, within Discord's three seconds, and which message it became.

Promises that people see that the bot thinks where the store keeps it waiting, and that a lost reply
to an answer loses neither the answer nor the id of its message, if Discord can still be asked.
"""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
import discord

from bot.services import Interaction

if TYPE_CHECKING:
    from discord.ui import View

# Discord takes the first answer within three seconds; what comes later is lost anyway.
ANSWER_SECONDS: Final = 4.0
# After so long people see that the bot thinks, and the answer may take its time.
THINK_SECONDS: Final = 1.5
_THINKING: Final = discord.InteractionResponseType.deferred_channel_message

log = logging.getLogger(__name__)
_T = TypeVar("_T")


async def thinking(interaction: Interaction, work: Coroutine[Any, Any, _T]) -> _T:
    """Do something before an answer that may take long, and tell Discord in time that one comes."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=THINK_SECONDS)
        if not task.done() and not interaction.response.is_done():
            with suppress(discord.HTTPException, aiohttp.ClientError, OSError, RuntimeError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await interaction.response.defer(thinking=True)
        return await task
    finally:
        task.cancel()


async def acknowledge(interaction: Interaction, content: str, view: "View") -> int | None:
    """Answer an interaction with a message; return the message's id if that is known."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            if interaction.response.type is _THINKING:
                edited = await interaction.edit_original_response(
                    content=content,
                    view=view,
                    allowed_mentions=discord.AllowedMentions.none(),
                )
                return edited.id
            answer = await interaction.response.send_message(
                content,
                view=view,
                allowed_mentions=discord.AllowedMentions.none(),
                suppress_embeds=True,
            )
        return answer.message_id
    except discord.InteractionResponded:
        return None
    except discord.HTTPException as error:
        log.info("interaction %d could not be answered: %s", interaction.id, error)
        if error.status < 500:
            return None
    # A session that was closed under a request raises a bare RuntimeError.
    except (aiohttp.ClientError, OSError, RuntimeError) as error:
        log.info("interaction %d: the answer may be lost: %s", interaction.id, error)
    return await _answer_of(interaction)


async def _answer_of(interaction: Interaction) -> int | None:
    """Ask which message an interaction was answered with, when the reply to that got lost."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return (await interaction.original_response()).id
    except (discord.DiscordException, aiohttp.ClientError, OSError, RuntimeError):
        return None
