"""Routes of application commands: what the bot syncs, globally and for the guild.

Promises Discord's limits on names, options and choices, and ids that stay when a name stays.
"""

from __future__ import annotations

import re
from typing import Any

from bot.playground.errors import Problems, Refusal
from bot.playground.ratelimits import Limit
from bot.playground.rest import Answer, Call, Route
from bot.playground.wire import Json
from bot.playground.world import World

NAME = re.compile(r"[-_'\w]{1,32}")
MENUS = (2, 3)


class CommandRoutes:
    """Answers for `/applications/{id}/…commands`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        """Return the routes."""
        limit = Limit(name="commands", requests=20, window=20.0)
        found: list[Route] = []
        for scope in (
            "/applications/{application_id}",
            "/applications/{application_id}/guilds/{guild_id}",
        ):
            every, one = f"{scope}/commands", f"{scope}/commands/{{command_id}}"
            found += [
                Route(method="GET", template=every, handler=self.all, limit=limit),
                Route(method="PUT", template=every, handler=self.replace, limit=limit),
                Route(method="POST", template=every, handler=self.add, limit=limit),
                Route(method="GET", template=one, handler=self.get, limit=limit),
                Route(method="DELETE", template=one, handler=self.delete, limit=limit),
            ]
        return found

    async def all(self, call: Call) -> Answer:
        """List the commands of a scope."""
        return Answer(self._world.commands.get(self._scope(call), []))

    async def get(self, call: Call) -> Answer:
        """Get one command."""
        return Answer(self._find(call))

    async def replace(self, call: Call) -> Answer:
        """Overwrite every command of a scope."""
        scope = self._scope(call)
        listed = call.body or []
        if not isinstance(listed, list):
            raise Refusal.INVALID_JSON.error()
        problems = Problems()
        for kind, most in ((1, 100), (2, 15), (3, 15)):
            if sum(item.get("type", 1) == kind for item in listed) > most:
                problems.add("_", "APPLICATION_COMMAND_TOO_MANY", f"At most {most} of type {kind}.")
        names = [(item.get("type") or 1, item.get("name")) for item in listed]
        for index, item in enumerate(listed):
            if names.index(names[index]) != index:
                code = "APPLICATION_COMMANDS_DUPLICATE_NAME"
                problems.add(str(index), code, "Application command names must be unique")
            check_command(problems, item, str(index))
        problems.check()
        self._put(scope, [self._complete(scope, item) for item in listed])
        return Answer(self._world.commands[scope])

    async def add(self, call: Call) -> Answer:
        """Add a command, or overwrite the one of its name."""
        scope, item = self._scope(call), call.form()
        problems = Problems()
        check_command(problems, item, "_")
        problems.check()
        done = self._complete(scope, item)
        others = [one for one in self._world.commands.get(scope, []) if one["id"] != done["id"]]
        known = len(others) < len(self._world.commands.get(scope, []))
        self._put(scope, [*others, done])
        return Answer(done, 200 if known else 201)

    async def delete(self, call: Call) -> Answer:
        """Delete one command."""
        scope, gone = self._scope(call), self._find(call)
        self._put(scope, [one for one in self._world.commands[scope] if one is not gone])
        return Answer()

    def _scope(self, call: Call) -> int | None:
        if call.number("application_id") != self._world.application_id:
            raise Refusal.UNKNOWN_APPLICATION.error()
        if "guild_id" not in call.params:
            return None
        if call.number("guild_id") != self._world.guild_id or not self._world.bot_in_guild:
            raise Refusal.MISSING_ACCESS.error()
        return self._world.guild_id

    def _find(self, call: Call) -> Json:
        for command in self._world.commands.get(self._scope(call), []):
            if command["id"] == call.params["command_id"]:
                return command
        raise Refusal.UNKNOWN_COMMAND.error()

    def _put(self, scope: int | None, commands: list[Json]) -> None:
        self._world.commands[scope] = commands
        for observer in self._world.observers:
            observer.commands_changed()
        self._world.ledger.changed()

    def _complete(self, scope: int | None, item: Json) -> Json:
        kind = int(item.get("type") or 1)
        known = [
            one["id"]
            for one in self._world.commands.get(scope, [])
            if (one["name"], one["type"]) == (item["name"], kind)
        ]
        permissions = item.get("default_member_permissions")
        command: Json = {
            "id": known[0] if known else str(self._world.ids.next()),
            "application_id": str(self._world.application_id),
            "version": str(self._world.ids.next()),
            "default_member_permissions": None if permissions is None else str(permissions),
            "type": kind,
            "name": item["name"],
            "name_localizations": item.get("name_localizations"),
            "description": item.get("description") or "",
            "description_localizations": item.get("description_localizations"),
            "contexts": item.get("contexts"),
            "integration_types": item.get("integration_types") or [0],
            "nsfw": bool(item.get("nsfw")),
        }
        if item.get("options"):
            command["options"] = [shown_option(option) for option in item["options"]]
        if scope is None:
            return command | {"dm_permission": item.get("dm_permission") is not False}
        return command | {"guild_id": str(scope)}


def shown_option(option: Json) -> Json:
    """Return an option as the API gives it back: without what was left out."""
    shown = {key: value for key, value in option.items() if value is not None}
    if not shown.get("required"):
        shown.pop("required", None)
    for key in ("choices", "channel_types", "options"):
        if not shown.get(key):
            shown.pop(key, None)
    if "options" in shown:
        shown["options"] = [shown_option(inner) for inner in shown["options"]]
    return shown


def check_command(problems: Problems, item: Json, path: str) -> None:
    """Note what Discord refuses in a command."""
    menu = item.get("type") in MENUS
    name = item.get("name") or ""
    if menu and not 1 <= len(name) <= 32:
        problems.add(f"{path}.name", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 32 in length.")
    if not menu:
        check_name(problems, name, f"{path}.name")
        check_description(problems, item.get("description"), f"{path}.description")
    check_options(problems, item.get("options") or [], path)


def check_options(problems: Problems, options: list[Json], path: str) -> None:
    """Note what Discord refuses in options, subcommands included."""
    problems.too_many(f"{path}.options", options, 25)
    names: list[Any] = [option.get("name") for option in options]
    optional_seen = False
    for index, option in enumerate(options):
        where = f"{path}.options.{index}"
        check_name(problems, option.get("name") or "", f"{where}.name")
        check_description(problems, option.get("description"), f"{where}.description")
        if names.index(option.get("name")) != index:
            code = "APPLICATION_COMMAND_OPTIONS_NAME_DUPLICATE"
            problems.add(f"{where}.name", code, "Option names must be unique")
        if option.get("required") and optional_seen:
            code = "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID"
            problems.add(where, code, "Required options must be placed before optional options")
        optional_seen = optional_seen or not option.get("required")
        choices = option.get("choices") or []
        problems.too_many(f"{where}.choices", choices, 25)
        for number, choice in enumerate(choices):
            problems.too_long(f"{where}.choices.{number}.name", choice.get("name"), 100)
            problems.too_long(f"{where}.choices.{number}.value", choice.get("value"), 100)
        if choices and option.get("autocomplete"):
            code = "APPLICATION_COMMAND_OPTIONS_CHOICES_AUTOCOMPLETE"
            problems.add(where, code, "Choices and autocomplete are mutually exclusive")
        check_options(problems, option.get("options") or [], where)


def check_name(problems: Problems, name: str, path: str) -> None:
    """Note a name that no slash command may have."""
    if not NAME.fullmatch(name) or name != name.lower():
        code = "APPLICATION_COMMAND_INVALID_NAME"
        problems.add(path, code, "Command name is invalid")


def check_description(problems: Problems, text: object, path: str) -> None:
    """Note a description that is missing or too long."""
    if not isinstance(text, str) or not 1 <= len(text) <= 100:
        problems.add(path, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
