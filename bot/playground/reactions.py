"""Reactions: adding, taking back and clearing them, whoever asks.

Promises Discord's limit of different emoji on a message and one event for each change. Never
asks about permissions; the routes and the people's actions do.
"""

from __future__ import annotations

import copy

from bot.playground.errors import Refusal
from bot.playground.ledger import MessageRecord
from bot.playground.people import Person
from bot.playground.rendering import reaction_json
from bot.playground.wire import Json
from bot.playground.world import World

DIFFERENT_LIMIT = 20


class Reactions:
    """The one place where reactions change."""

    def __init__(self, world: World) -> None:
        self._world = world

    def react(self, record: MessageRecord, user: Person, name: str, *, added: bool) -> None:
        """Add or take back somebody's reaction with a plain emoji; no change is no event."""
        users = reactors(record, name)
        if (user.id in users) == added:
            return
        if added and not users and len(record.data.get("reactions", [])) >= DIFFERENT_LIMIT:
            raise Refusal.TOO_MANY_REACTIONS.error()
        left = [*users, user.id] if added else [item for item in users if item != user.id]
        self._put(record, name, left)
        self._world.tell(
            lambda observer: observer.reaction_changed(record, user, plain(name), added)
        )

    def clear(self, record: MessageRecord, name: str | None = None) -> None:
        """Take off every reaction, or every one with an emoji."""
        names = [name] if name is not None else [item["emoji"]["name"] for item in shown(record)]
        for each in names:
            self._put(record, each, [])
        emoji = None if name is None else plain(name)
        self._world.tell(lambda observer: observer.reactions_cleared(record, emoji))

    def _put(self, record: MessageRecord, name: str, users: list[int]) -> None:
        data = copy.deepcopy(record.data)
        entry = reaction_json(plain(name), users, self._world.bot.id)
        known = [item["emoji"]["name"] for item in shown(record)]
        # The first to react decides the place; a second with the same emoji does not move it.
        entries = [entry if item["emoji"]["name"] == name else item for item in shown(record)]
        entries += [] if name in known else [entry]
        data["reactions"] = [item for item in entries if item["users"]]
        record.data = data


def plain(name: str) -> Json:
    """Return the object of an emoji that is a character."""
    return {"id": None, "name": name}


def shown(record: MessageRecord) -> list[Json]:
    """Return a message's reactions with who reacted."""
    return list(record.data.get("reactions", []))


def reactors(record: MessageRecord, name: str) -> list[int]:
    """Return who reacted with an emoji, in the order in which they did."""
    for item in shown(record):
        if item["emoji"]["name"] == name:
            return [int(user_id) for user_id in item["users"]]
    return []
