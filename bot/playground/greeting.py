"""What a page is told when it opens: everything that one person sees, and nothing else.

Promises the channels, messages and commands that Discord's client would show them.
"""

from __future__ import annotations

from bot.playground.guilds import Channel
from bot.playground.people import Person
from bot.playground.permissions import Permission
from bot.playground.rendering import as_seen_by
from bot.playground.wire import Json
from bot.playground.world import World

HISTORY = 60


def hello(world: World, person: Person) -> Json:
    """Return the first frame for somebody's page."""
    channels = world.channels_of(person)
    messages = {
        str(item.id): [
            as_seen_by(one.data, person.id) for one in world.history(item.id, person.id)[-HISTORY:]
        ]
        for item in channels
    }
    guilds = [{"id": str(each.id), "name": each.name} for each in world.guilds.values()]
    roles = [{"id": str(role.id), "name": role.name} for role in world.home.roles.values()]
    return offers(world, person) | {
        "type": "hello",
        "me": person.to_json() | {"locale": person.locale},
        "bot": world.bot.to_json(),
        "people": [one.to_json() for one in world.people.values()],
        "guild": guilds[0],
        "guilds": guilds,
        "roles": roles,
        "channels": [shown_channel(world, item) for item in channels],
        "messages": messages,
    }


def shown_channel(world: World, channel: Channel) -> Json:
    """Return what the page needs of a channel."""
    return {
        "id": str(channel.id),
        "guild_id": None if channel.guild is None else str(channel.guild.id),
        "name": channel.name,
        "topic": channel.topic,
        "type": channel.type,
        "nsfw": channel.nsfw,
        "bot_may_post": Permission.SEND_MESSAGES in world.permissions(world.bot, channel),
    }


def offers(world: World, person: Person) -> Json:
    """Return the commands that somebody is offered anywhere, and which of them where."""
    where = {
        str(channel.id): world.commands_for(person, channel)
        for channel in world.channels_of(person)
    }
    known = {command["id"]: command for listed in where.values() for command in listed}
    ids = {place: [command["id"] for command in listed] for place, listed in where.items()}
    return {"commands": list(known.values()), "offered": ids}
