"""What the world's changes look like on the gateway, and which intents they need.

Promises that a session without the message content intent reads only what is meant for it.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.playground.guilds import Channel, Guild
from bot.playground.ledger import MessageRecord, PlayInteraction
from bot.playground.people import Person
from bot.playground.rendering import as_seen
from bot.playground.sessions import Intent
from bot.playground.wire import Json, iso
from bot.playground.world import Observer, World

Broadcast = Callable[[str, Callable[[Intent], Json | None]], None]


class Events(Observer):
    """Turns changes into dispatches."""

    def __init__(self, world: World, broadcast: Broadcast) -> None:
        self._world = world
        self._broadcast = broadcast

    def guild(self, guild: Guild, intents: Intent) -> Json:
        """Return GUILD_CREATE for a session; without the members intent only the bot is listed."""
        world = self._world
        listed = guild.accounts if Intent.GUILD_MEMBERS in intents else [world.bot]
        return guild.to_json() | {
            "joined_at": iso(guild.members[world.bot.id].joined_at),
            "large": False,
            "unavailable": False,
            "member_count": len(guild.members),
            "members": [guild.member_json(person) for person in listed],
            "channels": [item.to_json() for item in world.guild_channels(guild)],
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
        guild = self._guild(record)
        if guild is not None and added and user.id in guild.members:
            data["member"] = guild.member_json(user)
        needed = Intent.GUILD_MESSAGE_REACTIONS if where else Intent.DIRECT_MESSAGE_REACTIONS
        event = "MESSAGE_REACTION_ADD" if added else "MESSAGE_REACTION_REMOVE"
        self._broadcast(event, lambda intents: data | where if needed in intents else None)

    def reactions_cleared(self, record: MessageRecord, emoji: Json | None) -> None:
        """Dispatch MESSAGE_REACTION_REMOVE_ALL, or _REMOVE_EMOJI for one of them."""
        ids: Json = {"channel_id": str(record.channel_id), "message_id": str(record.id)}
        data = ids | self._where(record) | ({} if emoji is None else {"emoji": emoji})
        event = f"MESSAGE_REACTION_REMOVE_{'ALL' if emoji is None else 'EMOJI'}"
        self._broadcast(
            event, lambda intents: data if Intent.GUILD_MESSAGE_REACTIONS in intents else None
        )

    def interaction_created(self, interaction: PlayInteraction) -> None:
        """Dispatch INTERACTION_CREATE, which needs no intent."""
        self._broadcast("INTERACTION_CREATE", lambda intents: interaction.payload)

    def channel_changed(self, channel: Channel, event: str) -> None:
        """Dispatch a channel's change."""
        if channel.guild not in self._world.bot_guilds:
            return
        data = channel.to_json()
        self._broadcast(event, lambda intents: data if Intent.GUILDS in intents else None)

    def guild_changed(self, guild: Guild) -> None:
        """Dispatch GUILD_UPDATE."""
        data = guild.to_json()
        self._broadcast("GUILD_UPDATE", lambda intents: data if Intent.GUILDS in intents else None)

    def member_changed(self, guild: Guild, person: Person, event: str) -> None:
        """Dispatch GUILD_MEMBER_ADD, _UPDATE or _REMOVE to those with the privileged intent."""
        data: Json = {"guild_id": str(guild.id), "user": person.to_json()}
        if person.id in guild.members:
            data |= guild.member_json(person)
        self._broadcast(event, lambda intents: data if Intent.GUILD_MEMBERS in intents else None)

    def bot_invited(self, guild: Guild) -> None:
        """Dispatch GUILD_CREATE."""
        self._broadcast(
            "GUILD_CREATE",
            lambda intents: self.guild(guild, intents) if Intent.GUILDS in intents else None,
        )

    def bot_kicked(self, guild: Guild) -> None:
        """Dispatch GUILD_DELETE."""
        data = {"id": str(guild.id)}
        self._broadcast("GUILD_DELETE", lambda intents: data if Intent.GUILDS in intents else None)

    def _message(self, event: str, record: MessageRecord, more: Json) -> None:
        shown = as_seen(record.data) | self._where(record) | more
        guild = self._guild(record)
        if guild is not None and record.author_id in guild.members and "webhook_id" not in shown:
            shown["member"] = guild.member_json(self._world.person(record.author_id))
            del shown["member"]["user"]

        def build(intents: Intent) -> Json | None:
            if not self._heard(record, intents):
                return None
            if self._readable(record, intents):
                return shown
            hidden: Json = {"content": "", "embeds": [], "attachments": [], "components": []}
            return shown | hidden

        self._broadcast(event, build)

    def _guild(self, record: MessageRecord) -> Guild | None:
        """Return where a message is, None for direct and ephemeral ones."""
        channel = self._world.channels.get(record.channel_id)
        return None if channel is None or record.visible_to is not None else channel.guild

    def _where(self, record: MessageRecord) -> Json:
        """Return the guild's id, which direct and ephemeral messages do not carry."""
        guild = self._guild(record)
        return {} if guild is None else {"guild_id": str(guild.id)}

    def _heard(self, record: MessageRecord, intents: Intent) -> bool:
        if record.visible_to is not None:
            return bool(intents & (Intent.GUILD_MESSAGES | Intent.DIRECT_MESSAGES))
        guild = self._guild(record)
        if guild is None:
            return Intent.DIRECT_MESSAGES in intents
        return Intent.GUILD_MESSAGES in intents and self._world.bot.id in guild.members

    def _readable(self, record: MessageRecord, intents: Intent) -> bool:
        bot = str(self._world.bot.id)
        mentioned = any(item["id"] == bot for item in record.data["mentions"])
        own = record.author_id == self._world.bot.id
        direct = self._guild(record) is None
        return own or mentioned or direct or Intent.MESSAGE_CONTENT in intents
