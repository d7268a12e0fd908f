"""The page's side: its files, uploads, and a websocket for each person who looks.

Promises each person exactly what Discord would show them: their ephemeral messages, their
modals, their completions, nobody else's. Only loopback names, with the key in the path.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
from typing import Any
from urllib.parse import urlsplit

from aiohttp import BodyPartReader, WSMsgType, web

from bot.playground.actions import Actions
from bot.playground.errors import ApiError
from bot.playground.greeting import hello, offers
from bot.playground.guilds import Channel, Guild
from bot.playground.interactions import AUTOCOMPLETE, CHOICES, NO_ANSWER, OPEN_MODAL
from bot.playground.ledger import InteractionState, MessageRecord, PlayInteraction
from bot.playground.options import GROUP, SUBCOMMAND, PlayError
from bot.playground.page_files import PAGE, page_file
from bot.playground.people import Person
from bot.playground.permissions import Permission
from bot.playground.rendering import as_seen_by
from bot.playground.wire import Json
from bot.playground.world import FILE_SIZE_LIMIT, Observer, World

log = logging.getLogger(__name__)


class Viewer:
    """One open page."""

    def __init__(self, person: Person, socket: web.WebSocketResponse) -> None:
        self.person = person
        self.socket = socket
        self.outbox: asyncio.Queue[Json] = asyncio.Queue()

    def send(self, frame: Json) -> None:
        """Queue a frame."""
        self.outbox.put_nowait(frame)

    async def pump(self) -> None:
        """Send what is queued."""
        while True:
            frame = await self.outbox.get()
            await self.socket.send_str(json.dumps(frame, separators=(",", ":")))


class Live(Observer):
    """Serves the page and keeps it up to date."""

    def __init__(self, world: World, actions: Actions, key: str) -> None:
        self._world = world
        self._actions = actions
        self._key = key
        self._viewers: set[Viewer] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return the page's routes."""
        return [
            web.get("/{key}", self._to_page),
            web.get("/{key}/", self._page),
            web.get("/{key}/static/{name}", self._static),
            web.post("/{key}/upload", self._upload),
            web.get("/{key}/live", self._live),
        ]

    async def close(self) -> None:
        """Close every page's connection."""
        await asyncio.gather(*(viewer.socket.close(code=1001) for viewer in list(self._viewers)))

    def message_created(self, record: MessageRecord) -> None:
        """Show a new message."""
        self._show_message(record, "message")

    def message_updated(self, record: MessageRecord) -> None:
        """Show a message's new look."""
        self._show_message(record, "message_update")

    def message_deleted(self, record: MessageRecord) -> None:
        """Take a message away."""
        ids: Json = {"id": str(record.id), "channel_id": str(record.channel_id)}
        for viewer in self._seeing(record):
            viewer.send({"type": "message_delete"} | ids)

    def reaction_changed(
        self, record: MessageRecord, user: Person, emoji: Json, added: bool
    ) -> None:
        """Show a message's reactions."""
        self.message_updated(record)

    def commands_changed(self) -> None:
        """Show everybody the commands they may use."""
        for viewer in self._viewers:
            viewer.send({"type": "commands"} | offers(self._world, viewer.person))

    def presence_changed(self) -> None:
        """Show the bot's presence."""
        for viewer in self._viewers:
            viewer.send({"type": "presence"} | self._world.presence)

    def interaction_created(self, interaction: PlayInteraction) -> None:
        """Show that something is on its way."""
        self._show_state(interaction)

    def interaction_changed(self, interaction: PlayInteraction) -> None:
        """Show how an interaction went, and what came back."""
        self._show_state(interaction)
        if interaction.response_type == OPEN_MODAL and interaction.modal is not None:
            modal = interaction.modal
            frame = {"type": "modal", "interaction_id": str(interaction.id)}
            parts = {key: modal[key] for key in ("title", "custom_id", "components")}
            self._to(interaction.user_id, frame | parts)
        if interaction.response_type == CHOICES:
            completed: Json = {"type": "autocomplete", "nonce": interaction.nonce}
            self._to(interaction.user_id, completed | {"choices": interaction.choices})

    def channel_changed(self, channel: Channel, event: str) -> None:
        """Show everybody the channels as they are now."""
        self._greet_all()

    def guild_changed(self, guild: Guild) -> None:
        """Show everybody the guild as it is now."""
        self._greet_all()

    def member_changed(self, guild: Guild, person: Person, event: str) -> None:
        """Show everybody what they still see."""
        self._greet_all()

    def locale_changed(self, person: Person) -> None:
        """Show somebody everything in their language."""
        for viewer in self._viewers:
            if viewer.person is person:
                viewer.send(hello(self._world, person))

    def bot_kicked(self, guild: Guild) -> None:
        """Show everybody that the bot's commands are gone."""
        self._greet_all()

    def reactions_cleared(self, record: MessageRecord, emoji: Json | None) -> None:
        """Show a message without them."""
        self.message_updated(record)

    def _greet_all(self) -> None:
        for viewer in self._viewers:
            viewer.send(hello(self._world, viewer.person))

    def _show_state(self, interaction: PlayInteraction) -> None:
        if interaction.type == AUTOCOMPLETE:
            return
        frame: Json = {
            "type": "interaction",
            "id": str(interaction.id),
            "nonce": interaction.nonce,
            "state": interaction.state.value,
        }
        if interaction.state is InteractionState.FAILED:
            frame["text"] = NO_ANSWER
        self._to(interaction.user_id, frame)

    def _show_message(self, record: MessageRecord, kind: str) -> None:
        for viewer in self._seeing(record):
            viewer.send({"type": kind, "message": as_seen_by(record.data, viewer.person.id)})

    def _seeing(self, record: MessageRecord) -> list[Viewer]:
        channel = self._world.channels.get(record.channel_id)
        return [
            viewer
            for viewer in self._viewers
            if record.visible_to in (None, viewer.person.id)
            and channel is not None
            and Permission.VIEW_CHANNEL in self._world.permissions(viewer.person, channel)
        ]

    def _to(self, user_id: int, frame: Json) -> None:
        for viewer in self._viewers:
            if viewer.person.id == user_id:
                viewer.send(frame)

    def _check(self, request: web.Request) -> None:
        """Let in only who knows the key, from a page of this very server."""
        given = request.match_info["key"].encode()
        if not hmac.compare_digest(given, self._key.encode()):
            raise web.HTTPNotFound
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden

    async def _to_page(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        raise web.HTTPFound(f"/{self._key}/")

    async def _page(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        return page_file("index.html")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        name = request.match_info["name"]
        names = {path.name for path in await asyncio.to_thread(lambda: list(PAGE.iterdir()))}
        if name not in names:
            raise web.HTTPNotFound
        return page_file(name)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        person = self._viewer(request)
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.filename:
                data = bytes(await part.read(decode=False))
                if len(data) > FILE_SIZE_LIMIT:
                    raise web.HTTPRequestEntityTooLarge(FILE_SIZE_LIMIT, len(data))
                return web.json_response(await self._actions.upload(person, part.filename, data))
        raise web.HTTPBadRequest(text="send one file as multipart/form-data")

    async def _live(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        person = self._viewer(request)
        socket = web.WebSocketResponse(heartbeat=30.0)
        await socket.prepare(request)
        viewer = Viewer(person, socket)
        viewer.send(hello(self._world, person))
        viewer.send({"type": "presence"} | self._world.presence)
        self._viewers.add(viewer)
        pump = asyncio.create_task(viewer.pump())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._hear(viewer, message.data)
        finally:
            self._viewers.discard(viewer)
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await pump
        return socket

    def _viewer(self, request: web.Request) -> Person:
        wanted = request.query.get("user", "")
        for person in self._world.people.values():
            if wanted in (str(person.id), person.name):
                return person
        raise web.HTTPNotFound(text=f"nobody here has the id {wanted!r}")

    async def _hear(self, viewer: Viewer, text: str) -> None:
        try:
            frame = json.loads(text)
            await self._act(viewer.person, frame)
        except (PlayError, ApiError) as error:
            viewer.send(failure(frame, str(error)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the page sent something unreadable: %r", error)
            viewer.send({"type": "error", "text": f"unreadable frame: {error!r}"})

    async def _act(self, person: Person, frame: Json) -> None:
        op, nonce = frame["op"], frame.get("nonce")
        actions = self._actions
        if op in ("slash", "autocomplete"):
            channel = self._world.channel(int(frame["channel_id"]))
            path, values, focused = flat_options(frame["name"], frame.get("options") or [])
            if op == "slash":
                actions.slash(person, path, values, channel, nonce=nonce)
            else:
                actions.autocomplete(person, path, values, focused or "", channel, nonce=nonce)
        elif op == "press":
            message_id = int(frame["message_id"])
            chosen = frame.get("values")
            actions.press(person, message_id, frame["custom_id"], values=chosen, nonce=nonce)
        elif op == "modal":
            opened = self._world.ledger.interactions[int(frame["interaction_id"])]
            actions.submit_modal(person, opened, frame.get("fields") or {}, nonce=nonce)
        elif op == "say":
            channel = self._world.channel(int(frame["channel_id"]))
            reply_to = int(frame["reply_to"]) if frame.get("reply_to") else None
            await actions.say(person, channel, str(frame["content"]), reply_to=reply_to)
        elif op == "menu":
            self._use_menu(person, frame)
        elif op == "react":
            message_id = int(frame["message_id"])
            actions.react(person, message_id, frame["emoji"], added=bool(frame["added"]))
        elif op == "locale":
            channel = self._world.channel(int(frame["channel_id"]))
            actions.choose_language(person, frame["locale"])
            if channel.guild is not None:
                actions.choose_guild_language(channel.guild, frame["locale"])
        elif op == "dismiss":
            actions.dismiss(person, int(frame["message_id"]))
        else:
            raise PlayError(f"no op {op!r}")

    def _use_menu(self, person: Person, frame: Json) -> None:
        channel = self._world.channel(int(frame["channel_id"]))
        target = int(frame["target_id"])
        record = self._world.ledger.messages.get(target)
        whom = record or self._world.person(target)
        self._actions.menu(person, frame["name"], whom, channel, nonce=frame.get("nonce"))


def flat_options(name: str, options: list[Json]) -> tuple[str, dict[str, Any], str | None]:
    """Return the command's path, its values, and which option is being typed."""
    while len(options) == 1 and options[0].get("type") in (SUBCOMMAND, GROUP):
        name = f"{name} {options[0]['name']}"
        options = options[0].get("options") or []
    values = {item["name"]: item.get("value", "") for item in options}
    focused = next((item["name"] for item in options if item.get("focused")), None)
    return name, values, focused


def failure(frame: Json, text: str) -> Json:
    """Return what tells the page that it could not have its way."""
    if frame.get("op") in ("slash", "press", "modal", "menu"):
        nonce = frame.get("nonce")
        return {"type": "interaction", "id": None, "nonce": nonce, "state": "failed", "text": text}
    return {"type": "error", "text": text}
