"""What people do: use commands, press, choose, type, fill in modals, say things.

Promises to let through only what Discord's own client would let them do; everything else is a
`PlayError` with a sentence. Never answers for the bot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from bot.playground.cdn import Cdn, Upload
from bot.playground.components import SELECTS, Kind, walk
from bot.playground.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL, Interactions
from bot.playground.ledger import MessageRecord, PlayInteraction
from bot.playground.messages import Messages
from bot.playground.options import PlayError, Resolver, leaf, typed_options
from bot.playground.people import Person
from bot.playground.permissions import Permission
from bot.playground.rendering import Draft, as_seen
from bot.playground.wire import Json
from bot.playground.world import Channel, World


class Actions:
    """The hands of the people of the playground."""

    def __init__(
        self, world: World, messages: Messages, interactions: Interactions, cdn: Cdn
    ) -> None:
        self._world = world
        self._messages = messages
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
        data = self._command_data(person, path, values, None)
        self._may_use(person, channel)
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
        data = self._command_data(person, path, values, focused)
        self._may_use(person, channel)
        return self._interactions.start(AUTOCOMPLETE, person, channel, data, nonce=nonce)

    def menu(
        self, person: Person, name: str, target: MessageRecord | Person, channel: Channel
    ) -> PlayInteraction:
        """Use a command of a message's or a person's menu."""
        kind = 3 if isinstance(target, MessageRecord) else 2
        command = self._command(person, name, kind)
        resolver = Resolver(self._world, self._uploads)
        if isinstance(target, MessageRecord):
            resolver.resolved["messages"] = {str(target.id): as_seen(target.data)}
        else:
            resolver.add_user(target.id)
        data = {
            "id": command["id"],
            "name": command["name"],
            "type": kind,
            "target_id": str(target.id),
            "resolved": resolver.resolved,
        }
        self._may_use(person, channel)
        return self._interactions.start(COMMAND, person, channel, data)

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
            data |= self._chosen(item, values or [])
        elif values:
            raise PlayError(f"{custom_id!r} is a button and takes no values")
        channel = self._world.channel(record.channel_id)
        return self._interactions.start(
            COMPONENT, person, channel, data, source=record, nonce=nonce
        )

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
        known = {
            item["custom_id"] for _, item in walk(modal["components"], "") if "custom_id" in item
        }
        if unknown := set(fields) - known:
            raise PlayError(f"the modal has no field {sorted(unknown)}; it has {sorted(known)}")
        resolver = Resolver(self._world, self._uploads)
        numbers = count(1)
        filled = [fill_in(part, fields, resolver, numbers) for part in modal["components"]]
        data: Json = {"custom_id": modal["custom_id"], "components": filled}
        if resolver.resolved:
            data["resolved"] = resolver.resolved
        source = self._world.ledger.messages.get(opened.source_message_id or 0)
        channel = self._world.channel(opened.channel_id)
        return self._interactions.start(MODAL, person, channel, data, source=source, nonce=nonce)

    async def say(self, person: Person, channel: Channel, content: str) -> MessageRecord:
        """Write an ordinary message."""
        draft = Draft(channel=channel, author=person, payload={"content": content})
        return await self._messages.create(draft)

    def dismiss(self, person: Person, message_id: int) -> None:
        """Make an ephemeral message go away."""
        record = self._world.ledger.messages.get(message_id)
        if record is None or record.visible_to != person.id or record.deleted_at is not None:
            raise PlayError(f"{person.name} has no message {message_id} to dismiss")
        self._messages.delete(record)

    def _command(self, person: Person, name: str, kind: int) -> Json:
        offered = self._world.commands_for(person)
        for command in offered:
            if (command["name"], command["type"]) == (name, kind):
                return command
        names = ", ".join(command["name"] for command in offered if command["type"] == kind)
        raise PlayError(f"{person.name} is offered no command {name!r}; there are: {names}")

    def _command_data(
        self, person: Person, path: str, values: Mapping[str, Any], focused: str | None
    ) -> Json:
        name, *inner = path.split()
        command = self._command(person, name, 1)
        resolver = Resolver(self._world, self._uploads)
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

    def _may_use(self, person: Person, channel: Channel) -> None:
        granted = self._world.permissions(person, channel)
        if Permission.USE_APPLICATION_COMMANDS not in granted:
            raise PlayError(f"{person.name} may not use commands in #{channel.name}")

    def _chosen(self, item: Json, values: list[str]) -> Json:
        least, most = int(item.get("min_values", 1)), int(item.get("max_values", 1))
        if not least <= len(values) <= most:
            raise PlayError(f"choose {least} to {most} values, not {len(values)}")
        offered = [option["value"] for option in item.get("options") or []]
        if item["type"] == Kind.SELECT and (wrong := set(values) - set(offered)):
            raise PlayError(f"the menu does not offer {sorted(wrong)}; it offers {offered}")
        data: Json = {"values": values}
        if item["type"] in (Kind.USER_SELECT, Kind.MENTIONABLE_SELECT):
            resolver = Resolver(self._world, self._uploads)
            for value in values:
                resolver.add_user(int(value))
            data["resolved"] = resolver.resolved
        return data


def fill_in(
    part: Json, fields: Mapping[str, Any], resolver: Resolver, numbers: Iterator[int]
) -> Json:
    """Return one component of a modal as the client submits it."""
    kind = part["type"]
    done: Json = {"type": kind, "id": part.get("id") or next(numbers)}
    if kind == Kind.ROW:
        inner = part["components"]
        return done | {"components": [fill_in(x, fields, resolver, numbers) for x in inner]}
    if kind == Kind.LABEL:
        return done | {"component": fill_in(part["component"], fields, resolver, numbers)}
    if "custom_id" not in part:
        return done
    custom_id = part["custom_id"]
    done["custom_id"] = custom_id
    if kind == Kind.TEXT_INPUT:
        return done | {"value": typed_text(part, fields.get(custom_id, part.get("value") or ""))}
    if kind in (Kind.RADIO_GROUP, Kind.CHECKBOX):
        return done | {"value": fields.get(custom_id, False if kind == Kind.CHECKBOX else None)}
    values = [str(value) for value in fields.get(custom_id, [])]
    if kind == Kind.FILE_UPLOAD:
        for value in values:
            resolver.add_attachment(int(value))
    return done | {"values": values}


def typed_text(part: Json, text: str) -> str:
    """Check a text against its field's limits."""
    least = int(part.get("min_length") or 0)
    most = int(part.get("max_length") or 4000)
    if not text and part.get("required", True):
        raise PlayError(f"the field {part['custom_id']!r} must be filled in")
    if text and not least <= len(text) <= most:
        raise PlayError(f"{part['custom_id']!r} takes {least} to {most} characters")
    return text
