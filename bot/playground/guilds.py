"""Guilds: their members, roles and channels, in Discord's own JSON.

Promises that what somebody may do in a guild is what its roles and its owner say. Knows no
messages and tells nobody of a change; the world does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.playground.people import Person
from bot.playground.permissions import Overwrite, Permission, combine, everything
from bot.playground.wire import Json, iso

TEXT_CHANNEL = 0
DM_CHANNEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of a guild."""

    id: int
    name: str
    permissions: Permission
    position: int
    colour: int = 0
    bot_id: int | None = None

    def to_json(self) -> Json:
        """Return Discord's role object."""
        role: Json = {
            "id": str(self.id),
            "name": self.name,
            "permissions": str(int(self.permissions)),
            "position": self.position,
            "color": self.colour,
            "colors": {
                "primary_color": self.colour,
                "secondary_color": None,
                "tertiary_color": None,
            },
            "hoist": False,
            "managed": self.bot_id is not None,
            "mentionable": False,
            "icon": None,
            "unicode_emoji": None,
            "flags": 0,
        }
        if self.bot_id is not None:
            role["tags"] = {"bot_id": str(self.bot_id)}
        return role


@dataclass(slots=True, kw_only=True, eq=False)
class Member:
    """Somebody's place in a guild: since when, and with which roles."""

    person: Person
    joined_at: float
    roles: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class Guild:
    """One guild; `members` are by account id and hold the bot too while it is there."""

    id: int
    name: str
    owner: Person
    created_at: float
    roles: dict[int, Role]
    members: dict[int, Member]
    channels: dict[str, int] = field(default_factory=dict)
    locale: str = "en-US"

    @property
    def accounts(self) -> list[Person]:
        """Return everybody who is here."""
        return [member.person for member in self.members.values()]

    def role(self, name: str) -> Role:
        """Find a role by its name."""
        for role in self.roles.values():
            if role.name == name:
                return role
        raise KeyError(name)

    def permissions(self, person: Person, overwrites: Iterable[Overwrite] = ()) -> Permission:
        """Compute what somebody may do here; who is not here may do nothing."""
        member = self.members.get(person.id)
        if member is None:
            return Permission(0)
        if person is self.owner:
            return everything()
        base = self.roles[self.id].permissions
        for role_id in member.roles:
            base |= self.roles[role_id].permissions
        roles = {self.id, *member.roles}
        return combine(base, overwrites, guild_id=self.id, roles=roles, user=person.id)

    def member_json(self, person: Person) -> Json:
        """Return Discord's member object, with its user."""
        member = self.members[person.id]
        return {
            "user": person.to_json(),
            "nick": None,
            "avatar": None,
            "banner": None,
            "roles": [str(role_id) for role_id in member.roles],
            "joined_at": iso(member.joined_at),
            "premium_since": None,
            "communication_disabled_until": None,
            "deaf": False,
            "mute": False,
            "pending": False,
            "flags": 0,
        }

    def to_json(self) -> Json:
        """Return Discord's guild object, as the HTTP API gives it."""
        return {
            "id": str(self.id),
            "name": self.name,
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
            "preferred_locale": self.locale,
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


@dataclass(slots=True, kw_only=True, eq=False)
class Channel:
    """A text channel of a guild, or the direct messages between the bot and one person."""

    id: int
    type: int
    name: str
    guild: Guild | None = None
    position: int = 0
    topic: str | None = None
    nsfw: bool = False
    recipient: Person | None = None
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    last_message_id: int | None = None

    def permissions(self, person: Person) -> Permission:
        """Compute what somebody may do in this channel of a guild."""
        if self.guild is None:
            return Permission(0)
        return self.guild.permissions(person, self.overwrites.values())

    def to_json(self) -> Json:
        """Return Discord's channel object."""
        base: Json = {
            "id": str(self.id),
            "type": self.type,
            "flags": 0,
            "last_message_id": str(self.last_message_id) if self.last_message_id else None,
        }
        if self.guild is None:
            recipients = [] if self.recipient is None else [self.recipient.to_json()]
            return base | {"recipients": recipients}
        return base | {
            "guild_id": str(self.guild.id),
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
