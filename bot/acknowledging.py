"""The first answer to an interaction, within Discord's three seconds, and which message it became.

Promises that people see in time that the bot thinks, however many things keep it waiting one after
the other; that what is for one person's eyes stays so even then; and that a lost reply to an answer
loses neither the answer nor the id of its message, if Discord can still be asked.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
import discord

from bot.arrivals import arrived
from bot.services import Interaction

if TYPE_CHECKING:
    from discord.ui import View

# Discord takes the first answer within three seconds; what comes later is lost anyway.
ANSWER_SECONDS: Final = 4.0
# So long after it came people see that the bot thinks, and the answer may take its time.
THINK_SECONDS: Final = 1.5
# What is noted in an interaction: that everybody sees that the bot thinks; and that this was told,
# but not whether it was heard.
_THINKING: Final = "thinking"
_PERHAPS: Final = "perhaps thinking"
_LOST: Final = (discord.HTTPException, aiohttp.ClientError, OSError, RuntimeError)

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Answer(Enum):
    """What an interaction will be answered with: Discord asks for it when the bot thinks."""

    MESSAGE = "a message that everybody sees"
    EPHEMERAL = "a message that the asker alone sees"
    EDIT = "an edit of the message that was pressed"


async def thinking(
    interaction: Interaction, work: Coroutine[Any, Any, _T], answer: Answer = Answer.MESSAGE
) -> _T:
    """Do something before an answer that may take long, and tell Discord in time that one comes.

    The time counts from the interaction's arrival: several such works share it.
    """
    left = arrived(interaction) + THINK_SECONDS - time.monotonic()
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=max(0.0, left))
        if not task.done() and not interaction.response.is_done():
            interaction.extras[_PERHAPS] = True
            with suppress(*_LOST):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await interaction.response.defer(
                        thinking=answer is not Answer.EDIT, ephemeral=answer is Answer.EPHEMERAL
                    )
                interaction.extras[_PERHAPS] = False
                interaction.extras[_THINKING] = answer is Answer.MESSAGE
        return await task
    finally:
        task.cancel()


async def respond(
    interaction: Interaction,
    first: Callable[..., Awaitable[object]],
    later: Callable[..., Awaitable[object]],
    **content: Any,  # noqa: ANN401 - what Discord's methods take
) -> None:
    """Answer by the method for a first answer or by that for what comes later, as is due."""
    if interaction.response.is_done():
        await later(**content)
        return
    if interaction.extras.pop(_PERHAPS, False):
        with suppress(discord.NotFound):
            await later(**content)
            return
    await first(**content)


async def stop_thinking(interaction: Interaction) -> None:
    """Take back that the bot thinks, where everybody sees it; nothing otherwise.

    The first follow-up fills that message, and with it everybody's eyes; a later one has its own.
    """
    if interaction.extras.pop(_THINKING, False):
        with suppress(*_LOST):
            async with asyncio.timeout(ANSWER_SECONDS):
                await interaction.delete_original_response()


async def acknowledge(interaction: Interaction, content: str, view: "View") -> int | None:
    """Answer an interaction with a message; return the message's id if that is known."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            if interaction.extras.pop(_THINKING, False):
                return await _fill(interaction, content, view)
            if interaction.extras.pop(_PERHAPS, False):
                with suppress(discord.NotFound):
                    return await _fill(interaction, content, view)
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


async def _fill(interaction: Interaction, content: str, view: "View") -> int:
    """Put the answer where everybody sees that the bot thinks; return that message's id."""
    edited = await interaction.edit_original_response(
        content=content, view=view, allowed_mentions=discord.AllowedMentions.none()
    )
    return edited.id


async def _answer_of(interaction: Interaction) -> int | None:
    """Ask which message an interaction was answered with, when the reply to that got lost."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return (await interaction.original_response()).id
    except (discord.DiscordException, aiohttp.ClientError, OSError, RuntimeError):
        return None
