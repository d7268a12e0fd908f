"""Speaking in channels by the bot's own token: edits and messages, told apart by how they fail.

Promises that a call ends in one of three ways: it was done, it can never be done (`Refused`, with
the reason), or it may be tried again (`Passing`). Works on channels that the gateway has not told
us about. Never uses an interaction's token, which dies after fifteen minutes.
"""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord

from bot.governor import Governor

if TYPE_CHECKING:
    from discord.ui import View

ONE_TRY: float = 60.0
# Bytes a second; at this pace 12 MB take the five minutes after which aiohttp gives up itself.
SLOWEST_LINE: Final = 40_000
MOST_HISTORY: Final = 2000
UNKNOWN_MESSAGE: Final = 10008
TOO_OLD_TO_EDIT: Final = 30046
TOO_LARGE: Final = 40005
ARCHIVED: Final = 50083


class Reason(StrEnum):
    """Why something can never be done."""

    NO_MESSAGE = "no_message"
    NO_PLACE = "no_place"
    TOO_LARGE = "too_large"
    INVALID = "invalid"


class Refused(Exception):  # noqa: N818 - an outcome, named as one
    """Discord said no, for good."""

    def __init__(self, reason: Reason, error: discord.HTTPException) -> None:
        """Keep the reason and what Discord said."""
        super().__init__(f"{reason}: {error}")
        self.reason = reason


class Passing(Exception):  # noqa: N818 - an outcome, named as one
    """The network or Discord failed for now; it may or may not have been done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A picture to send, as bytes, so that a second try can send it again."""

    name: str
    data: bytes
    alt: str

    def file(self) -> discord.File:
        """Return a fresh file for one try."""
        return discord.File(io.BytesIO(self.data), self.name, description=self.alt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a message says; `others` are files beside its picture."""

    content: str
    view: "View | None" = None
    picture: Attachment | None = None
    ping: int | None = None
    others: tuple[Attachment, ...] = ()

    def files(self) -> list[discord.File]:
        """Return fresh files for one try."""
        first = () if self.picture is None else (self.picture,)
        return [each.file() for each in (*first, *self.others)]

    @property
    def mentions(self) -> discord.AllowedMentions:
        """Whom the message may ping: at most the requester."""
        if self.ping is None:
            return discord.AllowedMentions.none()
        return discord.AllowedMentions(
            everyone=False, roles=False, replied_user=False, users=[discord.Object(self.ping)]
        )


class Talk:
    """The bot's voice."""

    def __init__(self, client: discord.Client, governor: Governor | None = None) -> None:
        """Speak through a client; `governor` hears its answers, and spaces what can wait."""
        self._client = client
        self.governor = governor or Governor()

    @property
    def own_id(self) -> int:
        """The bot's own user id; 0 before login."""
        return self._client.user.id if self._client.user is not None else 0

    def channel(self, channel_id: int) -> discord.PartialMessageable:
        """Return a channel by its id, known or not."""
        return self._client.get_partial_messageable(channel_id)

    async def edit(self, channel_id: int, message_id: int, letter: Letter) -> None:
        """Make a message of ours say this and nothing else."""
        message = self.channel(channel_id).get_partial_message(message_id)
        async with outcomes(seconds=patience(letter)), opened(letter) as files:
            await message.edit(
                content=letter.content,
                attachments=files,
                view=letter.view,
                allowed_mentions=letter.mentions,
            )

    async def send(
        self, channel_id: int, letter: Letter, *, nonce: str, reply_to: int | None = None
    ) -> int:
        """Send a message; the same nonce within two minutes is the same message. Return its id."""
        channel = self.channel(channel_id)
        # None means "none" at run time, but discord.py's annotations have no word for it.
        reference: Any = None
        view: Any = letter.view
        if reply_to is not None:
            reference = discord.MessageReference(
                message_id=reply_to, channel_id=channel_id, fail_if_not_exists=False
            )
        async with outcomes(seconds=patience(letter)), opened(letter) as files:
            some: Any = files or None
            message = await channel.send(
                letter.content,
                files=some,
                view=view,
                nonce=nonce,
                reference=reference,
                allowed_mentions=letter.mentions,
                suppress_embeds=True,
            )
        return message.id

    async def fetch(self, channel_id: int, message_id: int) -> discord.Message:
        """Return a message as it is now."""
        async with outcomes():
            return await self.channel(channel_id).fetch_message(message_id)

    async def since(
        self, channel_id: int, moment: datetime, *, newest_first: bool = False
    ) -> list[discord.Message]:
        """Return the first or the newest `MOST_HISTORY` of a channel's messages since a moment.

        They come in the order in which they were looked at: the oldest or the newest first.
        """
        history = self.channel(channel_id).history(
            after=moment, oldest_first=not newest_first, limit=MOST_HISTORY
        )
        async with outcomes(seconds=5 * ONE_TRY):
            return [message async for message in history]

    async def delete(self, channel_id: int, message_id: int) -> None:
        """Delete a message of ours."""
        async with outcomes():
            await self.channel(channel_id).get_partial_message(message_id).delete()

    async def direct(self, user_id: int) -> int:
        """Return the id of the channel between a person and the bot."""
        async with outcomes():
            return (await self._client.create_dm(discord.Object(user_id))).id


@contextlib.asynccontextmanager
async def opened(letter: Letter) -> AsyncIterator[list[discord.File]]:
    """Give a letter's files for one try, and let go of their bytes after it."""
    files = letter.files()
    try:
        yield files
    finally:
        for file in files:
            # discord.py leaves each file holding itself, whole, until the collector's next long
            # round: with large pictures that is all the memory there is.
            io.BytesIO.close(file.fp)


def patience(letter: Letter) -> float:
    """Return how many seconds one try to send a letter may take: its files need time as well."""
    files = (letter.picture, *letter.others)
    return ONE_TRY + sum(len(each.data) for each in files if each is not None) / SLOWEST_LINE


@contextlib.asynccontextmanager
async def outcomes(*, seconds: float | None = None) -> AsyncIterator[None]:
    """Bound one try in time, to `ONE_TRY` seconds as a rule, and translate how it failed."""
    try:
        async with asyncio.timeout(ONE_TRY if seconds is None else seconds):
            yield
    except discord.HTTPException as error:
        raise translated(error) from error
    # A TimeoutError is an OSError.
    except (discord.RateLimited, aiohttp.ClientError, OSError) as error:
        raise Passing(str(error) or type(error).__name__) from error
    except RuntimeError as error:
        # All that a session says which was closed under a request.
        if "closed" not in str(error):
            raise
        raise Passing(str(error)) from error


def translated(error: discord.HTTPException) -> Refused | Passing:
    """Say what an answer of Discord's means for a message."""
    if error.status >= 500 or error.status in (401, 408, 429):
        return Passing(str(error))
    # A message in a closed thread cannot be edited, but a new one opens the thread again.
    if error.code in (UNKNOWN_MESSAGE, TOO_OLD_TO_EDIT, ARCHIVED):
        return Refused(Reason.NO_MESSAGE, error)
    if error.status == 413 or error.code == TOO_LARGE:
        return Refused(Reason.TOO_LARGE, error)
    if error.status in (403, 404):
        return Refused(Reason.NO_PLACE, error)
    return Refused(Reason.INVALID, error)
