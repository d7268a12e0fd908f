"""Routes of channels: messages, history, typing.

Promises Discord's permissions on each; the messages themselves are made in `messages`.
"""

from __future__ import annotations

from bot.playground.errors import Problems, Refusal
from bot.playground.guilds import Channel
from bot.playground.ledger import MessageRecord
from bot.playground.messages import Messages
from bot.playground.permissions import Permission
from bot.playground.ratelimits import Limit
from bot.playground.rendering import Draft, as_seen
from bot.playground.rest import Answer, Call, Route
from bot.playground.world import World

HISTORY_DEFAULT = 50


class MessageRoutes:
    """Answers for `/channels/…`."""

    def __init__(self, world: World, messages: Messages) -> None:
        self._world = world
        self._messages = messages

    def routes(self) -> list[Route]:
        """Return the routes with their rate limits."""
        channel = "/channels/{channel_id}"
        messages = f"{channel}/messages"
        message = f"{messages}/{{message_id}}"
        reading = Limit(name="read messages", requests=5, window=1.0)
        posting = Limit(name="post message", requests=5, window=5.0)
        editing = Limit(name="edit message", requests=5, window=5.0)
        deleting = Limit(name="delete message", requests=5, window=1.0)
        typing = Limit(name="typing", requests=5, window=5.0)
        return [
            Route(method="GET", template=channel, handler=self.get_channel, limit=reading),
            Route(method="GET", template=messages, handler=self.history, limit=reading),
            Route(method="POST", template=messages, handler=self.create, limit=posting),
            Route(method="GET", template=message, handler=self.get, limit=reading),
            Route(method="PATCH", template=message, handler=self.edit, limit=editing),
            Route(method="DELETE", template=message, handler=self.delete, limit=deleting),
            Route(method="POST", template=f"{channel}/typing", handler=self.typing, limit=typing),
        ]

    async def get_channel(self, call: Call) -> Answer:
        """Get a channel."""
        channel = self._world.channel(call.number("channel_id"))
        self._world.require(channel)
        return Answer(channel.to_json())

    async def history(self, call: Call) -> Answer:
        """List messages, newest first; ephemeral ones are never listed."""
        channel = self._world.channel(call.number("channel_id"))
        self._world.require(channel, Permission.READ_MESSAGE_HISTORY)
        limit = int(call.query.get("limit", HISTORY_DEFAULT))
        if not 1 <= limit <= 100:
            problems = Problems()
            problems.add("limit", "NUMBER_TYPE_COERCE", "int value should be between 1 and 100.")
            problems.check()
        found = [item for item in self._world.ledger.in_channel(channel.id) if not item.visible_to]
        found.sort(key=lambda item: item.id)
        chosen = window(
            found, {key: int(call.query[key]) for key in PLACES & call.query.keys()}, limit
        )
        return Answer([as_seen(item.data) for item in reversed(chosen)])

    async def create(self, call: Call) -> Answer:
        """Create a message."""
        channel = self._world.channel(call.number("channel_id"))
        payload = call.form()
        self._world.require(channel, *self._needed(payload, has_files=bool(call.files)))
        draft = Draft(channel=channel, author=self._world.bot, payload=payload, files=call.files)
        record = await self._messages.create(draft)
        return Answer(as_seen(record.data) | nonce_of(record))

    async def get(self, call: Call) -> Answer:
        """Get a message."""
        channel, record = self._find(call)
        self._world.require(channel, Permission.READ_MESSAGE_HISTORY)
        return Answer(as_seen(record.data))

    async def edit(self, call: Call) -> Answer:
        """Edit one of the bot's own messages."""
        channel, record = self._find(call)
        self._world.require(channel)
        payload = call.form()
        if record.author_id != self._world.bot.id:
            raise Refusal.NOT_YOUR_MESSAGE.error()
        if call.files:
            self._world.require(channel, Permission.ATTACH_FILES)
        await self._messages.edit(record, payload, call.files)
        return Answer(as_seen(record.data))

    async def delete(self, call: Call) -> Answer:
        """Delete a message: one's own, or with Manage Messages any."""
        channel, record = self._find(call)
        others = record.author_id != self._world.bot.id
        self._world.require(channel, *((Permission.MANAGE_MESSAGES,) if others else ()))
        self._messages.delete(record)
        return Answer()

    async def typing(self, call: Call) -> Answer:
        """Show that the bot is typing; nobody in the playground needs to see it."""
        channel = self._world.channel(call.number("channel_id"))
        self._world.require(channel, Permission.SEND_MESSAGES)
        return Answer()

    def _find(self, call: Call) -> tuple[Channel, MessageRecord]:
        channel = self._world.channel(call.number("channel_id"))
        return channel, self._world.message(channel.id, call.number("message_id"))

    def _needed(self, payload: dict[str, object], *, has_files: bool) -> list[Permission]:
        needed = [Permission.SEND_MESSAGES]
        if has_files:
            needed.append(Permission.ATTACH_FILES)
        if payload.get("embeds"):
            needed.append(Permission.EMBED_LINKS)
        if payload.get("message_reference"):
            needed.append(Permission.READ_MESSAGE_HISTORY)
        return needed


PLACES = frozenset({"before", "after", "around"})


def window(found: list[MessageRecord], places: dict[str, int], limit: int) -> list[MessageRecord]:
    """Choose a page of a history sorted by id, oldest first."""
    if "around" in places:
        middle = places["around"]
        nearest = sorted(found, key=lambda item: abs(item.id - middle))[:limit]
        return sorted(nearest, key=lambda item: item.id)
    if "after" in places:
        return [item for item in found if item.id > places["after"]][:limit]
    if "before" in places:
        found = [item for item in found if item.id < places["before"]]
    return found[-limit:]


def nonce_of(record: MessageRecord) -> dict[str, str]:
    """Return the nonce that the creator gets back."""
    return {} if record.nonce is None else {"nonce": record.nonce}
