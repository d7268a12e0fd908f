"""The state of the playground's one guild: who is there, which channels, what was said.

Promises Discord's own JSON for each of them and tells its observers of every change.
Never touches a socket; the gateway and the page are observers.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.playground.errors import Refusal
from bot.playground.ledger import Ledger, MessageRecord, PlayInteraction
from bot.playground.people import Person, Role
from bot.playground.permissions import Overwrite, Permission, combine, everything, ordinary
from bot.playground.wire import Clock, Json, Snowflakes, iso

TEXT_CHANNEL = 0
DM_CHANNEL = 1


@dataclass(slots=True, kw_only=True, eq=False)
class Channel:
    """A text channel of the guild, or the direct messages between the bot and one person."""

    id: int
    type: int
    name: str
    position: int = 0
    topic: str | None = None
    nsfw: bool = False
    recipient: Person | None = None
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    last_message_id: int | None = None

    def to_json(self, guild_id: int) -> Json:
        """Return Discord's channel object."""
        base: Json = {
            "id": str(self.id),
            "type": self.type,
            "flags": 0,
            "last_message_id": str(self.last_message_id) if self.last_message_id else None,
        }
        if self.recipient is not None:
            return base | {"recipients": [self.recipient.to_json()]}
        return base | {
            "guild_id": str(guild_id),
            "name": self.name,
            "topic": self.topic,
            "position": self.position,
            "parent_id": None,
            "nsfw": self.nsfw,
            "rate_limit_per_user": 0,
            "permission_overwrites": [
                {
                    "id": str(item.target_id),
                    "type": item.kind,
                    "allow": str(int(item.allow)),
                    "deny": str(int(item.deny)),
                }
                for item in self.overwrites.values()
            ],
        }


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

    def bot_kicked(self) -> None:
        """Hear that the bot was removed from the guild."""


class World:
    """One guild, two channels, three people and the bot."""

    def __init__(self, clock: Clock, ledger: Ledger) -> None:
        self.clock = clock
        self.ledger = ledger
        self.ids = Snowflakes(clock)
        self.observers: list[Observer] = []
        self.guild_id = self.ids.next()
        self.guild_name = "Easel playground"
        self.created_at = clock.now()
        self.bot_in_guild = True
        self.application_id = self.ids.next()
        self.token = make_token(self.application_id)
        self.roles = self._make_roles()
        self.bot, self.people = self._make_people()
        self.channels = {item.id: item for item in self._make_channels()}
        self.commands: dict[int | None, list[Json]] = {}
        self.presence: Json = {"status": "offline", "activities": []}

    def _make_roles(self) -> dict[int, Role]:
        admin = Permission.MANAGE_GUILD | Permission.MANAGE_MESSAGES | Permission.MANAGE_CHANNELS
        least = ordinary() & ~Permission.USE_APPLICATION_COMMANDS
        roles = [
            Role(id=self.guild_id, name="@everyone", permissions=ordinary(), position=0),
            Role(
                id=self.ids.next(),
                name="Easel",
                permissions=least,
                position=1,
                bot_id=self.application_id,
            ),
            Role(
                id=self.ids.next(),
                name="Moderators",
                permissions=admin,
                position=2,
                colour=0xE0A040,
            ),
        ]
        return {role.id: role for role in roles}

    def _make_people(self) -> tuple[Person, dict[str, Person]]:
        _, of_bot, of_admin = self.roles
        bot = Person(
            id=self.application_id,
            name="Easel",
            display_name="Easel",
            colour=(88, 101, 242),
            roles=(of_bot,),
            bot=True,
        )
        looks = {"alice": (214, 84, 106), "bob": (58, 142, 132), "carol": (224, 160, 64)}
        people = {
            name: Person(
                id=self.ids.next(),
                name=name,
                display_name=name.capitalize(),
                colour=colour,
                roles=(of_admin,) if name == "carol" else (),
            )
            for name, colour in looks.items()
        }
        return bot, people

    def _make_channels(self) -> list[Channel]:
        topics = {
            "easel": "Type /imagine and watch four pictures appear",
            "gallery": "The ones worth keeping",
        }
        return [
            Channel(
                id=self.ids.next(), type=TEXT_CHANNEL, name=name, topic=topic, position=position
            )
            for position, (name, topic) in enumerate(topics.items())
        ]

    @property
    def accounts(self) -> list[Person]:
        """Return everybody, the bot last."""
        return [*self.people.values(), self.bot]

    @property
    def owner(self) -> Person:
        """Return who owns the guild and the application."""
        return self.people["carol"]

    def person(self, user_id: int) -> Person:
        """Find an account by its id."""
        for person in self.accounts:
            if person.id == user_id:
                return person
        raise Refusal.UNKNOWN_USER.error()

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
        """Return the channel between the bot and a person, opening it at first need."""
        for channel in self.channels.values():
            if channel.recipient is person:
                return channel
        channel = Channel(id=self.ids.next(), type=DM_CHANNEL, name=person.name, recipient=person)
        self.channels[channel.id] = channel
        self.tell_channel(channel, "CHANNEL_CREATE")
        return channel

    def permissions(self, person: Person, channel: Channel | None = None) -> Permission:
        """Compute what somebody may do, in a channel or in the guild."""
        if channel is not None and channel.recipient is not None:
            return ordinary()
        if person is self.owner:
            return everything()
        base = self.roles[self.guild_id].permissions
        for role_id in person.roles:
            base |= self.roles[role_id].permissions
        overwrites = [] if channel is None else list(channel.overwrites.values())
        roles = {self.guild_id, *person.roles}
        return combine(base, overwrites, guild_id=self.guild_id, roles=roles, user=person.id)

    def require(self, channel: Channel, *needed: Permission) -> None:
        """Raise unless the bot may do that in the channel."""
        if channel.recipient is None and not self.bot_in_guild:
            raise Refusal.MISSING_ACCESS.error()
        if channel.recipient is not None and channel.overwrites:
            raise Refusal.CANNOT_SEND_TO_USER.error()
        granted = self.permissions(self.bot, channel)
        if Permission.VIEW_CHANNEL not in granted:
            raise Refusal.MISSING_ACCESS.error()
        if any(permission not in granted for permission in needed):
            raise Refusal.MISSING_PERMISSIONS.error()

    def member_json(self, person: Person) -> Json:
        """Return Discord's member object, with its user."""
        return {
            "user": person.to_json(),
            "nick": None,
            "avatar": None,
            "banner": None,
            "roles": [str(role_id) for role_id in person.roles],
            "joined_at": iso(self.created_at),
            "premium_since": None,
            "communication_disabled_until": None,
            "deaf": False,
            "mute": False,
            "pending": False,
            "flags": 0,
        }

    def guild_json(self) -> Json:
        """Return Discord's guild object, as the HTTP API gives it."""
        return {
            "id": str(self.guild_id),
            "name": self.guild_name,
            "owner_id": str(self.owner.id),
            "roles": [role.to_json() for role in self.roles.values()],
            "icon": None,
            "description": None,
            "home_header": None,
            "splash": None,
            "discovery_splash": None,
            "features": [],
            "banner": None,
            "application_id": None,
            "region": "deprecated",
            "afk_channel_id": None,
            "afk_timeout": 300,
            "system_channel_id": None,
            "system_channel_flags": 0,
            "widget_enabled": False,
            "widget_channel_id": None,
            "verification_level": 0,
            "default_message_notifications": 0,
            "mfa_level": 0,
            "explicit_content_filter": 0,
            "max_presences": None,
            "max_members": 500000,
            "max_stage_video_channel_users": 50,
            "max_video_channel_users": 25,
            "vanity_url_code": None,
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "preferred_locale": "en-US",
            "rules_channel_id": None,
            "safety_alerts_channel_id": None,
            "public_updates_channel_id": None,
            "premium_progress_bar_enabled": False,
            "nsfw": False,
            "nsfw_level": 0,
            "emojis": [],
            "stickers": [],
            "incidents_data": None,
        }

    def guild_channels(self) -> list[Channel]:
        """Return the guild's channels in their order."""
        return [item for item in self.channels.values() if item.recipient is None]

    def commands_for(self, person: Person) -> list[Json]:
        """Return the synced commands that somebody may use in the guild."""
        granted = self.permissions(person)
        synced = [*self.commands.get(None, []), *self.commands.get(self.guild_id, [])]
        return [
            command
            for command in synced
            if (int(command["default_member_permissions"] or 0) & ~int(granted)) == 0
        ]

    def history(self, channel_id: int, user_id: int) -> Sequence[MessageRecord]:
        """Return what somebody sees in a channel, oldest first."""
        return [item for item in self.ledger.in_channel(channel_id) if item.seen_by(user_id)]

    def tell_channel(self, channel: Channel, event: str) -> None:
        """Tell every observer of a channel's change."""
        for observer in self.observers:
            observer.channel_changed(channel, event)


def make_token(user_id: int) -> str:
    """Make a token in the shape of Discord's: the id, a time, a secret."""
    first = base64.urlsafe_b64encode(str(user_id).encode()).decode().rstrip("=")
    return f"{first}.{secrets.token_urlsafe(5)[:6]}.{secrets.token_urlsafe(29)[:38]}"
