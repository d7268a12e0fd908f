"""The state of the playground: who is there, which guilds and channels, what was said.

Promises to tell its observers of every change. Never touches a socket; the gateway and the page
are observers.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence

from bot.playground.errors import Refusal
from bot.playground.founding import PLANS, make_channels, make_direct, make_guild, make_people
from bot.playground.guilds import Channel, Guild
from bot.playground.ledger import Ledger, MessageRecord, PlayInteraction
from bot.playground.people import Person
from bot.playground.permissions import Permission, ordinary
from bot.playground.wire import Clock, Json, Snowflakes

GUILD_CONTEXT, DM_CONTEXT = 0, 1
FILE_SIZE_LIMIT = 10 * 1024 * 1024


class Observer:
    """Hears of every change of the world; overrides what it cares for."""

    def message_created(self, record: MessageRecord) -> None:
        """Hear of a new message."""

    def message_updated(self, record: MessageRecord) -> None:
        """Hear that a message changed."""

    def message_deleted(self, record: MessageRecord) -> None:
        """Hear that a message is gone."""

    def reaction_changed(
        self, record: MessageRecord, user: Person, emoji: Json, added: bool
    ) -> None:
        """Hear that somebody added or took back a reaction."""

    def interaction_created(self, interaction: PlayInteraction) -> None:
        """Hear that somebody used a command, pressed, typed or submitted."""

    def interaction_changed(self, interaction: PlayInteraction) -> None:
        """Hear that an interaction was acknowledged or failed."""

    def commands_changed(self) -> None:
        """Hear that the bot synced other commands."""

    def presence_changed(self) -> None:
        """Hear that the bot changed its presence."""

    def channel_changed(self, channel: Channel, event: str) -> None:
        """Hear of CHANNEL_CREATE, CHANNEL_UPDATE or CHANNEL_DELETE."""

    def reactions_cleared(self, record: MessageRecord, emoji: Json | None) -> None:
        """Hear that every reaction, or every one with an emoji, was taken off a message."""

    def member_changed(self, guild: Guild, person: Person, event: str) -> None:
        """Hear of GUILD_MEMBER_ADD, GUILD_MEMBER_UPDATE or GUILD_MEMBER_REMOVE."""

    def guild_changed(self, guild: Guild) -> None:
        """Hear that a guild changed: its roles, its language."""

    def locale_changed(self, person: Person) -> None:
        """Hear that somebody changed the language of their client."""

    def bot_kicked(self, guild: Guild) -> None:
        """Hear that the bot was removed from a guild."""

    def bot_invited(self, guild: Guild) -> None:
        """Hear that the bot came back to a guild."""


class World:
    """A guild or two with their channels, three people and the bot."""

    def __init__(self, clock: Clock, ledger: Ledger, *, guilds: int = 1) -> None:
        if not 1 <= guilds <= len(PLANS):
            raise ValueError(f"a playground has 1 to {len(PLANS)} guilds, not {guilds}")
        self.clock = clock
        self.ledger = ledger
        self.ids = Snowflakes(clock)
        self.observers: list[Observer] = []
        # A guild's id is the id of its first role and older than all in it.
        guild_ids = [self.ids.next() for _ in range(guilds)]
        self.application_id = self.ids.next()
        self.token = make_token(self.application_id)
        self.people = make_people(self.ids)
        self.bot = Person(
            id=self.application_id,
            name="Easel",
            display_name="Easel",
            colour=(88, 101, 242),
            bot=True,
        )
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        for plan, guild_id in zip(PLANS, guild_ids, strict=False):
            guild = make_guild(plan, guild_id, self.ids, self.people, self.bot)
            self.guilds[guild_id] = guild
            self.channels |= {item.id: item for item in make_channels(plan, guild, self.ids)}
        # Anybody can open the bot's direct messages at any time, whether the bot knows them or not.
        for person in self.people.values():
            channel = make_direct(person, self.ids)
            self.channels[channel.id] = channel
        self.commands: dict[int | None, list[Json]] = {}
        self.presence: Json = {"status": "offline", "activities": []}
        self.attachment_limit = FILE_SIZE_LIMIT

    @property
    def home(self) -> Guild:
        """Return the first guild."""
        return next(iter(self.guilds.values()))

    @property
    def accounts(self) -> list[Person]:
        """Return everybody, the bot last."""
        return [*self.people.values(), self.bot]

    @property
    def owner(self) -> Person:
        """Return who owns the application, and the first guild."""
        return self.home.owner

    @property
    def bot_guilds(self) -> list[Guild]:
        """Return the guilds that the bot is in."""
        return [guild for guild in self.guilds.values() if self.bot.id in guild.members]

    def person(self, user_id: int) -> Person:
        """Find an account by its id."""
        for person in self.accounts:
            if person.id == user_id:
                return person
        raise Refusal.UNKNOWN_USER.error()

    def guild(self, guild_id: int) -> Guild:
        """Find a guild that the bot is in."""
        guild = self.guilds.get(guild_id)
        if guild is None or self.bot.id not in guild.members:
            raise Refusal.UNKNOWN_GUILD.error()
        return guild

    def channel(self, channel_id: int) -> Channel:
        """Find a channel by its id."""
        try:
            return self.channels[channel_id]
        except KeyError:
            raise Refusal.UNKNOWN_CHANNEL.error() from None

    def message(self, channel_id: int, message_id: int) -> MessageRecord:
        """Find a message that the channel still shows to everybody."""
        record = self.ledger.messages.get(message_id)
        if (
            record is None
            or record.deleted_at is not None
            or record.visible_to is not None
            or record.channel_id != channel_id
        ):
            raise Refusal.UNKNOWN_MESSAGE.error()
        return record

    def direct_messages(self, person: Person) -> Channel:
        """Return the channel between the bot and a person."""
        for channel in self.channels.values():
            if channel.recipient is person:
                return channel
        raise Refusal.CANNOT_SEND_TO_USER.error()

    def permissions(self, person: Person, channel: Channel) -> Permission:
        """Compute what somebody may do in a channel."""
        if channel.guild is not None:
            return channel.permissions(person)
        return ordinary() if person in (channel.recipient, self.bot) else Permission(0)

    def require(self, channel: Channel, *needed: Permission) -> None:
        """Raise unless the bot may do that in the channel."""
        if channel.recipient is not None:
            if channel.overwrites:
                raise Refusal.CANNOT_SEND_TO_USER.error()
            if not any(channel.recipient.id in guild.members for guild in self.bot_guilds):
                raise Refusal.NO_MUTUAL_GUILDS.error()
        granted = self.permissions(self.bot, channel)
        if Permission.VIEW_CHANNEL not in granted:
            raise Refusal.MISSING_ACCESS.error()
        if any(permission not in granted for permission in needed):
            raise Refusal.MISSING_PERMISSIONS.error()

    def guild_channels(self, guild: Guild | None = None) -> list[Channel]:
        """Return a guild's channels in their order; the first guild's when none is named."""
        wanted = guild or self.home
        return [item for item in self.channels.values() if item.guild is wanted]

    def channels_of(self, person: Person) -> list[Channel]:
        """Return the channels that somebody sees, those of guilds first."""
        return [
            item
            for item in self.channels.values()
            if Permission.VIEW_CHANNEL in self.permissions(person, item)
        ]

    def commands_for(self, person: Person, channel: Channel) -> list[Json]:
        """Return the synced commands that somebody is offered in a channel."""
        if channel.guild is None:
            return [item for item in self.commands.get(None, []) if in_context(item, DM_CONTEXT)]
        if self.bot.id not in channel.guild.members:
            return []
        granted = channel.guild.permissions(person)
        synced = [*self.commands.get(None, []), *self.commands.get(channel.guild.id, [])]
        return [
            command
            for command in synced
            if in_context(command, GUILD_CONTEXT)
            and (int(command["default_member_permissions"] or 0) & ~int(granted)) == 0
            and (channel.nsfw or not command["nsfw"])
        ]

    def history(self, channel_id: int, user_id: int) -> Sequence[MessageRecord]:
        """Return what somebody sees in a channel, oldest first."""
        return [item for item in self.ledger.in_channel(channel_id) if item.seen_by(user_id)]

    def tell(self, what: Callable[[Observer], None]) -> None:
        """Tell every observer of a change, and whoever waits for the ledger."""
        for observer in self.observers:
            what(observer)
        self.ledger.changed()


def in_context(command: Json, context: int) -> bool:
    """Tell whether a command is offered in guilds (0) or in the bot's direct messages (1)."""
    contexts = command.get("contexts")
    if contexts is not None:
        return context in contexts
    return context == GUILD_CONTEXT or command.get("dm_permission", True) is not False


def make_token(user_id: int) -> str:
    """Make a token in the shape of Discord's: the id, a time, a secret."""
    first = base64.urlsafe_b64encode(str(user_id).encode()).decode().rstrip("=")
    return f"{first}.{secrets.token_urlsafe(5)[:6]}.{secrets.token_urlsafe(29)[:38]}"
