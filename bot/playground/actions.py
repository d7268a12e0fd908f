"""What people do: use commands and menus, press, choose, fill in modals, react, say things.

Promises to let through only what Discord's own client would let them do; everything else is a
`PlayError` with a sentence. Never answers for the bot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.playground.cdn import Cdn, Upload
from bot.playground.command_forms import LOCALES
from bot.playground.components import SELECTS, Kind
from bot.playground.guilds import Channel, Guild
from bot.playground.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL, Interactions
from bot.playground.ledger import MessageRecord, PlayInteraction
from bot.playground.messages import Messages
from bot.playground.modals import fill_in, resolve
from bot.playground.options import PlayError, Resolver, leaf, typed_options
from bot.playground.people import Person
from bot.playground.permissions import Permission
from bot.playground.reactions import Reactions, reactors
from bot.playground.rendering import Draft, as_seen
from bot.playground.wire import Json
from bot.playground.world import World

ON_PERSON, ON_MESSAGE = 2, 3


class Actions:
    """The hands of the people of the playground."""

    def __init__(
        self,
        world: World,
        messages: Messages,
        reactions: Reactions,
        interactions: Interactions,
        cdn: Cdn,
    ) -> None:
        self._world = world
        self._messages = messages
        self._reactions = reactions
        self._interactions = interactions
        self._cdn = cdn
        self._uploads: dict[int, Json] = {}

    async def upload(self, person: Person, filename: str, data: bytes) -> Json:
        """Put a file at the CDN, to be used in a command or a modal; returns its attachment."""
        upload = Upload(index="0", filename=filename, data=data)
        attachment = await self._cdn.store(upload, self._world.guild_channels()[0].id)
        self._uploads[int(attachment["id"])] = attachment
        return attachment

    def slash(
        self,
        person: Person,
        path: str,
        values: Mapping[str, Any],
        channel: Channel,
        *,
        nonce: str | None = None,
    ) -> PlayInteraction:
        """Use a slash command; `path` is its name, with a subcommand after a space."""
        data = self._command_data(person, path, values, None, channel)
        return self._interactions.start(COMMAND, person, channel, data, nonce=nonce)

    def autocomplete(
        self,
        person: Person,
        path: str,
        values: Mapping[str, Any],
        focused: str,
        channel: Channel,
        *,
        nonce: str | None = None,
    ) -> PlayInteraction:
        """Type into an option that completes; `values` holds what was typed so far."""
        data = self._command_data(person, path, values, focused, channel)
        return self._interactions.start(AUTOCOMPLETE, person, channel, data, nonce=nonce)

    def menu(
        self,
        person: Person,
        name: str,
        target: MessageRecord | Person,
        channel: Channel,
        *,
        nonce: str | None = None,
    ) -> PlayInteraction:
        """Use a command of a message's or a person's menu."""
        self._may_use(person, channel)
        resolver = Resolver(self._world, self._uploads, channel.guild)
        kind = ON_MESSAGE if isinstance(target, MessageRecord) else ON_PERSON
        if isinstance(target, MessageRecord):
            if not target.seen_by(person.id):
                raise PlayError(f"{person.name} sees no message {target.id}")
            resolver.resolved["messages"] = {str(target.id): as_seen(target.data)}
        else:
            resolver.add_user(target.id)
        command = self._command(person, name, kind, channel)
        data = {
            "id": command["id"],
            "name": command["name"],
            "type": kind,
            "target_id": str(target.id),
            "resolved": resolver.resolved,
        }
        return self._interactions.start(COMMAND, person, channel, data, nonce=nonce)

    def press(
        self,
        person: Person,
        message_id: int,
        custom_id: str,
        *,
        values: list[str] | None = None,
        nonce: str | None = None,
    ) -> PlayInteraction:
        """Press a button, or choose `values` in a menu."""
        record = self._world.ledger.messages.get(message_id)
        if record is None or not record.seen_by(person.id):
            raise PlayError(f"{person.name} sees no message {message_id}")
        channel = self._world.channel(record.channel_id)
        self._may_act(person, channel)
        found = [item for item in record.components if item.get("custom_id") == custom_id]
        if not found:
            have = ", ".join(record.custom_ids) or "none"
            raise PlayError(f"message {message_id} has no {custom_id!r}; it has {have}")
        item = found[0]
        if item.get("disabled"):
            raise PlayError(f"{custom_id!r} is disabled")
        data: Json = {
            "custom_id": custom_id,
            "component_type": item["type"],
            "id": item["id"],
        }
        if item["type"] in SELECTS:
            data |= self._chosen(item, values or [], channel)
        elif values:
            raise PlayError(f"{custom_id!r} is a button and takes no values")
        return self._interactions.start(
            COMPONENT, person, channel, data, source=record, nonce=nonce
        )

    def forge(self, person: Person, message_id: int, custom_id: str) -> PlayInteraction:
        """Press a button that need not be there; Discord's own client would not let anybody."""
        record = self._world.ledger.messages[message_id]
        channel = self._world.channel(record.channel_id)
        data: Json = {"custom_id": custom_id, "component_type": Kind.BUTTON, "id": 1}
        return self._interactions.start(COMPONENT, person, channel, data, source=record)

    def submit_modal(
        self,
        person: Person,
        opened: PlayInteraction,
        fields: Mapping[str, Any],
        *,
        nonce: str | None = None,
    ) -> PlayInteraction:
        """Fill in the modal that an interaction opened; unnamed fields keep their text."""
        modal = opened.modal
        if modal is None or opened.user_id != person.id:
            raise PlayError(f"interaction {opened.id} opened no modal for {person.name}")
        channel = self._world.channel(opened.channel_id)
        self._may_act(person, channel)
        data = fill_in(modal, fields, Resolver(self._world, self._uploads, channel.guild))
        source = self._world.ledger.messages.get(opened.source_message_id or 0)
        return self._interactions.start(MODAL, person, channel, data, source=source, nonce=nonce)

    async def say(
        self, person: Person, channel: Channel, content: str, *, reply_to: int | None = None
    ) -> MessageRecord:
        """Write an ordinary message, perhaps as a reply."""
        self._may_act(person, channel, Permission.SEND_MESSAGES)
        payload: Json = {"content": content}
        if reply_to is not None:
            payload["message_reference"] = {"message_id": str(reply_to)}
        return await self._messages.create(Draft(channel=channel, author=person, payload=payload))

    def react(self, person: Person, message_id: int, emoji: str, *, added: bool = True) -> None:
        """Add a reaction, or take one's own back."""
        record = self._world.ledger.messages.get(message_id)
        if record is None or not record.seen_by(person.id):
            raise PlayError(f"{person.name} sees no message {message_id}")
        if record.ephemeral:
            raise PlayError("nobody can react to what only they can see")
        # Anybody may join a reaction that is there; a new one takes a permission.
        new = added and not reactors(record, emoji)
        needed = (Permission.ADD_REACTIONS,) if new else ()
        self._may_act(person, self._world.channel(record.channel_id), *needed)
        self._reactions.react(record, person, emoji, added=added)

    def choose_language(self, person: Person, locale: str) -> None:
        """Set the language of somebody's client."""
        if locale not in LOCALES:
            raise PlayError(f"Discord has no language {locale!r}")
        person.locale = locale
        self._world.tell(lambda observer: observer.locale_changed(person))

    def choose_guild_language(self, guild: Guild, locale: str) -> None:
        """Set a guild's language."""
        if locale not in LOCALES:
            raise PlayError(f"Discord has no language {locale!r}")
        guild.locale = locale
        self._world.tell(lambda observer: observer.guild_changed(guild))

    def dismiss(self, person: Person, message_id: int) -> None:
        """Make an ephemeral message go away."""
        record = self._world.ledger.messages.get(message_id)
        if record is None or record.visible_to != person.id or record.deleted_at is not None:
            raise PlayError(f"{person.name} has no message {message_id} to dismiss")
        self._messages.delete(record)

    def _command(self, person: Person, name: str, kind: int, channel: Channel) -> Json:
        offered = self._world.commands_for(person, channel)
        for command in offered:
            if (command["name"], command["type"]) == (name, kind):
                return command
        names = ", ".join(command["name"] for command in offered if command["type"] == kind)
        raise PlayError(f"{person.name} is offered no command {name!r}; there are: {names}")

    def _command_data(
        self,
        person: Person,
        path: str,
        values: Mapping[str, Any],
        focused: str | None,
        channel: Channel,
    ) -> Json:
        self._may_use(person, channel)
        name, *inner = path.split()
        command = self._command(person, name, 1, channel)
        resolver = Resolver(self._world, self._uploads, channel.guild)
        options = typed_options(leaf(command, inner), values, resolver, focused=focused)
        for part in reversed(inner):
            kind = 1 if part == inner[-1] else 2
            options = [{"name": part, "type": kind, "options": options}]
        data: Json = {"id": command["id"], "name": name, "type": 1, "options": options}
        if "guild_id" in command:
            data["guild_id"] = command["guild_id"]
        if resolver.resolved:
            data["resolved"] = resolver.resolved
        return data

    def _may_act(self, person: Person, channel: Channel, *needed: Permission) -> None:
        """Refuse what the client would not offer: a channel out of sight, a missing permission."""
        where = f"#{channel.name}" if channel.guild is not None else "these direct messages"
        granted = self._world.permissions(person, channel)
        if Permission.VIEW_CHANNEL not in granted:
            raise PlayError(f"{person.name} is not in {where}")
        if any(permission not in granted for permission in needed):
            raise PlayError(f"{person.name} may not do that in {where}")

    def _may_use(self, person: Person, channel: Channel) -> None:
        self._may_act(person, channel)
        if Permission.USE_APPLICATION_COMMANDS not in self._world.permissions(person, channel):
            raise PlayError(f"{person.name} may not use commands in #{channel.name}")

    def _chosen(self, item: Json, values: list[str], channel: Channel) -> Json:
        least, most = (int(item.get(key, 1)) for key in ("min_values", "max_values"))
        if not least <= len(values) <= most:
            raise PlayError(f"choose {least} to {most} values, not {len(values)}")
        offered = [option["value"] for option in item.get("options") or []]
        if item["type"] == Kind.SELECT and (wrong := set(values) - set(offered)):
            raise PlayError(f"the menu does not offer {sorted(wrong)}; it offers {offered}")
        resolver = Resolver(self._world, self._uploads, channel.guild)
        resolve(item["type"], values, resolver)
        resolved: Json = {"resolved": resolver.resolved} if item["type"] != Kind.SELECT else {}
        return {"values": values} | resolved
