"""The options of a command as Discord's client sends them: typed, checked, resolved.

Promises that the bot receives only values its own command definition permits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bot.playground.errors import ApiError
from bot.playground.guilds import Guild
from bot.playground.wire import Json
from bot.playground.world import World

SUBCOMMAND, GROUP = 1, 2
STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(3, 12)
STRING_LIMIT = 6000


class PlayError(ValueError):
    """Somebody tried what Discord's client would not let them do."""


class Resolver:
    """Collects the objects behind ids, for `data.resolved`."""

    def __init__(self, world: World, uploads: Mapping[int, Json], guild: Guild | None) -> None:
        self._world = world
        self._uploads = uploads
        self._guild = guild
        self.resolved: Json = {}

    def add_user(self, user_id: int) -> None:
        """Resolve a person, with their membership where they are in the guild."""
        try:
            person = self._world.person(user_id)
        except ApiError as error:
            raise PlayError(f"there is no user {user_id}") from error
        self.resolved.setdefault("users", {})[str(user_id)] = person.to_json()
        if self._guild is None or user_id not in self._guild.members:
            return
        member = self._guild.member_json(person)
        del member["user"]
        member["permissions"] = str(int(self._guild.permissions(person)))
        self.resolved.setdefault("members", {})[str(user_id)] = member

    def add_channel(self, channel_id: int) -> None:
        """Resolve a channel of the guild."""
        channel = self._world.channels.get(channel_id)
        if channel is None or channel.guild is None or channel.guild is not self._guild:
            raise PlayError(f"there is no channel {channel_id}")
        shown = channel.to_json() | {"permissions": "0"}
        self.resolved.setdefault("channels", {})[str(channel_id)] = shown

    def add_role(self, role_id: int) -> None:
        """Resolve a role of the guild."""
        role = None if self._guild is None else self._guild.roles.get(role_id)
        if role is None:
            raise PlayError(f"there is no role {role_id}")
        self.resolved.setdefault("roles", {})[str(role_id)] = role.to_json()

    def add_mentionable(self, entity_id: int) -> None:
        """Resolve a person or a role."""
        is_role = self._guild is not None and entity_id in self._guild.roles
        (self.add_role if is_role else self.add_user)(entity_id)

    def add_attachment(self, attachment_id: int) -> None:
        """Resolve a file that was uploaded before."""
        attachment = self._uploads.get(attachment_id)
        if attachment is None:
            raise PlayError(f"there is no upload {attachment_id}; upload the file first")
        shown = attachment | {"ephemeral": True}
        self.resolved.setdefault("attachments", {})[str(attachment_id)] = shown


def leaf(command: Json, inner: Sequence[str]) -> list[Json]:
    """Return the options of a command, or of the subcommand that the names lead to."""
    options: list[Json] = command.get("options") or []
    for name in inner:
        found = [
            item for item in options if item["name"] == name and item["type"] in (SUBCOMMAND, GROUP)
        ]
        if not found:
            raise PlayError(f"/{command['name']} has no subcommand {name!r}")
        options = found[0].get("options") or []
    if any(item["type"] in (SUBCOMMAND, GROUP) for item in options):
        raise PlayError(f"/{command['name']} needs a subcommand")
    return options


def typed_options(
    definitions: Sequence[Json],
    values: Mapping[str, Any],
    resolver: Resolver,
    *,
    focused: str | None,
) -> list[Json]:
    """Return the options to send; while one is `focused` the rest may be unfinished."""
    known = {item["name"]: item for item in definitions}
    if unknown := [name for name in values if name not in known]:
        raise PlayError(f"no option {unknown[0]!r}; there are: {', '.join(known) or 'none'}")
    missing = [item["name"] for item in definitions if item.get("required")]
    missing = [name for name in missing if name not in values]
    if focused is None and missing:
        raise PlayError(f"the option {missing[0]!r} is required")
    if focused is not None and not known.get(focused, {}).get("autocomplete"):
        raise PlayError(f"the option {focused!r} does not complete")
    sent: list[Json] = []
    for name, value in values.items():
        item: Json = {"name": name, "type": known[name]["type"], "value": value}
        if name == focused:
            item["focused"] = True
        elif focused is None:
            item["value"] = checked(known[name], value, resolver)
        sent.append(item)
    if focused is not None and focused not in values:
        sent.append({"name": focused, "type": known[focused]["type"], "value": "", "focused": True})
    return sent


def checked(definition: Json, value: Any, resolver: Resolver) -> Any:  # noqa: ANN401
    """Return a value in the type that its option sends, or say what is wrong with it."""
    name, kind = definition["name"], definition["type"]
    choices = [item["value"] for item in definition.get("choices") or []]
    if choices and value not in choices:
        raise PlayError(f"{name} must be one of {choices}, not {value!r}")
    if kind == STRING:
        most = int(definition.get("max_length") or STRING_LIMIT)
        least = int(definition.get("min_length") or 0)
        if not isinstance(value, str) or not max(least, 1) <= len(value) <= most:
            raise PlayError(f"{name} takes {max(least, 1)} to {most} characters")
        return value
    if kind in (INTEGER, NUMBER):
        return checked_number(definition, value)
    if kind == BOOLEAN:
        if not isinstance(value, bool):
            raise PlayError(f"{name} is true or false, not {value!r}")
        return value
    add = {
        USER: resolver.add_user,
        MENTIONABLE: resolver.add_mentionable,
        CHANNEL: resolver.add_channel,
        ROLE: resolver.add_role,
        ATTACHMENT: resolver.add_attachment,
    }[kind]
    add(int(value))
    return str(value)


def checked_number(definition: Json, value: Any) -> int | float:  # noqa: ANN401
    """Return a number within its option's bounds."""
    name = definition["name"]
    whole = definition["type"] == INTEGER
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise PlayError(f"{name} is a {'whole ' if whole else ''}number, not {value!r}")
    number: int | float = value
    for bound, wrong in (("min_value", -1), ("max_value", 1)):
        limit = definition.get(bound)
        if limit is not None and (number - limit) * wrong > 0:
            raise PlayError(f"{name} must be at {'least' if wrong < 0 else 'most'} {limit}")
    return number
