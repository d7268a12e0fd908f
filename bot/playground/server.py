"""The playground put together: one server on 127.0.0.1 that is Discord, its CDN and a page.

Promises that nothing outside this machine can reach it. It is the test double of the tests and
the stage of `easel demo`.
"""

from __future__ import annotations

import logging
import secrets
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.playground import cdn as cdn_module
from bot.playground.actions import Actions
from bot.playground.cdn import Cdn
from bot.playground.faults import Faults
from bot.playground.gateway import Gateway
from bot.playground.hands import Levers
from bot.playground.interactions import Interactions
from bot.playground.ledger import Found, Ledger
from bot.playground.live import Live
from bot.playground.messages import Messages
from bot.playground.page_files import is_loopback
from bot.playground.ratelimits import RateLimits
from bot.playground.reactions import Reactions
from bot.playground.rest import Api
from bot.playground.rest_commands import CommandRoutes
from bot.playground.rest_guild import GuildRoutes
from bot.playground.rest_interactions import InteractionRoutes
from bot.playground.rest_messages import MessageRoutes
from bot.playground.rest_reactions import ReactionRoutes
from bot.playground.wire import Clock
from bot.playground.world import World

API_HOST, GATEWAY_HOST, CDN_HOST = "discord.com", "gateway.discord.gg", "cdn.discordapp.com"
LARGEST_BODY = 32 * 1024 * 1024

log = logging.getLogger(__name__)


class Playground(Levers):
    """A loopback Discord: `async with Playground() as pg`.

    With an `ssl_context` it answers to Discord's real names instead, for a client whose resolver
    leads them here.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        clock: Clock | None = None,
        rate_limits: RateLimits | None = None,
        heartbeat_interval: float = 41.25,
        privileged_intents: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        guilds: int = 1,
    ) -> None:
        self.port = port
        self.ledger = Ledger()
        self.faults = Faults()
        self.clock = clock or Clock()
        world = World(self.clock, self.ledger, guilds=guilds)
        cdn = Cdn(world, lambda: self.cdn_base)
        messages, reactions = Messages(world, cdn), Reactions(world)
        self._interactions = Interactions(world, messages)
        super().__init__(
            world, Actions(world, messages, reactions, self._interactions, cdn), messages, cdn
        )
        self.key = secrets.token_urlsafe(16)
        self._ssl_context = ssl_context
        self._runner: web.AppRunner | None = None
        self._gateway = Gateway(
            world,
            self.faults,
            lambda: self.gateway_url,
            heartbeat_interval=heartbeat_interval,
            privileged_intents=privileged_intents,
        )
        self._live = Live(world, self.actions, self.key)
        world.observers += [self._gateway.events, self._live]
        self.faults.attach(self._gateway)
        routes = [
            *InteractionRoutes(world, self._interactions).routes(),
            *MessageRoutes(world, messages).routes(),
            *ReactionRoutes(world, reactions).routes(),
            *CommandRoutes(world).routes(),
            *GuildRoutes(world, lambda: self.gateway_url).routes(),
        ]
        self._api = Api(world, self.faults, rate_limits or RateLimits(), routes)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen on 127.0.0.1; port 0 takes a free one."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[self._only_known_hosts])
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._ssl_context)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Hang up on everybody and forget the files."""
        self.faults.clear()
        self._interactions.close()
        await self._gateway.close()
        await self._live.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._cdn.close()

    @property
    def api_base(self) -> str:
        """Return the address of the HTTP API."""
        if self._ssl_context is not None:
            return f"https://{API_HOST}/api/v10"
        return f"http://127.0.0.1:{self.port}/api/v10"

    @property
    def gateway_url(self) -> str:
        """Return the address of the gateway."""
        if self._ssl_context is not None:
            return f"wss://{GATEWAY_HOST}/"
        return f"ws://127.0.0.1:{self.port}/gateway"

    @property
    def cdn_base(self) -> str:
        """Return the address of the CDN."""
        if self._ssl_context is not None:
            return f"https://{CDN_HOST}"
        return f"http://127.0.0.1:{self.port}/cdn"

    @property
    def page_url(self) -> str:
        """Return the address of the page, with its key."""
        return f"http://127.0.0.1:{self.port}/{self.key}/"

    @property
    def token(self) -> str:
        """Return the bot's token."""
        return self.world.token

    @property
    def application_id(self) -> int:
        """Return the application's id, which is the bot's too."""
        return self.world.application_id

    async def wait(
        self,
        predicate: Callable[[Ledger], Found | None],
        *,
        timeout: float = 5.0,  # noqa: ASYNC109
    ) -> Found:
        """Wait until the ledger satisfies the predicate; returns what it returned."""
        return await self.ledger.wait(predicate, timeout=timeout)

    async def ready(self, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Wait until a bot is connected and has synced its commands."""
        await self.wait(
            lambda _: self._gateway.connected and any(self.world.commands.values()),
            timeout=timeout,
        )

    def _routes(self) -> list[web.RouteDef]:
        if self._ssl_context is not None:
            return [
                web.get("/", self._gateway.serve),
                web.route("*", "/api/{tail:.*}", self._api.handle),
                *cdn_module.routes(self._cdn, ""),
            ]
        return [
            web.get("/gateway", self._gateway.serve),
            web.route("*", "/api/{tail:.*}", self._api.handle),
            *cdn_module.routes(self._cdn, "/cdn"),
            *self._live.routes(),
        ]

    @web.middleware
    async def _only_known_hosts(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn away who came by another name than this server's."""
        named = request.host in (API_HOST, GATEWAY_HOST, CDN_HOST)
        if not (named if self._ssl_context is not None else is_loopback(request.host)):
            log.warning("the playground turned away a request to the host %r", request.host)
            raise web.HTTPForbidden(text="only loopback names are served")
        return await handler(request)
