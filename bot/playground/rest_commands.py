"""Routes of application commands: what the bot syncs, globally and for the guild.

Promises Discord's limits on names, options and choices, and ids that stay when a name stays.
"""

from __future__ import annotations

from bot.playground.command_forms import check_command, check_commands
from bot.playground.errors import Problems, Refusal
from bot.playground.ratelimits import Limit
from bot.playground.rest import Answer, Call, Route
from bot.playground.wire import Json
from bot.playground.world import World


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
        """List the commands of a scope; their translations only to those who ask for them."""
        found = self._world.commands.get(self._scope(call), [])
        if call.flag("with_localizations"):
            return Answer(found)
        return Answer([untranslated(command) for command in found])

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
        check_commands(problems, listed)
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
        guild_id = call.number("guild_id")
        if all(guild.id != guild_id for guild in self._world.bot_guilds):
            raise Refusal.MISSING_ACCESS.error()
        return guild_id

    def _find(self, call: Call) -> Json:
        for command in self._world.commands.get(self._scope(call), []):
            if command["id"] == call.params["command_id"]:
                return command
        raise Refusal.UNKNOWN_COMMAND.error()

    def _put(self, scope: int | None, commands: list[Json]) -> None:
        self._world.commands[scope] = commands
        self._world.tell(lambda observer: observer.commands_changed())

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


def untranslated(item: Json) -> Json:
    """Return a command, an option or a choice without its translations."""
    shown = {key: value for key, value in item.items() if not key.endswith("_localizations")}
    for key in ("options", "choices"):
        if key in shown:
            shown[key] = [untranslated(inner) for inner in shown[key]]
    return shown
