"""The playground put together: one server on 127.0.0.1 that is Discord, its CDN and a page.

Promises that nothing outside this machine can reach it. It is the test double of the tests and
the stage of `easel demo`.
"""

from __future__ import annotations

import logging
import secrets
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.playground import cdn as cdn_module
from bot.playground.actions import Actions
from bot.playground.cdn import Cdn
from bot.playground.faults import Faults
from bot.playground.gateway import Gateway
from bot.playground.interactions import Interactions
from bot.playground.ledger import Found, Ledger, MessageRecord, PlayInteraction
from bot.playground.live import Live, is_loopback
from bot.playground.messages import Messages
from bot.playground.people import Person
from bot.playground.permissions import Overwrite, Permission
from bot.playground.ratelimits import RateLimits
from bot.playground.rest import Api
from bot.playground.rest_commands import CommandRoutes
from bot.playground.rest_guild import GuildRoutes
from bot.playground.rest_interactions import InteractionRoutes
from bot.playground.rest_messages import MessageRoutes
from bot.playground.wire import Clock, Json
from bot.playground.world import Channel, World

API_HOST, GATEWAY_HOST, CDN_HOST = "discord.com", "gateway.discord.gg", "cdn.discordapp.com"
LARGEST_BODY = 32 * 1024 * 1024

log = logging.getLogger(__name__)


class Playground:
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
    ) -> None:
        self.port = port
        self.ledger = Ledger()
        self.faults = Faults()
        self.clock = clock or Clock()
        self.world = World(self.clock, self.ledger)
        self.key = secrets.token_urlsafe(16)
        self._ssl_context = ssl_context
        self._runner: web.AppRunner | None = None
        self._cdn = Cdn(self.world, lambda: self.cdn_base)
        self._messages = Messages(self.world, self._cdn)
        self._interactions = Interactions(self.world, self._messages)
        self.actions = Actions(self.world, self._messages, self._interactions, self._cdn)
        self._gateway = Gateway(
            self.world,
            self.faults,
            lambda: self.gateway_url,
            heartbeat_interval=heartbeat_interval,
            privileged_intents=privileged_intents,
        )
        self._live = Live(self.world, self.actions, self.key)
        self.world.observers += [self._gateway.events, self._live]
        self.faults.attach(self._gateway)
        routes = [
            *InteractionRoutes(self.world, self._interactions).routes(),
            *MessageRoutes(self.world, self._messages).routes(),
            *CommandRoutes(self.world).routes(),
            *GuildRoutes(self.world, lambda: self.gateway_url).routes(),
        ]
        self._api = Api(self.world, self.faults, rate_limits or RateLimits(), routes)

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

    @property
    def guild_id(self) -> int:
        """Return the guild's id."""
        return self.world.guild_id

    @property
    def channel_id(self) -> int:
        """Return the id of #easel."""
        return self.world.guild_channels()[0].id

    @property
    def people(self) -> dict[str, Person]:
        """Return the people by their names."""
        return self.world.people

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

    async def slash(
        self,
        who: str,
        command: str,
        options: Mapping[str, Any] | None = None,
        *,
        channel_id: int | None = None,
    ) -> PlayInteraction:
        """Use a slash command; a subcommand follows its command after a space."""
        return self.actions.slash(
            self.people[who], command, options or {}, self._channel(channel_id)
        )

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

    async def submit_modal(
        self, who: str, opened: PlayInteraction, fields: Mapping[str, Any]
    ) -> PlayInteraction:
        """Submit the modal that an interaction opened."""
        return self.actions.submit_modal(self.people[who], opened, fields)

    async def menu(self, who: str, command: str, target: MessageRecord | Person) -> PlayInteraction:
        """Use a command of a message's or a person's menu."""
        channel_id = target.channel_id if isinstance(target, MessageRecord) else None
        return self.actions.menu(self.people[who], command, target, self._channel(channel_id))

    async def upload(self, who: str, filename: str, data: bytes) -> Json:
        """Upload a file; its `id` is the value of an attachment option."""
        return await self.actions.upload(self.people[who], filename, data)

    async def say(self, who: str, content: str, *, channel_id: int | None = None) -> MessageRecord:
        """Write an ordinary message."""
        return await self.actions.say(self.people[who], self._channel(channel_id), content)

    def react(self, who: str, message_id: int, emoji: str, *, added: bool = True) -> None:
        """Add a reaction as somebody, or take it back."""
        record = self.ledger.messages[message_id]
        self._messages.react(record, self.people[who], emoji, added=added)

    def delete_message(self, message_id: int) -> None:
        """Delete a message as a moderator would."""
        self._messages.delete(self.ledger.messages[message_id])

    def direct_messages(self, who: str) -> int:
        """Return the id of the channel between somebody and the bot."""
        return self.world.direct_messages(self.people[who]).id

    def replay(self, interaction: PlayInteraction) -> None:
        """Dispatch an interaction a second time, with the same id."""
        for observer in self.world.observers:
            observer.interaction_created(interaction)

    async def read_attachment(self, attachment: Json) -> bytes:
        """Return the bytes behind an attachment object."""
        return await self._cdn.read(int(attachment["id"]))

    def deny(self, permissions: Permission, *, channel_id: int | None = None) -> None:
        """Take permissions from the bot in a channel; `Permission(0)` gives them back.

        In somebody's direct messages it means that they take no messages from the bot.
        """
        channel = self._channel(channel_id)
        bot_id = self.world.bot.id
        if not permissions:
            channel.overwrites.pop(bot_id, None)
            return self.world.tell_channel(channel, "CHANNEL_UPDATE")
        channel.overwrites[bot_id] = Overwrite(
            target_id=bot_id, kind=1, allow=Permission(0), deny=permissions
        )
        return self.world.tell_channel(channel, "CHANNEL_UPDATE")

    def delete_channel(self, channel_id: int) -> None:
        """Delete a channel as an admin would."""
        self.world.tell_channel(self.world.channels.pop(channel_id), "CHANNEL_DELETE")
        self.ledger.changed()

    def kick_bot(self) -> None:
        """Remove the bot from the guild."""
        self.world.bot_in_guild = False
        for observer in self.world.observers:
            observer.bot_kicked()
        self.ledger.changed()

    def _channel(self, channel_id: int | None) -> Channel:
        return self.world.channel(self.channel_id if channel_id is None else channel_id)

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
