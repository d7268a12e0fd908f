"""Every switch that makes requests fail: it happens as often as asked, and the ledger says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest

from bot.playground import Playground, RateLimits
from tests.test_bot_playground_bot import Painter
from tests.test_bot_playground_support import Rest, aimed, judged, rest_of

MESSAGES = "/channels/*/messages"


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
