"""Routes of accounts, the application, the guild and the gateway's address.

Promises what discord.py asks for at login and when it fetches; the objects come from `world`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from bot.playground.errors import Refusal
from bot.playground.guilds import Guild
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
        world = self._world
        found: list[Json] = [
            {
                "id": str(guild.id),
                "name": guild.name,
                "icon": None,
                "banner": None,
                "owner": False,
                "permissions": str(int(guild.permissions(world.bot))),
                "features": [],
            }
            for guild in world.bot_guilds
        ]
        return Answer(found)

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
        """Get a guild."""
        guild = self._guild(call)
        shown = guild.to_json()
        if call.flag("with_counts"):
            everybody = len(guild.members)
            shown |= {
                "approximate_member_count": everybody,
                "approximate_presence_count": everybody,
            }
        return Answer(shown)

    async def channels(self, call: Call) -> Answer:
        """List a guild's channels."""
        guild = self._guild(call)
        return Answer([item.to_json() for item in self._world.guild_channels(guild)])

    async def members(self, call: Call) -> Answer:
        """List members after an id."""
        guild = self._guild(call)
        after = int(call.query.get("after", 0))
        found = sorted(guild.accounts, key=lambda person: person.id)
        chosen = [person for person in found if person.id > after]
        limit = int(call.query.get("limit", 1))
        return Answer([guild.member_json(person) for person in chosen[:limit]])

    async def member(self, call: Call) -> Answer:
        """Get one member."""
        guild = self._guild(call)
        member = guild.members.get(call.number("user_id"))
        if member is None:
            raise Refusal.UNKNOWN_MEMBER.error()
        return Answer(guild.member_json(member.person))

    async def roles(self, call: Call) -> Answer:
        """List a guild's roles."""
        return Answer([role.to_json() for role in self._guild(call).roles.values()])

    async def role(self, call: Call) -> Answer:
        """Get one role."""
        role = self._guild(call).roles.get(call.number("role_id"))
        if role is None:
            raise Refusal.UNKNOWN_ROLE.error()
        return Answer(role.to_json())

    async def open(self, call: Call) -> Answer:
        """Open direct messages with somebody."""
        person = self._world.person(int(call.form()["recipient_id"]))
        if person.bot:
            raise Refusal.CANNOT_SEND_TO_USER.error()
        return Answer(self._world.direct_messages(person).to_json())

    def _guild(self, call: Call) -> Guild:
        return self._world.guild(call.number("guild_id"))

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
            "approximate_guild_count": len(world.bot_guilds),
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
            "explicit_content_filter": 0,
            "team": None,
            "eligible_oauth2_scopes": [],
        }
