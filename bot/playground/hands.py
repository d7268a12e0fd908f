"""What a test, or whoever holds a playground, lets its people and its admins do.

Promises the client's own limits for people; the levers of admins have none. Never starts a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bot.playground.actions import Actions
from bot.playground.cdn import Cdn
from bot.playground.founding import BOT_ROLE
from bot.playground.guilds import TEXT_CHANNEL, Channel, Guild, Member, Role
from bot.playground.ledger import MessageRecord, PlayInteraction
from bot.playground.messages import Messages
from bot.playground.people import Person
from bot.playground.permissions import Overwrite, Permission
from bot.playground.wire import Json
from bot.playground.world import World, make_token

File = tuple[str, bytes]
Files = Mapping[str, File | Sequence[File]]


class Hands:
    """The people's hands."""

    def __init__(self, world: World, actions: Actions, messages: Messages, cdn: Cdn) -> None:
        self.world = world
        self.actions = actions
        self._messages = messages
        self._cdn = cdn

    @property
    def people(self) -> dict[str, Person]:
        """Return the people by their names."""
        return self.world.people

    @property
    def guilds(self) -> list[Guild]:
        """Return the guilds, the first one first."""
        return list(self.world.guilds.values())

    @property
    def guild_id(self) -> int:
        """Return the first guild's id."""
        return self.world.home.id

    @property
    def channels(self) -> dict[str, int]:
        """Return the ids of the first guild's channels by their names."""
        return self.world.home.channels

    @property
    def channel_id(self) -> int:
        """Return the id of #easel."""
        return self.world.guild_channels()[0].id

    async def slash(
        self,
        who: str,
        command: str,
        options: Mapping[str, Any] | None = None,
        *,
        files: Mapping[str, File] | None = None,
        channel_id: int | None = None,
    ) -> PlayInteraction:
        """Use a slash command; a subcommand follows its command after a space.

        `files` gives (name, bytes) for options that take an attachment.
        """
        given = dict(options or {})
        for name, file in (files or {}).items():
            given[name] = (await self.upload(who, *file))["id"]
        return self.actions.slash(self.people[who], command, given, self._channel(channel_id))

    async def autocomplete(
        self,
        who: str,
        command: str,
        options: Mapping[str, Any],
        focused: str,
        *,
        channel_id: int | None = None,
    ) -> PlayInteraction:
        """Type into an option; the answer's `choices` are on the interaction once acknowledged."""
        return self.actions.autocomplete(
            self.people[who], command, options, focused, self._channel(channel_id)
        )

    async def press(
        self, who: str, message_id: int, custom_id: str, *, values: list[str] | None = None
    ) -> PlayInteraction:
        """Press a button, or choose values in a menu."""
        return self.actions.press(self.people[who], message_id, custom_id, values=values)

    async def menu(
        self, who: str, target: int | str, command: str, *, channel_id: int | None = None
    ) -> PlayInteraction:
        """Use a command of a message's menu (`target` is its id) or of a person's (their name)."""
        person = self.people[who]
        if isinstance(target, str):
            channel = self._channel(channel_id)
            return self.actions.menu(person, command, self.people[target], channel)
        record = self.world.ledger.messages[target]
        return self.actions.menu(person, command, record, self._channel(record.channel_id))

    async def submit(
        self,
        who: str,
        opened: PlayInteraction,
        values: Mapping[str, Any] | None = None,
        *,
        files: Files | None = None,
    ) -> PlayInteraction:
        """Submit the modal that an interaction opened; what is not named keeps its default.

        `files` gives (name, bytes), or several of them, for the fields that take files.
        """
        given = dict(values or {})
        for custom_id, named in (files or {}).items():
            several = [named] if isinstance(named, tuple) else named
            given[custom_id] = [(await self.upload(who, *file))["id"] for file in several]
        return self.actions.submit_modal(self.people[who], opened, given)

    async def submit_modal(
        self, who: str, opened: PlayInteraction, fields: Mapping[str, Any]
    ) -> PlayInteraction:
        """Submit a modal without files."""
        return await self.submit(who, opened, fields)

    async def upload(self, who: str, filename: str, data: bytes) -> Json:
        """Upload a file; its `id` is the value of an attachment option."""
        return await self.actions.upload(self.people[who], filename, data)

    async def say(
        self,
        who: str,
        content: str,
        *,
        channel_id: int | None = None,
        reply_to: int | None = None,
    ) -> MessageRecord:
        """Write an ordinary message, perhaps as a reply to another."""
        channel = self._channel(channel_id)
        return await self.actions.say(self.people[who], channel, content, reply_to=reply_to)

    async def react(self, who: str, message_id: int, emoji: str, *, added: bool = True) -> None:
        """Add a reaction as somebody, or take it back."""
        self.actions.react(self.people[who], message_id, emoji, added=added)

    def direct_messages(self, who: str) -> int:
        """Return the id of the channel between somebody and the bot."""
        return self.world.direct_messages(self.people[who]).id

    def replay(self, interaction: PlayInteraction) -> None:
        """Dispatch an interaction a second time, with the same id."""
        self.world.tell(lambda observer: observer.interaction_created(interaction))

    async def read_attachment(self, attachment: Json) -> bytes:
        """Return the bytes behind an attachment object."""
        return await self._cdn.read(int(attachment["id"]))

    def _channel(self, channel_id: int | None) -> Channel:
        return self.world.channel(self.channel_id if channel_id is None else channel_id)


class Levers(Hands):
    """The people's hands, and what only admins and Discord itself can do."""

    @property
    def attachment_limit(self) -> int:
        """Return how large a file may be, in bytes; interactions say so too."""
        return self.world.attachment_limit

    @attachment_limit.setter
    def attachment_limit(self, most: int) -> None:
        self.world.attachment_limit = most

    def set_locale(self, who: str, locale: str) -> None:
        """Change the language of somebody's client."""
        self.actions.choose_language(self.people[who], locale)

    def set_guild_locale(self, locale: str, *, guild_id: int | None = None) -> None:
        """Change a guild's language."""
        self.actions.choose_guild_language(self._guild(guild_id), locale)

    def role(self, name: str, *, guild_id: int | None = None) -> Role:
        """Find a role by its name."""
        return self._guild(guild_id).role(name)

    def add_role(
        self, name: str, permissions: Permission | None = None, *, guild_id: int | None = None
    ) -> Role:
        """Make a role that nobody has yet."""
        guild = self._guild(guild_id)
        role = Role(
            id=self.world.ids.next(),
            name=name,
            permissions=permissions or Permission(0),
            position=len(guild.roles),
        )
        guild.roles[role.id] = role
        self.world.tell(lambda observer: observer.guild_changed(guild))
        return role

    def give_role(self, who: str, role: str, *, guild_id: int | None = None) -> None:
        """Give somebody a role."""
        guild, member = self._member(who, guild_id)
        member.roles.append(guild.role(role).id)
        self._tell_member(guild, member.person, "GUILD_MEMBER_UPDATE")

    def take_role(self, who: str, role: str, *, guild_id: int | None = None) -> None:
        """Take a role from somebody."""
        guild, member = self._member(who, guild_id)
        member.roles.remove(guild.role(role).id)
        self._tell_member(guild, member.person, "GUILD_MEMBER_UPDATE")

    def leave(self, who: str, *, guild_id: int | None = None) -> None:
        """Let somebody leave a guild; their messages stay."""
        guild, member = self._member(who, guild_id)
        del guild.members[member.person.id]
        self._tell_member(guild, member.person, "GUILD_MEMBER_REMOVE")

    def join(self, who: str, *, guild_id: int | None = None) -> None:
        """Let somebody join a guild, without roles."""
        guild, person = self._guild(guild_id), self.people[who]
        now = self.world.clock.now()
        guild.members[person.id] = Member(person=person, joined_at=now)
        self._tell_member(guild, person, "GUILD_MEMBER_ADD")

    def delete_message(self, message_id: int) -> None:
        """Delete a message as a moderator would."""
        self._messages.delete(self.world.ledger.messages[message_id])

    def deny(self, permissions: Permission, *, channel_id: int | None = None) -> None:
        """Take permissions from the bot in a channel; `Permission(0)` gives them back.

        In somebody's direct messages it means that they take no messages from the bot.
        """
        channel = self._channel(channel_id)
        bot_id = self.world.bot.id
        channel.overwrites.pop(bot_id, None)
        if permissions:
            channel.overwrites[bot_id] = Overwrite(
                target_id=bot_id, kind=1, allow=Permission(0), deny=permissions
            )
        self.world.tell(lambda observer: observer.channel_changed(channel, "CHANNEL_UPDATE"))

    def delete_channel(self, channel_id: int) -> None:
        """Delete a channel as an admin would."""
        channel = self.world.channels.pop(channel_id)
        if channel.guild is not None:
            del channel.guild.channels[channel.name]
        self.world.tell(lambda observer: observer.channel_changed(channel, "CHANNEL_DELETE"))

    def kick_bot(self, *, guild_id: int | None = None) -> None:
        """Remove the bot from a guild."""
        guild = self._guild(guild_id)
        del guild.members[self.world.bot.id]
        self.world.tell(lambda observer: observer.bot_kicked(guild))

    def invite_bot(self, *, guild_id: int | None = None) -> None:
        """Take the bot back into a guild."""
        guild = self._guild(guild_id)
        now, roles = self.world.clock.now(), [guild.role(BOT_ROLE).id]
        guild.members[self.world.bot.id] = Member(person=self.world.bot, joined_at=now, roles=roles)
        self.world.tell(lambda observer: observer.bot_invited(guild))

    def add_channel(self, name: str, *, guild_id: int | None = None) -> int:
        """Make a channel that everybody may use; returns its id."""
        guild = self._guild(guild_id)
        channel = Channel(
            id=self.world.ids.next(),
            type=TEXT_CHANNEL,
            name=name,
            guild=guild,
            position=len(guild.channels),
        )
        self.world.channels[channel.id] = channel
        guild.channels[name] = channel.id
        self.world.tell(lambda observer: observer.channel_changed(channel, "CHANNEL_CREATE"))
        return channel.id

    def revoke_token(self) -> None:
        """Give the bot another token, as its owner can; open connections stay."""
        self.world.token = make_token(self.world.application_id)

    def forge(self, who: str, message_id: int, custom_id: str) -> PlayInteraction:
        """Press a button that a message need not have, as only a forged client can."""
        return self.actions.forge(self.people[who], message_id, custom_id)

    def _guild(self, guild_id: int | None) -> Guild:
        return self.world.home if guild_id is None else self.world.guilds[guild_id]

    def _member(self, who: str, guild_id: int | None) -> tuple[Guild, Member]:
        guild = self._guild(guild_id)
        return guild, guild.members[self.people[who].id]

    def _tell_member(self, guild: Guild, person: Person, event: str) -> None:
        self.world.tell(lambda observer: observer.member_changed(guild, person, event))
