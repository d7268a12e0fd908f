"""What the world's changes look like on the gateway, and which intents they need.

Promises that a session without the message content intent reads only what is meant for it.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.playground.ledger import MessageRecord, PlayInteraction
from bot.playground.people import Person
from bot.playground.rendering import as_seen
from bot.playground.sessions import Intent
from bot.playground.wire import Json, iso
from bot.playground.world import Channel, Observer, World

Broadcast = Callable[[str, Callable[[Intent], Json | None]], None]


class Events(Observer):
    """Turns changes into dispatches."""

    def __init__(self, world: World, broadcast: Broadcast) -> None:
        self._world = world
        self._broadcast = broadcast

    def guild(self, intents: Intent) -> Json:
        """Return GUILD_CREATE for a session; without the members intent only the bot is listed."""
        world = self._world
        listed = world.accounts if Intent.GUILD_MEMBERS in intents else [world.bot]
        return world.guild_json() | {
            "joined_at": iso(world.created_at),
            "large": False,
            "unavailable": False,
            "member_count": len(world.accounts),
            "members": [world.member_json(person) for person in listed],
            "channels": [item.to_json(world.guild_id) for item in world.guild_channels()],
            "threads": [],
            "presences": [],
            "voice_states": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }

    def message_created(self, record: MessageRecord) -> None:
        """Dispatch MESSAGE_CREATE."""
        more = {} if record.nonce is None else {"nonce": record.nonce}
        self._message("MESSAGE_CREATE", record, more)

    def message_updated(self, record: MessageRecord) -> None:
        """Dispatch MESSAGE_UPDATE."""
        self._message("MESSAGE_UPDATE", record, {})

    def message_deleted(self, record: MessageRecord) -> None:
        """Dispatch MESSAGE_DELETE."""
        data = {"id": str(record.id), "channel_id": str(record.channel_id)}
        where = self._where(record)
        self._broadcast(
            "MESSAGE_DELETE",
            lambda intents: data | where if self._heard(record, intents) else None,
        )

    def reaction_changed(
        self, record: MessageRecord, user: Person, emoji: Json, added: bool
    ) -> None:
        """Dispatch MESSAGE_REACTION_ADD or _REMOVE."""
        where = self._where(record)
        data: Json = {
            "user_id": str(user.id),
            "channel_id": str(record.channel_id),
            "message_id": str(record.id),
            "emoji": emoji,
            "type": 0,
            "burst": False,
        }
        if added:
            data["message_author_id"] = str(record.author_id)
        if where and added:
            data["member"] = self._world.member_json(user)
        needed = Intent.GUILD_MESSAGE_REACTIONS if where else Intent.DIRECT_MESSAGE_REACTIONS
        event = "MESSAGE_REACTION_ADD" if added else "MESSAGE_REACTION_REMOVE"
        self._broadcast(event, lambda intents: data | where if needed in intents else None)

    def interaction_created(self, interaction: PlayInteraction) -> None:
        """Dispatch INTERACTION_CREATE, which needs no intent."""
        self._broadcast("INTERACTION_CREATE", lambda intents: interaction.payload)

    def channel_changed(self, channel: Channel, event: str) -> None:
        """Dispatch a channel's change."""
        data = channel.to_json(self._world.guild_id)
        self._broadcast(event, lambda intents: data if Intent.GUILDS in intents else None)

    def bot_kicked(self) -> None:
        """Dispatch GUILD_DELETE."""
        data = {"id": str(self._world.guild_id)}
        self._broadcast("GUILD_DELETE", lambda intents: data if Intent.GUILDS in intents else None)

    def _message(self, event: str, record: MessageRecord, more: Json) -> None:
        shown = as_seen(record.data) | self._where(record) | more
        if "guild_id" in shown and not shown.get("webhook_id"):
            member = self._world.member_json(self._world.person(record.author_id))
            del member["user"]
            shown["member"] = member

        def build(intents: Intent) -> Json | None:
            if not self._heard(record, intents):
                return None
            if self._readable(record, intents):
                return shown
            hidden: Json = {"content": "", "embeds": [], "attachments": [], "components": []}
            return shown | hidden

        self._broadcast(event, build)

    def _where(self, record: MessageRecord) -> Json:
        """Return the guild's id, which direct and ephemeral messages do not carry."""
        channel = self._world.channels.get(record.channel_id)
        direct = channel is not None and channel.recipient is not None
        if direct or record.visible_to is not None:
            return {}
        return {"guild_id": str(self._world.guild_id)}

    def _heard(self, record: MessageRecord, intents: Intent) -> bool:
        if record.visible_to is not None:
            return bool(intents & (Intent.GUILD_MESSAGES | Intent.DIRECT_MESSAGES))
        needed = Intent.GUILD_MESSAGES if self._where(record) else Intent.DIRECT_MESSAGES
        return needed in intents

    def _readable(self, record: MessageRecord, intents: Intent) -> bool:
        bot = str(self._world.bot.id)
        mentioned = any(item["id"] == bot for item in record.data["mentions"])
        own = record.author_id == self._world.bot.id
        return own or mentioned or not self._where(record) or Intent.MESSAGE_CONTENT in intents
