"""The gateway: HELLO, IDENTIFY, READY, heartbeats, RESUME, and the world's events.

Promises Discord's close codes, events only to those whose intents ask for them, and the replay
of what a resumed session missed. Sessions live as long as the playground.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from bot.playground.events import Events
from bot.playground.faults import Faults
from bot.playground.ledger import GatewayRecord
from bot.playground.sessions import PRIVILEGED, Connection, Intent, Session
from bot.playground.wire import Json
from bot.playground.world import World

# As quick as a near data centre.
ACK_SECONDS = 0.02
DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME = 0, 1, 2, 3, 4, 6
RECONNECT, MEMBERS, INVALID_SESSION, HELLO, ACK = 7, 8, 9, 10, 11
UNKNOWN_ERROR, UNKNOWN_OP, DECODE_ERROR, NOT_AUTHENTICATED, WRONG_TOKEN = range(4000, 4005)
ALREADY_AUTHENTICATED, INVALID_SEQUENCE, TOO_FAST, TIMED_OUT = 4005, 4007, 4008, 4009
INVALID_VERSION, INVALID_INTENTS, DISALLOWED_INTENTS = 4012, 4013, 4014
COMMANDS_PER_MINUTE = 120
ENDS_SESSION = frozenset({1000, 1001})
LOSES_SESSION = frozenset({INVALID_SEQUENCE, TIMED_OUT})
SESSIONS_KEPT = 10
INTENTS_END = 1 << 26


@dataclass(slots=True, kw_only=True, eq=False)
class Visit:
    """One connection from its HELLO to its end."""

    connection: Connection
    session: Session | None = None
    beaten_at: float = 0.0
    commands: int = 0
    closed_with: int | None = None
    minute_began: float = 0.0


class Gateway:
    """Serves the bot's websocket."""

    def __init__(
        self,
        world: World,
        faults: Faults,
        url: Callable[[], str],
        *,
        heartbeat_interval: float,
        privileged_intents: int,
    ) -> None:
        self._world = world
        self._faults = faults
        self._url = url
        self._interval = heartbeat_interval
        self._approved = Intent(privileged_intents & PRIVILEGED)
        self._sessions: dict[str, Session] = {}
        self._visits: set[Visit] = set()
        self.events = Events(world, self.broadcast)

    @property
    def connected(self) -> bool:
        """Tell whether some session has a connection now."""
        return any(session.connection is not None for session in self._sessions.values())

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer GET on the gateway's address."""
        if self._faults.refused_connects > 0:
            self._faults.refused_connects -= 1
            self._note("refused")
            raise web.HTTPServiceUnavailable
        if request.query.get("compress", "zlib-stream") != "zlib-stream":
            raise web.HTTPBadRequest(text="the playground compresses with zlib-stream only")
        socket = web.WebSocketResponse(max_msg_size=4096, compress=False)
        await socket.prepare(request)
        loop = asyncio.get_running_loop()
        connection = Connection(socket, request)
        visit = Visit(connection=connection, beaten_at=loop.time(), minute_began=loop.time())
        self._visits.add(visit)
        self._note("connect")
        pump = asyncio.create_task(connection.pump())
        try:
            if request.query.get("v") not in ("9", "10") or request.query.get("encoding") != "json":
                self._close(visit, INVALID_VERSION)
            else:
                self._send(visit, {"op": HELLO, "d": {"heartbeat_interval": self._interval * 1000}})
            await self._listen(visit)
        finally:
            self._leave(visit)
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await pump
        return socket

    async def close(self) -> None:
        """Say goodbye to everybody."""
        await asyncio.gather(
            *(visit.connection.socket.close(code=1001) for visit in list(self._visits))
        )

    def broadcast(self, event: str, build: Callable[[Intent], Json | None]) -> None:
        """Send an event to every session; `build` returns None for those it is not for."""
        for session in self._sessions.values():
            data = build(session.intents)
            if data is not None:
                self._deliver(session, session.dispatch(event, data))

    def close_all(self, code: int) -> None:
        """Close every connection; the sessions stay resumable unless the code says not."""
        for visit in list(self._visits):
            self._close(visit, code)

    def invalidate(self, *, resumable: bool) -> None:
        """Declare every connected session invalid."""
        for visit in list(self._visits):
            if not resumable and visit.session is not None:
                self._sessions.pop(visit.session.id, None)
            self._note("invalidated", visit, resumable)
            self._send(visit, {"op": INVALID_SESSION, "d": resumable})

    def request_reconnect(self) -> None:
        """Ask every client to come back."""
        for visit in list(self._visits):
            self._send(visit, {"op": RECONNECT, "d": None})

    def half_open(self) -> None:
        """Let every connection die without a word: nothing is heard or said on it any more."""
        for visit in list(self._visits):
            self._note("half open", visit)
            visit.connection.dead = True

    def repeat(self, count: int) -> None:
        """Send the last events of every session once more, with their old numbers."""
        for session in self._sessions.values():
            for payload in list(session.events)[-count:]:
                self._deliver(session, payload)

    async def _listen(self, visit: Visit) -> None:
        loop = asyncio.get_running_loop()
        while True:
            patience = visit.beaten_at + self._interval * 2 - loop.time()
            try:
                message = await visit.connection.socket.receive(timeout=max(patience, 0.001))
            except TimeoutError:
                if not visit.connection.dead:
                    self._close(visit, TIMED_OUT)
                return await self._drain(visit)
            if message.type is not WSMsgType.TEXT:
                return None
            if visit.connection.dead:
                continue
            self._count(visit, loop.time())
            self._hear(visit, message.data)

    async def _drain(self, visit: Visit) -> None:
        while not visit.connection.socket.closed:
            await visit.connection.socket.receive()

    def _count(self, visit: Visit, now: float) -> None:
        if now - visit.minute_began > 60:
            visit.minute_began, visit.commands = now, 0
        visit.commands += 1
        if visit.commands > COMMANDS_PER_MINUTE:
            self._close(visit, TOO_FAST)

    def _hear(self, visit: Visit, text: str) -> None:
        try:
            payload = json.loads(text)
            op, data = payload["op"], payload.get("d")
        except (ValueError, KeyError, TypeError):
            self._close(visit, DECODE_ERROR)
            return
        if op == HEARTBEAT:
            self._heartbeat(visit)
        elif op == IDENTIFY:
            self._identify(visit, data)
        elif op == RESUME:
            self._resume(visit, data)
        elif visit.session is None:
            self._close(visit, NOT_AUTHENTICATED)
        elif op == PRESENCE:
            self._set_presence(visit.session, data)
        elif op == MEMBERS:
            self._send_members(visit.session, data)
        elif op != VOICE:
            self._close(visit, UNKNOWN_OP)

    def _heartbeat(self, visit: Visit) -> None:
        visit.beaten_at = asyncio.get_running_loop().time()
        if self._faults.missed_acks > 0:
            self._faults.missed_acks -= 1
            self._note("missed ack", visit)
            return
        # discord.py notes the time of a heartbeat after sending it, from another thread: an answer
        # sooner than any real network could give would be measured against the heartbeat before.
        asyncio.get_running_loop().call_later(
            ACK_SECONDS, self._send, visit, {"op": ACK, "d": None}
        )

    def _identify(self, visit: Visit, data: Json) -> None:
        self._note("identify", visit, data.get("intents"))
        code = self._refusal(visit, data)
        if code is not None:
            self._close(visit, code)
            return
        self._forget()
        session = Session(intents=Intent(int(data["intents"])), connection=visit.connection)
        self._sessions[session.id] = session
        visit.session = session
        self._deliver(session, session.dispatch("READY", self._ready(session, data)))
        if Intent.GUILDS in session.intents:
            for guild in self._world.bot_guilds:
                whole = self.events.guild(guild, session.intents)
                self._deliver(session, session.dispatch("GUILD_CREATE", whole))
        self._note("ready", visit)
        presence = data.get("presence") or {"status": "online", "activities": []}
        self._set_presence(session, presence)

    def _refusal(self, visit: Visit, data: Json) -> int | None:
        """Return the close code for an IDENTIFY that Discord would not accept."""
        if visit.session is not None:
            return ALREADY_AUTHENTICATED
        if not self._knows(data.get("token")):
            return WRONG_TOKEN
        intents = data.get("intents")
        if not isinstance(intents, int) or not 0 <= intents < INTENTS_END:
            return INVALID_INTENTS
        if intents & PRIVILEGED & ~self._approved:
            return DISALLOWED_INTENTS
        return None

    def _knows(self, token: Any) -> bool:  # noqa: ANN401
        given = str(token or "").encode()
        return hmac.compare_digest(given, self._world.token.encode())

    def _ready(self, session: Session, data: Json) -> Json:
        application = {"id": str(self._world.application_id), "flags": 0}
        guilds = [{"id": str(guild.id), "unavailable": True} for guild in self._world.bot_guilds]
        ready: Json = {
            "v": 10,
            "user": self._world.bot.to_json() | {"mfa_enabled": True, "verified": True},
            "guilds": guilds,
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": self._url(),
            "private_channels": [],
            "application": application,
        }
        if "shard" in data:
            ready["shard"] = data["shard"]
        return ready

    def _resume(self, visit: Visit, data: Json) -> None:
        if not self._knows(data.get("token")):
            self._close(visit, WRONG_TOKEN)
            return
        session = self._sessions.get(str(data.get("session_id")))
        missed = None if session is None else session.since(int(data.get("seq") or 0))
        if self._faults.refused_resumes > 0:
            self._faults.refused_resumes -= 1
            missed = None
        if session is None or missed is None:
            self._note("resume refused", visit)
            self._send(visit, {"op": INVALID_SESSION, "d": False})
            return
        visit.session = session
        session.connection = visit.connection
        for payload in missed:
            self._send(visit, payload)
        self._note("resume", visit, len(missed))
        self._deliver(session, session.dispatch("RESUMED", {}))

    def _set_presence(self, session: Session, data: Json) -> None:
        activities = data.get("activities") or ([data["game"]] if data.get("game") else [])
        self._world.presence = {
            "status": data.get("status") or "online",
            "activities": activities,
        }
        self._note("presence", detail=self._world.presence)
        self._world.tell(lambda observer: observer.presence_changed())

    def _send_members(self, session: Session, data: Json) -> None:
        guild = self._world.guilds.get(int(data["guild_id"]))
        if guild is None or self._world.bot.id not in guild.members:
            return
        wanted = data.get("user_ids")
        query = str(data.get("query") or "").lower()
        whole = not wanted and not query
        if whole and Intent.GUILD_MEMBERS not in session.intents:
            return
        ids = {str(item) for item in (wanted if isinstance(wanted, list) else [wanted])}
        found = [
            person
            for person in guild.accounts
            if (str(person.id) in ids if wanted else person.name.lower().startswith(query))
        ]
        limit = int(data.get("limit") or 0)
        chosen = found[:limit] if limit else found
        chunk: Json = {
            "guild_id": str(guild.id),
            "members": [guild.member_json(person) for person in chosen],
            "chunk_index": 0,
            "chunk_count": 1,
        }
        if data.get("nonce"):
            chunk["nonce"] = data["nonce"]
        self._deliver(session, session.dispatch("GUILD_MEMBERS_CHUNK", chunk))

    def _deliver(self, session: Session, payload: Json) -> None:
        if session.connection is not None and not self._faults.silent:
            session.connection.send(payload)

    def _send(self, visit: Visit, payload: Json) -> None:
        if not self._faults.silent:
            visit.connection.send(payload)

    def _leave(self, visit: Visit) -> None:
        self._visits.discard(visit)
        session = visit.session
        code = visit.connection.socket.close_code
        self._note("disconnect", visit, code)
        if session is None or session.connection is not visit.connection:
            return
        session.connection = None
        hung_up = visit.closed_with is None and code in ENDS_SESSION
        if hung_up or visit.closed_with in LOSES_SESSION:
            self._sessions.pop(session.id, None)
        if not self.connected:
            self._world.presence = {"status": "offline", "activities": []}
            self._world.tell(lambda observer: observer.presence_changed())

    def _close(self, visit: Visit, code: int) -> None:
        visit.closed_with = code
        self._note("closed", visit, code)
        visit.connection.close(code)

    def _forget(self) -> None:
        """Let go of old sessions that nobody came back for."""
        lost = [session for session in self._sessions.values() if session.connection is None]
        for session in lost[:-SESSIONS_KEPT]:
            del self._sessions[session.id]

    def _note(self, what: str, visit: Visit | None = None, detail: Any = None) -> None:  # noqa: ANN401
        session = None if visit is None else visit.session
        record = GatewayRecord(
            at=self._world.clock.now(),
            what=what,
            session_id=None if session is None else session.id,
            detail=detail,
        )
        self._world.ledger.note_gateway(record)
