"""Gateway sessions and the connections that carry them.

Promises that a session's events keep their numbers and order over any number of connections,
and that one compressor serves one connection. Never decides who hears what.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import zlib
from collections import deque
from dataclasses import dataclass, field
from enum import IntFlag

from aiohttp import web

from bot.playground.wire import Json

REPLAY_LIMIT = 2000


class Intent(IntFlag):
    """The intents that decide what a session hears."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    MESSAGE_CONTENT = 1 << 15


PRIVILEGED = Intent.GUILD_MEMBERS | Intent.GUILD_PRESENCES | Intent.MESSAGE_CONTENT


class Connection:
    """One websocket of the bot's: sends in order, compressed as it was asked for."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self._request = request
        self._deflate = zlib.compressobj() if "compress" in request.query else None
        self._outbox: asyncio.Queue[Json | int] = asyncio.Queue()
        self.dead = False

    def send(self, payload: Json) -> None:
        """Queue one payload."""
        if not self.dead:
            self._outbox.put_nowait(payload)

    def close(self, code: int) -> None:
        """Queue the end; 1006 cuts the connection without a close frame."""
        if not self.dead:
            self._outbox.put_nowait(code)

    async def pump(self) -> None:
        """Send what is queued until the end."""
        while True:
            item = await self._outbox.get()
            if isinstance(item, int):
                await self._end(item)
                return
            with contextlib.suppress(ConnectionError):
                await self._transmit(json.dumps(item, separators=(",", ":")))

    async def _transmit(self, text: str) -> None:
        if self._deflate is None:
            await self.socket.send_str(text)
            return
        data = self._deflate.compress(text.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        await self.socket.send_bytes(data)

    async def _end(self, code: int) -> None:
        if code == 1006:
            if self._request.transport is not None:
                self._request.transport.abort()
            return
        await self.socket.close(code=code)


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """What a bot identified for: its intents, its counter, its recent events."""

    intents: Intent
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    sequence: int = 0
    events: deque[Json] = field(default_factory=lambda: deque(maxlen=REPLAY_LIMIT))
    connection: Connection | None = None

    def dispatch(self, event: str, data: Json) -> Json:
        """Number an event and keep it for a RESUME; returns the payload."""
        self.sequence += 1
        payload: Json = {"op": 0, "t": event, "s": self.sequence, "d": data}
        self.events.append(payload)
        return payload

    def since(self, sequence: int) -> list[Json] | None:
        """Return the events after a number, None when they are not all there any more."""
        oldest = self.sequence - len(self.events)
        if not oldest <= sequence <= self.sequence:
            return None
        return [payload for payload in self.events if payload["s"] > sequence]
