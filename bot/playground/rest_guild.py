"""Routes of accounts, the application, the guild and the gateway's address.

Promises what discord.py asks for at login and when it fetches; the objects come from `world`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from bot.playground.errors import Refusal
from bot.playground.ratelimits import Limit
from bot.playground.rest import Answer, Call, Route
from bot.playground.wire import Json
from bot.playground.world import World


class GuildRoutes:
    """Answers for `/users`, `/oauth2`, `/gateway` and `/guilds`."""

    def __init__(self, world: World, gateway_url: Callable[[], str]) -> None:
        self._world = world
        self._gateway_url = gateway_url

    def routes(self) -> list[Route]:
        """Return the routes."""
        limit = Limit(name="reading", requests=30, window=5.0)
        opening = Limit(name="open direct messages", requests=10, window=10.0)
        table = [
            ("/users/@me", self.me),
            ("/users/{user_id}", self.user),
            ("/users/@me/guilds", self.guilds),
            ("/oauth2/applications/@me", self.application),
            ("/applications/@me", self.application),
            ("/gateway", self.gateway),
            ("/gateway/bot", self.gateway_bot),
            ("/guilds/{guild_id}", self.guild),
            ("/guilds/{guild_id}/channels", self.channels),
            ("/guilds/{guild_id}/members", self.members),
            ("/guilds/{guild_id}/members/{user_id}", self.member),
            ("/guilds/{guild_id}/roles", self.roles),
            ("/guilds/{guild_id}/roles/{role_id}", self.role),
        ]
        found = [
            Route(method="GET", template=template, handler=handler, limit=limit)
            for template, handler in table
        ]
        direct = "/users/@me/channels"
        found.append(Route(method="POST", template=direct, handler=self.open, limit=opening))
        return found

    async def me(self, call: Call) -> Answer:
        """Get the bot's own account."""
        private = {"mfa_enabled": True, "locale": "en-US", "email": None, "verified": True}
        return Answer(self._world.bot.to_json() | private)

    async def user(self, call: Call) -> Answer:
        """Get an account."""
        return Answer(self._world.person(call.number("user_id")).to_json())

    async def guilds(self, call: Call) -> Answer:
        """List the bot's guilds."""
        if not self._world.bot_in_guild:
            return Answer([])
        permissions = str(int(self._world.permissions(self._world.bot)))
        guild: Json = {
            "id": str(self._world.guild_id),
            "name": self._world.guild_name,
            "icon": None,
            "banner": None,
            "owner": False,
            "permissions": permissions,
            "features": [],
        }
        return Answer([guild])

    async def application(self, call: Call) -> Answer:
        """Get the bot's application with its owner."""
        return Answer(self._application())

    async def gateway(self, call: Call) -> Answer:
        """Get the gateway's address."""
        return Answer({"url": self._gateway_url()})

    async def gateway_bot(self, call: Call) -> Answer:
        """Get the gateway's address and how often one may identify."""
        limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
        return Answer({"url": self._gateway_url(), "shards": 1, "session_start_limit": limit})

    async def guild(self, call: Call) -> Answer:
        """Get the guild."""
        self._check(call)
        guild = self._world.guild_json()
        if call.flag("with_counts"):
            everybody = len(self._world.accounts)
            guild |= {
                "approximate_member_count": everybody,
                "approximate_presence_count": everybody,
            }
        return Answer(guild)

    async def channels(self, call: Call) -> Answer:
        """List the guild's channels."""
        self._check(call)
        guild_id = self._world.guild_id
        return Answer([item.to_json(guild_id) for item in self._world.guild_channels()])

    async def members(self, call: Call) -> Answer:
        """List members after an id."""
        self._check(call)
        after = int(call.query.get("after", 0))
        found = sorted(self._world.accounts, key=lambda person: person.id)
        chosen = [person for person in found if person.id > after]
        limit = int(call.query.get("limit", 1))
        return Answer([self._world.member_json(person) for person in chosen[:limit]])

    async def member(self, call: Call) -> Answer:
        """Get one member."""
        self._check(call)
        wanted = call.number("user_id")
        for person in self._world.accounts:
            if person.id == wanted:
                return Answer(self._world.member_json(person))
        raise Refusal.UNKNOWN_MEMBER.error()

    async def roles(self, call: Call) -> Answer:
        """List the guild's roles."""
        self._check(call)
        return Answer([role.to_json() for role in self._world.roles.values()])

    async def role(self, call: Call) -> Answer:
        """Get one role."""
        self._check(call)
        role = self._world.roles.get(call.number("role_id"))
        if role is None:
            raise Refusal.UNKNOWN_ROLE.error()
        return Answer(role.to_json())

    async def open(self, call: Call) -> Answer:
        """Open direct messages with somebody."""
        person = self._world.person(int(call.form()["recipient_id"]))
        if person.bot:
            raise Refusal.CANNOT_SEND_TO_USER.error()
        return Answer(self._world.direct_messages(person).to_json(self._world.guild_id))

    def _check(self, call: Call) -> None:
        if call.number("guild_id") != self._world.guild_id or not self._world.bot_in_guild:
            raise Refusal.UNKNOWN_GUILD.error()

    def _application(self) -> Json:
        world = self._world
        return {
            "id": str(world.application_id),
            "name": world.bot.display_name,
            "icon": None,
            "description": "Paints what you describe.",
            "type": None,
            "bot": world.bot.to_json(),
            "bot_public": False,
            "bot_require_code_grant": False,
            "rpc_origins": [],
            "verify_key": hashlib.sha256(str(world.application_id).encode()).hexdigest(),
            "flags": 0,
            "flags_new": "0",
            "redirect_uris": [],
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "owner": world.owner.to_json(),
            "approximate_guild_count": 1,
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
            "explicit_content_filter": 0,
            "team": None,
            "eligible_oauth2_scopes": [],
        }
