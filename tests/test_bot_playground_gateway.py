"""The gateway asked directly, and a real discord.py client that loses its connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord
import pytest

from bot.playground import InteractionState, Playground, aim
from bot.playground.sessions import Intent
from bot.playground.wire import Json
from tests.test_bot_playground_bot import Painter
from tests.test_bot_playground_support import aimed, judged

GUILDS_AND_MESSAGES = int(Intent.GUILDS | Intent.GUILD_MESSAGES)


class Socket:
    """A bare client of the gateway."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, compressed: bool) -> None:
        self.socket = socket
        self._inflate = zlib.decompressobj() if compressed else None

    async def send(self, op: int, data: object) -> None:
        await self.socket.send_str(json.dumps({"op": op, "d": data}))

    async def receive(self) -> Json:
        message = await self.socket.receive(timeout=5)
        if message.type is aiohttp.WSMsgType.BINARY:
            assert self._inflate is not None
            assert message.data.endswith(b"\x00\x00\xff\xff")
            parsed: Json = json.loads(self._inflate.decompress(message.data))
            return parsed
        assert message.type is aiohttp.WSMsgType.TEXT, message
        text: Json = json.loads(message.data)
        return text

    async def until(self, event: str) -> Json:
        while True:
            payload = await self.receive()
            if payload.get("t") == event:
                return payload

    async def closed(self) -> int | None:
        while True:
            message = await self.socket.receive(timeout=5)
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                return self.socket.close_code

    async def identify(self, pg: Playground, intents: int = GUILDS_AND_MESSAGES) -> Json:
        assert (await self.receive())["op"] == 10
        await self.send(2, {"token": pg.token, "intents": intents, "properties": {}})
        ready = await self.until("READY")
        await self.until("GUILD_CREATE")
        return ready

    async def resume(self, pg: Playground, session_id: str, sequence: int) -> None:
        assert (await self.receive())["op"] == 10
        data = {"token": pg.token, "session_id": session_id, "seq": sequence}
        await self.send(6, data)


@contextlib.asynccontextmanager
async def connected(pg: Playground, *, compress: bool = True) -> AsyncIterator[Socket]:
    query = "?v=10&encoding=json" + ("&compress=zlib-stream" if compress else "")
    url = pg.gateway_url + query
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield Socket(socket, compressed=compress)


@pytest.fixture
async def pg() -> AsyncIterator[Playground]:
    async with judged(Playground()) as playground:
        yield playground


@pytest.mark.parametrize("compress", [True, False])
async def test_hello_ready_guild_and_heartbeat(pg: Playground, compress: bool) -> None:
    async with connected(pg, compress=compress) as socket:
        hello = await socket.receive()
        assert hello == {"op": 10, "d": {"heartbeat_interval": 41250}}
        await socket.send(2, {"token": pg.token, "intents": 1, "properties": {}})
        ready = await socket.receive()
        assert (ready["t"], ready["s"]) == ("READY", 1)
        assert ready["d"]["guilds"] == [{"id": str(pg.guild_id), "unavailable": True}]
        assert ready["d"]["resume_gateway_url"] == pg.gateway_url
        guild = await socket.receive()
        assert (guild["t"], guild["s"], guild["d"]["member_count"]) == ("GUILD_CREATE", 2, 4)
        assert [member["user"]["username"] for member in guild["d"]["members"]] == ["Easel"]
        await socket.send(1, 2)
        assert (await socket.receive())["op"] == 11


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"token": "wrong"}, 4004),
        ({"intents": "many"}, 4013),
        ({"intents": -1}, 4013),
        ({"intents": int(Intent.MESSAGE_CONTENT)}, 4014),
    ],
)
async def test_a_wrong_identify_is_closed(pg: Playground, change: Json, code: int) -> None:
    async with connected(pg) as socket:
        await socket.receive()
        await socket.send(2, {"token": pg.token, "intents": 1, "properties": {}} | change)
        assert await socket.closed() == code


async def test_order_and_format_are_enforced(pg: Playground) -> None:
    async with connected(pg) as socket:
        await socket.receive()
        await socket.send(3, {"status": "online", "activities": []})
        assert await socket.closed() == 4003
    async with connected(pg) as socket:
        await socket.identify(pg)
        await socket.send(2, {"token": pg.token, "intents": 1})
        assert await socket.closed() == 4005
    async with connected(pg) as socket:
        await socket.receive()
        await socket.socket.send_str("{")
        assert await socket.closed() == 4002
    async with connected(pg) as socket:
        await socket.identify(pg)
        await socket.send(77, None)
        assert await socket.closed() == 4001
    async with connected(pg) as socket:
        await socket.receive()
        for _ in range(121):
            await socket.send(1, None)
        assert await socket.closed() == 4008
    url = pg.gateway_url + "?v=6&encoding=json"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as raw:
        assert await Socket(raw, compressed=False).closed() == 4012


async def test_silence_from_the_client_is_timed_out() -> None:
    async with Playground(heartbeat_interval=0.05) as pg, connected(pg) as socket:
        await socket.receive()
        assert await socket.closed() == 4009


async def test_privileged_intents_can_be_approved() -> None:
    content = int(Intent.MESSAGE_CONTENT)
    async with Playground(privileged_intents=content) as pg, connected(pg) as socket:
        await socket.identify(pg, GUILDS_AND_MESSAGES | content)
        await pg.say("alice", "hello")
        assert (await socket.until("MESSAGE_CREATE"))["d"]["content"] == "hello"


async def test_intents_decide_what_is_heard(pg: Playground) -> None:
    async with connected(pg) as deaf, connected(pg) as hearing:
        await deaf.identify(pg, int(Intent.GUILDS))
        await hearing.identify(pg, GUILDS_AND_MESSAGES | int(Intent.GUILD_MESSAGE_REACTIONS))
        said = await pg.say("alice", "hello")
        await pg.react("bob", said.id, "⭐")
        await pg.react("bob", said.id, "⭐", added=False)
        pg.delete_message(said.id)
        heard = [await hearing.receive() for _ in range(4)]
        assert [payload["t"] for payload in heard] == [
            "MESSAGE_CREATE",
            "MESSAGE_REACTION_ADD",
            "MESSAGE_REACTION_REMOVE",
            "MESSAGE_DELETE",
        ]
        assert heard[0]["d"]["content"] == ""
        assert heard[0]["d"]["member"]["roles"] == []
        pg.delete_channel(pg.world.guild_channels()[1].id)
        assert (await deaf.receive())["t"] == "CHANNEL_DELETE"
        pg.kick_bot()
        assert (await deaf.receive())["t"] == "GUILD_DELETE"


async def test_members_can_be_asked_for(pg: Playground) -> None:
    async with connected(pg) as socket:
        await socket.identify(pg)
        data = {"guild_id": str(pg.guild_id), "query": "al", "limit": 5, "nonce": "n"}
        await socket.send(8, data)
        chunk = (await socket.until("GUILD_MEMBERS_CHUNK"))["d"]
        assert [member["user"]["username"] for member in chunk["members"]] == ["alice"]
        assert chunk["nonce"] == "n"


async def test_a_resume_replays_what_was_missed(pg: Playground) -> None:
    async with connected(pg) as socket:
        ready = await socket.identify(pg)
        await pg.say("alice", "heard")
        last = await socket.until("MESSAGE_CREATE")
        pg.faults.close_gateway(4000)
        assert await socket.closed() == 4000
    await pg.wait(lambda ledger: ledger.happened("disconnect"))
    missed = [await pg.say("alice", f"missed {number}") for number in range(3)]
    async with connected(pg) as socket:
        await socket.resume(pg, ready["d"]["session_id"], last["s"])
        events = [await socket.receive() for _ in range(4)]
        assert [event["t"] for event in events] == ["MESSAGE_CREATE"] * 3 + ["RESUMED"]
        assert [event["d"].get("id") for event in events[:3]] == [str(item.id) for item in missed]
        assert [event["s"] for event in events] == list(range(last["s"] + 1, last["s"] + 5))


@pytest.mark.parametrize("why", ["session", "sequence", "switch", "closed"])
async def test_a_resume_can_be_impossible(pg: Playground, why: str) -> None:
    async with connected(pg) as socket:
        ready = await socket.identify(pg)
        if why == "closed":
            await socket.socket.close(code=1000)
            await pg.wait(lambda ledger: ledger.happened("disconnect"))
    session_id = "unknown" if why == "session" else ready["d"]["session_id"]
    if why == "switch":
        pg.faults.refuse_resumes(1)
    async with connected(pg) as socket:
        await socket.resume(pg, session_id, 999 if why == "sequence" else 2)
        assert await socket.receive() == {"op": 9, "d": False}


async def test_a_resume_with_a_wrong_token_is_closed(pg: Playground) -> None:
    async with connected(pg) as socket:
        await socket.receive()
        await socket.send(6, {"token": "wrong", "session_id": "x", "seq": 1})
        assert await socket.closed() == 4004


async def test_an_unknown_compression_is_refused(pg: Playground) -> None:
    url = pg.gateway_url + "?v=10&encoding=json&compress=zstd-stream"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)


class Counting(Painter):
    """Counts what it hears, and lets a test wait for the next resume."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self.resumed = asyncio.Event()

    async def on_resumed(self) -> None:
        self.resumed.set()


@pytest.mark.parametrize("code", [1000, 1006, 4000])
async def test_discord_py_resumes_and_loses_nothing(pg: Playground, code: int) -> None:
    client = Counting()
    async with aimed(pg, client):
        await pg.ready()
        pg.faults.close_gateway(code)
        await pg.wait(lambda ledger: ledger.happened("disconnect"))
        ix = await pg.slash("alice", "imagine", {"prompt": "between two connections"})
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        await asyncio.wait_for(client.resumed.wait(), 5)
        assert len(pg.ledger.happened("identify")) == 1
        assert len(pg.ledger.happened("resume")) == 1
        await pg.wait(lambda ledger: any(item.custom_ids for item in ledger.messages.values()))


@pytest.mark.parametrize("fault", ["invalid", "reconnect"])
async def test_discord_py_comes_back_when_told(pg: Playground, fault: str) -> None:
    client = Counting()
    async with aimed(pg, client):
        await pg.ready()
        if fault == "invalid":
            pg.faults.invalidate_session(resumable=True)
        else:
            pg.faults.ask_reconnect()
        await asyncio.wait_for(client.resumed.wait(), 5)
        assert len(pg.ledger.happened("identify")) == 1


async def test_a_lost_session_is_identified_anew(
    pg: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Counting()
    monkeypatch.setattr(client, "before_identify_hook", no_pause)
    async with aimed(pg, client):
        await pg.ready()
        pg.faults.invalidate_session()
        await pg.wait(lambda ledger: len(ledger.happened("ready")) == 2)
        ix = await pg.slash("alice", "imagine", {"prompt": "after a new session"})
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        await pg.wait(lambda ledger: any(item.custom_ids for item in ledger.messages.values()))


async def no_pause(shard_id: int | None, *, initial: bool = False) -> None:
    """Identify at once; discord.py would wait five seconds."""


async def test_replayed_events_arrive_twice(pg: Playground) -> None:
    client = Painter()
    async with aimed(pg, client):
        await pg.ready()
        ix = await pg.slash("alice", "imagine", {"prompt": "once"})
        await ix.acknowledged
        pg.replay(ix)
        callback = "/interactions/{interaction_id}/{interaction_token}/callback"
        await pg.wait(lambda ledger: len(ledger.asked("POST", callback)) == 2)
        second = pg.ledger.asked("POST", callback)[1]
        assert (second.status, second.answer["code"]) == (400, 40060)
        pg.faults.replay_events(1)


async def test_missed_acks_and_silence(pg: Playground) -> None:
    async with connected(pg) as socket:
        await socket.identify(pg)
        pg.faults.miss_acks(1)
        await socket.send(1, None)
        await pg.wait(lambda ledger: ledger.happened("missed ack"))
        await socket.send(1, None)
        assert (await socket.receive())["op"] == 11
        pg.faults.silence()
        await pg.say("alice", "nobody hears")
        pg.faults.silence(on=False)
        message = await socket.socket.receive(timeout=5)
        assert message.type is not aiohttp.WSMsgType.BINARY


async def test_a_silent_gateway_is_left_and_resumed() -> None:
    client = Counting(heartbeat_timeout=0.3)
    async with judged(Playground(heartbeat_interval=0.1)) as pg, aimed(pg, client):
        await pg.ready()
        pg.faults.silence()
        await pg.wait(lambda ledger: ledger.happened("disconnect"))
        pg.faults.silence(on=False)
        await asyncio.wait_for(client.resumed.wait(), 5)


async def test_a_refused_connection_is_tried_again(
    pg: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Counting()
    monkeypatch.setattr("discord.client.ExponentialBackoff.delay", lambda self: 0.01)
    async with aimed(pg, client):
        await pg.ready()
        pg.faults.refuse_connects(2)
        pg.faults.close_gateway(1006)
        await asyncio.wait_for(client.resumed.wait(), 5)
        assert len(pg.ledger.happened("refused")) == 2


async def test_a_wrong_token_ends_the_client(pg: Playground) -> None:
    undo = aim(pg.api_base, pg.gateway_url, pg.cdn_base)
    client = Painter()
    try:
        async with client:
            with pytest.raises(discord.LoginFailure):
                await client.start("not.the.token")
    finally:
        undo()
    assert pg.ledger.gateway == deque()
