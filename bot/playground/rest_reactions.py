"""Routes of reactions: the bot's own, other people's, all of a message's.

Promises Discord's permissions on each: one's own come and go freely, others' take Manage Messages,
and in direct messages nobody takes away another's.
"""

from __future__ import annotations

from urllib.parse import unquote

from bot.playground.errors import Problems, Refusal
from bot.playground.guilds import Channel
from bot.playground.ledger import MessageRecord
from bot.playground.permissions import Permission
from bot.playground.ratelimits import Limit
from bot.playground.reactions import Reactions, reactors
from bot.playground.rest import Answer, Call, Route
from bot.playground.world import World

PAGE_DEFAULT, PAGE_LIMIT = 25, 100
BURST = "1"


class ReactionRoutes:
    """Answers for `/channels/…/reactions`."""

    def __init__(self, world: World, reactions: Reactions) -> None:
        self._world = world
        self._reactions = reactions

    def routes(self) -> list[Route]:
        """Return the routes; those that change something share one slow bucket."""
        every = "/channels/{channel_id}/messages/{message_id}/reactions"
        one = f"{every}/{{emoji}}"
        reading = Limit(name="read reactions", requests=5, window=1.0)
        changing = Limit(name="react", requests=1, window=0.25)
        table = [
            ("PUT", f"{one}/@me", self.react),
            ("DELETE", f"{one}/@me", self.unreact),
            ("DELETE", f"{one}/{{user_id}}", self.remove),
            ("DELETE", one, self.clear_one),
            ("DELETE", every, self.clear),
        ]
        changes = [
            Route(method=method, template=template, handler=handler, limit=changing)
            for method, template, handler in table
        ]
        return [*changes, Route(method="GET", template=one, handler=self.users, limit=reading)]

    async def react(self, call: Call) -> Answer:
        """Add the bot's reaction; a new emoji takes a permission, joining one does not."""
        channel, record = self._find(call)
        name = emoji_of(call)
        new = () if reactors(record, name) else (Permission.ADD_REACTIONS,)
        self._world.require(channel, Permission.READ_MESSAGE_HISTORY, *new)
        self._reactions.react(record, self._world.bot, name, added=True)
        return Answer()

    async def unreact(self, call: Call) -> Answer:
        """Take the bot's reaction back."""
        channel, record = self._find(call)
        self._world.require(channel, Permission.READ_MESSAGE_HISTORY)
        self._reactions.react(record, self._world.bot, emoji_of(call), added=False)
        return Answer()

    async def remove(self, call: Call) -> Answer:
        """Take somebody's reaction away."""
        channel, record = self._find(call)
        person = self._world.person(call.number("user_id"))
        if person is not self._world.bot:
            self._moderate(channel)
        self._reactions.react(record, person, emoji_of(call), added=False)
        return Answer()

    async def clear_one(self, call: Call) -> Answer:
        """Take every reaction with an emoji away."""
        channel, record = self._find(call)
        self._moderate(channel)
        self._reactions.clear(record, emoji_of(call))
        return Answer()

    async def clear(self, call: Call) -> Answer:
        """Take every reaction away."""
        channel, record = self._find(call)
        self._moderate(channel)
        self._reactions.clear(record)
        return Answer()

    async def users(self, call: Call) -> Answer:
        """List who reacted with an emoji, by id; nobody here has bursts."""
        channel, record = self._find(call)
        self._world.require(channel, Permission.READ_MESSAGE_HISTORY)
        limit = int(call.query.get("limit", PAGE_DEFAULT))
        if not 1 <= limit <= PAGE_LIMIT:
            problems = Problems()
            message = f"int value should be between 1 and {PAGE_LIMIT}."
            problems.add("limit", "NUMBER_TYPE_COERCE", message)
            problems.check()
        after = int(call.query.get("after", 0))
        ids = [] if call.query.get("type") == BURST else reactors(record, emoji_of(call))
        page = sorted(user_id for user_id in ids if user_id > after)[:limit]
        return Answer([self._world.person(user_id).to_json() for user_id in page])

    def _find(self, call: Call) -> tuple[Channel, MessageRecord]:
        channel = self._world.channel(call.number("channel_id"))
        return channel, self._world.message(channel.id, call.number("message_id"))

    def _moderate(self, channel: Channel) -> None:
        if channel.guild is None:
            raise Refusal.NOT_IN_DIRECT_MESSAGES.error()
        self._world.require(channel, Permission.MANAGE_MESSAGES)


def emoji_of(call: Call) -> str:
    """Return the plain emoji of a path; custom ones do not exist here."""
    name = unquote(call.params["emoji"])
    if ":" in name or name.isascii():
        raise Refusal.UNKNOWN_EMOJI.error()
    return name
