"""Every switch that makes requests fail: it happens as often as asked, and the ledger says so."""

from __future__ import annotations

import asyncio
import io
import math
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord
import pytest

from bot.playground import Faults, Playground, RateLimits
from tests.narrow import narrow_socket
from tests.test_bot_playground_bot import Painter
from tests.test_bot_playground_support import Rest, aimed, judged, rest_of

MESSAGES = "/channels/*/messages"
ROUTE = "/channels/{channel_id}/messages"


@pytest.fixture
async def rest() -> AsyncIterator[Rest]:
    async with rest_of(Playground(rate_limits=RateLimits(enabled=False))) as client:
        yield client


def path(rest: Rest) -> str:
    return f"/channels/{rest.pg.channel_id}/messages"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 524])
async def test_a_status_comes_as_often_as_asked(rest: Rest, status: int) -> None:
    fault = rest.pg.faults.status(status, "POST", MESSAGES, count=2)
    statuses = [(await rest("POST", path(rest), {"content": "x"})).status for _ in range(3)]
    assert statuses == [status, status, 200]
    assert fault.hits == 2
    assert len(rest.pg.ledger.messages) == 1
    assert [record.fault for record in rest.pg.ledger.requests] == ["status", "status", None]


@pytest.mark.parametrize(
    ("scope", "header", "is_global", "invalid"),
    [("route", "user", False, 1), ("global", "global", True, 1), ("shared", "shared", False, 0)],
)
async def test_limits_say_their_scope(
    rest: Rest, scope: str, header: str, is_global: bool, invalid: int
) -> None:
    rest.pg.faults.rate_limit("POST", MESSAGES, scope=scope, retry_after=1.5)
    reply = await rest("POST", path(rest), {"content": "x"})
    assert reply.status == 429
    assert reply.headers["X-RateLimit-Scope"] == header
    assert reply.headers["Retry-After"] == "2"
    assert (reply.body["retry_after"], reply.body["global"]) == (1.5, is_global)
    assert rest.pg.ledger.invalid_requests == invalid


async def test_only_what_matches_is_hit(rest: Rest) -> None:
    rest.pg.faults.status(500, "POST", MESSAGES, count=9)
    assert (await rest("GET", path(rest))).status == 200
    gallery = rest.pg.world.guild_channels()[1].id
    assert (await rest("POST", f"/channels/{gallery}/typing")).status == 204
    rest.pg.faults.clear()
    assert (await rest("POST", path(rest), {"content": "x"})).status == 200


@pytest.mark.parametrize(("kind", "made"), [("reset_before", 0), ("reset_after", 1)])
async def test_a_reset_comes_before_or_after_the_deed(rest: Rest, kind: str, made: int) -> None:
    if kind == "reset_before":
        rest.pg.faults.reset_before("POST", MESSAGES)
    else:
        rest.pg.faults.reset_after("POST", MESSAGES)
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await rest("POST", path(rest), {"content": "x"})
    assert len(rest.pg.ledger.messages) == made
    record = rest.pg.ledger.requests[-1]
    assert (record.status, record.fault) == (0, kind)
    assert (await rest("POST", path(rest), {"content": "y"})).status == 200


async def test_a_truncated_answer_is_noticed(rest: Rest) -> None:
    rest.pg.faults.truncate("POST", MESSAGES)
    with pytest.raises(aiohttp.ClientPayloadError):
        await rest("POST", path(rest), {"content": "x"})
    assert len(rest.pg.ledger.messages) == 1
    assert rest.pg.ledger.requests[-1].status == 0


async def test_a_hanging_request_is_served_when_let_go(rest: Rest) -> None:
    fault = rest.pg.faults.hang("POST", MESSAGES, seconds=30)
    task = asyncio.create_task(rest("POST", path(rest), {"content": "x"}))
    quick = await rest("GET", path(rest))
    assert (quick.body, task.done()) == ([], False)
    fault.released.set()
    assert (await task).status == 200


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_request_given_up_is_never_served(rest: Rest, method: str) -> None:
    kept = await rest.pg.say("alice", "kept")
    rest.pg.delete_message((await rest.pg.say("bob", "gone")).id)
    own = await rest("POST", path(rest), {"content": "mine"})
    where = path(rest) if method == "POST" else f"{path(rest)}/{own.body['id']}"
    fault = rest.pg.faults.hang(method, "/channels/*", seconds=30)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await rest(method, where, {"content": "x"} if method == "POST" else None)
    assert len((await rest("GET", path(rest))).body) == 2
    fault.released.set()
    await rest.pg.wait(lambda ledger: any(item.fault == "hang" for item in ledger.requests))
    left = [item.id for item in rest.pg.ledger.in_channel(rest.pg.channel_id)]
    assert left == [kept.id, int(own.body["id"])]


NOISE = os.urandom(300_000)


async def test_an_upload_comes_in_at_its_pace_and_whole(rest: Rest) -> None:
    # What the connection grew for a quick upload must not swallow the slow one.
    await rest("POST", path(rest), {"content": "quick"}, files=[("quick.bin", NOISE)])
    fault = rest.pg.faults.throttle("POST", MESSAGES, bytes_per_second=600_000, count=2)
    took = []
    for number in range(3):
        began = time.monotonic()
        reply = await rest("POST", path(rest), {"content": "x"}, files=[("slow.bin", NOISE)])
        took.append(time.monotonic() - began)
        assert reply.status == 200, number
        assert await rest.pg.read_attachment(reply.body["attachments"][0]) == NOISE
    assert min(took[:2]) >= 0.5
    assert fault.hits == 2
    records = list(rest.pg.ledger.requests)
    assert [record.fault for record in records] == [None, "throttle", "throttle", None]
    assert min(record.seconds for record in records[1:3]) >= 0.49
    assert {record.body["content"] for record in records[1:]} == {"x"}


async def test_a_slow_upload_is_held_too_and_a_body_of_json_is_as_slow(rest: Rest) -> None:
    rest.pg.faults.throttle("POST", MESSAGES, bytes_per_second=2_000, seconds=0.2)
    began = time.monotonic()
    reply = await rest("POST", path(rest), {"content": "x" * 600})
    assert (reply.status, reply.body["content"]) == (200, "x" * 600)
    assert time.monotonic() - began >= 0.5


class Source:
    """A body of the client's, which knows how much of it the client got rid of."""

    def __init__(self, boundary: str, data: bytes) -> None:
        start = f'--{boundary}\r\nContent-Disposition: form-data; name="payload_json"\r\n\r\n{{}}'
        file = 'name="files[0]"; filename="large.bin"'
        start += f"\r\n--{boundary}\r\nContent-Disposition: form-data; {file}\r\n\r\n"
        self._whole = start.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        self.sent = 0
        self.begun = asyncio.Event()

    @property
    def left(self) -> int:
        """How much the client still holds."""
        return len(self._whole) - self.sent

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.left:
            piece = self._whole[self.sent : self.sent + 16_384]
            yield piece
            self.sent += len(piece)
            if self.sent >= 100_000:
                self.begun.set()


async def test_who_uploads_slowly_feels_it_and_nobody_else_does(rest: Rest) -> None:
    data = os.urandom(2_000_000)
    source = Source("b", data)
    fault = rest.pg.faults.throttle("POST", MESSAGES, bytes_per_second=10, count=9)
    headers = {
        "Authorization": f"Bot {rest.pg.token}",
        "Content-Type": "multipart/form-data; boundary=b",
    }

    async def upload() -> Any:  # noqa: ANN401
        connector = aiohttp.TCPConnector(socket_factory=narrow_socket)
        url = rest.pg.api_base + path(rest)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(url, data=source, headers=headers) as answer,
        ):
            return await answer.json()

    task = asyncio.create_task(upload())
    await source.begun.wait()
    for _ in range(50):
        assert (await rest("GET", path(rest))).body == []
    assert fault.hits == 1
    # Both kernels have taken some, and aiohttp not the half million that it keeps as a rule.
    assert source.sent < 500_000
    assert not task.done()
    # Whoever switches it off lets everything in.
    rest.pg.faults.clear()
    body = await task
    assert source.left == 0
    assert await rest.pg.read_attachment(body["attachments"][0]) == data


@pytest.mark.parametrize(
    ("size", "pace", "seconds"), [(300_000, 10, 0), (30, 10, 0), (30, 1_000_000, 30)]
)
async def test_a_slow_upload_given_up_is_never_served(
    rest: Rest, size: int, pace: int, seconds: int
) -> None:
    fault = rest.pg.faults.throttle("POST", MESSAGES, bytes_per_second=pace, seconds=seconds)
    upload = rest("POST", path(rest), {"content": "x"}, files=[("a.bin", NOISE[:size])])
    task = asyncio.create_task(upload)
    await fault.met.wait()
    assert (await rest("GET", path(rest))).body == []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await rest("GET", path(rest))).body == []
    fault.released.set()
    [met] = await rest.pg.wait(lambda ledger: ledger.asked("POST", ROUTE))
    assert (met.status, met.fault) == (0, "throttle")
    assert not rest.pg.ledger.messages


@pytest.mark.parametrize("pace", [0, -1, math.nan])
def test_a_pace_at_which_nothing_arrives_is_refused(pace: float) -> None:
    with pytest.raises(ValueError, match="cannot come in"):
        Faults().throttle("POST", MESSAGES, bytes_per_second=pace)


async def test_discord_py_uploads_slowly_and_says_the_rest_meanwhile() -> None:
    client = Painter()
    async with judged(Playground()) as pg, aimed(pg, client):
        await pg.ready()
        channel = await client.fetch_channel(pg.channel_id)
        assert isinstance(channel, discord.TextChannel)
        fault = pg.faults.throttle("POST", MESSAGES, bytes_per_second=1)
        file = discord.File(io.BytesIO(NOISE), "picture.bin")
        task = asyncio.create_task(channel.send("slow", file=file))
        await fault.met.wait()
        other = pg.world.guild_channels()[1].id
        await client.get_partial_messageable(other).send("quick")
        assert not task.done()
        fault.released.set()
        message = await task
        assert await message.attachments[0].read() == NOISE
        contents = [item.content for item in pg.ledger.messages.values()]
        assert contents == ["quick", "slow"]


async def test_discord_py_waits_out_a_limit_and_retries_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Painter()
    async with judged(Playground()) as pg, aimed(pg, client):
        await pg.ready()
        channel = await client.fetch_channel(pg.channel_id)
        assert isinstance(channel, discord.TextChannel)
        for scope in ("route", "global", "shared"):
            pg.faults.rate_limit("POST", MESSAGES, scope=scope, retry_after=0.2)
            began = time.monotonic()
            await channel.send(scope)
            assert 0.19 < time.monotonic() - began < 1.0
        pg.faults.status(503, "POST", MESSAGES)
        with pytest.raises(discord.DiscordServerError):
            await channel.send("503 is raised at once")
        contents = [item.content for item in pg.ledger.in_channel(pg.channel_id)]
        assert contents == ["route", "global", "shared"]


async def test_a_nonce_makes_a_reset_after_the_deed_harmless() -> None:
    client = Painter()
    async with judged(Playground()) as pg, aimed(pg, client):
        await pg.ready()
        channel = await client.fetch_channel(pg.channel_id)
        assert isinstance(channel, discord.TextChannel)
        pg.faults.reset_after("POST", MESSAGES)
        with pytest.raises(aiohttp.ClientError):
            await channel.send("result", nonce="job")
        assert (await channel.send("result", nonce="job")).content == "result"
        assert len(pg.ledger.messages) == 1
