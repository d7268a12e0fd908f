"""What discord.py alone would not outlive: a refused start, a lost send, a gateway gone for long,
a token taken back. What the end-to-end tests of faults and of serving have is not repeated here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest

import bot.client
import bot.reconnecting
from bot.playground import InteractionState, Ledger, Playground, RateLimits
from bot.reconnecting import IDENTIFIES_A_DAY, Backoff, Knocks
from bot.talk import ARCHIVED, Attachment, Reason, Refused, translated
from tests.bot_room import Room, finished, open_room, results
from tests.chaos import bots

QUICK = {
    "BACKOFF_BASE": 0.01,
    "LONGEST_BACKOFF": 0.05,
    "FIRST_PAUSE": 0.01,
    "LONGEST_PAUSE": 0.05,
    "IDENTIFY_SECONDS": 0.05,
    "INVALID_SECONDS": (0.01, 0.05),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale the pauses down: what takes an hour takes a second."""
    for name, value in QUICK.items():
        monkeypatch.setattr(bot.reconnecting, name, value)
    monkeypatch.setattr(bot.client, "FIRST_PAUSE", 0.01)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def test_everything_refused_at_the_very_first_connect(room: Room) -> None:
    room.pg.faults.reset_before("GET", "/users/@me", count=2)
    room.pg.faults.status(503, "GET", "/users/@me", count=2)
    room.pg.faults.status(503, "PUT", "/applications/*", count=2)
    room.pg.faults.refuse_connects(4)
    async with room.bot():
        await room.grid()
    ledger = room.pg.ledger
    assert len(ledger.asked("GET", "/users/@me")) == 5
    assert len(ledger.happened("refused")) == 4
    assert len(ledger.happened("identify")) == 1


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "truncate"])
async def test_a_connection_lost_during_a_send_is_one_message(room: Room, kind: str) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(1)
        ix = await room.imagine()
        await gate.reached.wait()
        room.pg.delete_message(ix.message_id or 0)
        fault = getattr(room.pg.faults, kind)("POST", "/channels/*/messages", count=2)
        gate.open.set()
        await room.pg.wait(lambda _: fault.hits == 2, timeout=8)
        await room.settled(app)
        assert len(results(room.pg.ledger)) == 1


async def test_a_gateway_gone_for_an_hour_comes_back_by_itself(room: Room) -> None:
    """Meanwhile what was accepted is painted and posted, and nobody is asked too often."""
    async with room.bot("[delivery]\nmention_requester = false\n[storage]\nmin_free_gib = 0\n"):
        gate = room.engine.hold(1)
        jobs = [await room.imagine(prompt=f"a fox --seed {n} --steps 1") for n in range(3)]
        await gate.reached.wait()
        room.pg.faults.close_gateway(1006)
        # An hour of discord.py's pauses, with 300 seconds as the longest, is some thirty tries.
        room.pg.faults.refuse_connects(40)
        await room.pg.wait(lambda ledger: ledger.happened("refused"))
        gate.open.set()
        for ix in jobs:
            await room.result_of(ix)
        assert room.pg.faults.refused_connects > 0, "the jobs were posted in the outage"
        await room.pg.wait(lambda ledger: ledger.happened("resume"), timeout=15)
        await room.grid()
    assert len(room.pg.ledger.happened("identify")) == 1


async def test_a_gateway_that_hangs_up_at_once_is_asked_less_and_less(room: Room) -> None:
    """discord.py alone comes back without any pause, as often as it can."""
    pauses: list[float] = []
    async with room.bot() as app:
        knocks, before = app.client.knocks, app.client.knocks.before_connect

        async def noted() -> None:
            pauses.append(knocks.pause)
            await before()

        vars(app.client)["knocks"] = SimpleNamespace(
            before_connect=noted,
            before_identify=knocks.before_identify,
            welcomed=knocks.welcomed,
        )
        await hang_up_at_once(room.pg, 6)
        await room.grid()
    assert pauses[0] == 0
    assert pauses[2:6] == sorted(pauses[2:6])
    assert pauses[5] > pauses[2] > 0


async def hang_up_at_once(pg: Playground, times: int) -> None:
    """Cut every connection as soon as it is made."""
    wanted = len(pg.ledger.happened("connect"))
    pg.faults.silence()
    pg.faults.close_gateway(1006)
    for _ in range(1, times):
        wanted += 1
        await pg.wait(partial(has_connected, wanted), timeout=9)
        pg.faults.close_gateway(1006)
    pg.faults.silence(on=False)


def has_connected(times: int, ledger: Ledger) -> bool:
    """Tell whether the gateway was connected to so often."""
    return len(ledger.happened("connect")) >= times


async def test_the_days_sessions_are_not_used_up() -> None:
    now = [0.0]
    knocks = Knocks(clock=lambda: now[0])
    for _ in range(IDENTIFIES_A_DAY):
        # Long enough apart that none has to wait.
        now[0] += 60
        await knocks.before_identify(initial=True)
    knocks.welcomed()
    # A session that was welcomed may be resumed …
    await knocks.before_connect()
    # … but if that brought nothing it would cost a session.
    with pytest.raises(ConnectionError, match=r"900 sessions .* 24 hours"):
        await knocks.before_connect()
    now[0] += bot.reconnecting.DAY
    await knocks.before_connect()


async def test_sessions_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(bot.reconnecting, "IDENTIFY_SECONDS", 5.0)
    monkeypatch.setattr(bot.reconnecting, "INVALID_SECONDS", (1.0, 5.0))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    now = [100.0]
    knocks = Knocks(clock=lambda: now[0])
    await knocks.before_identify(initial=True)
    now[0] += 2
    await knocks.before_identify(initial=True)
    now[0] += 1000
    await knocks.before_identify(initial=False)
    assert waits[:2] == [0.0, 3.0]
    assert 1.0 <= waits[2] <= 5.0


def test_no_pause_is_longer_than_five_minutes() -> None:
    assert max(Backoff().delay() for _ in range(100)) <= bot.reconnecting.LONGEST_BACKOFF
    knocks = Knocks()
    vars(knocks)["_fruitless"] = 1000
    assert knocks.pause == bot.reconnecting.LONGEST_PAUSE


async def test_a_401_that_is_not_about_the_token_ends_nothing(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(1)
        ix = await room.imagine()
        await gate.reached.wait()
        fault = room.pg.faults.status(401, "PATCH", "/channels/*/messages/*")
        gate.open.set()
        await room.result_of(ix)
        await room.settled(app)
        assert fault.hits == 1
        asked = room.pg.ledger.asked("GET", "/oauth2/applications/@me")
        # Once at the login, and once because of the doubt.
        assert [each.status for each in asked] == [200, 200]


async def test_the_bytes_of_what_was_sent_are_let_go(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """discord.py leaves every file in a cycle, so that memory grows with each picture sent."""
    sent: list[discord.File] = []
    make = Attachment.file

    def noted(attachment: Attachment) -> discord.File:
        sent.append(make(attachment))
        return sent[-1]

    monkeypatch.setattr(Attachment, "file", noted)
    async with room.bot() as app:
        await room.grid()
        await room.settled(app)
    assert sent
    assert all(file.fp.closed for file in sent)


def test_a_closed_thread_takes_a_new_message() -> None:
    answer: Any = SimpleNamespace(status=400, reason="Bad Request")
    error = discord.HTTPException(answer, {"code": ARCHIVED, "message": "Thread is archived"})
    found = translated(error)
    assert isinstance(found, Refused)
    assert found.reason is Reason.NO_MESSAGE


async def test_a_press_that_no_pattern_knows_is_answered(room: Room) -> None:
    async with room.bot():
        grid = await room.grid()
        for custom_id in ("v2:upscale:x:1", "not ours", "v1:upscale:nobody:9"):
            ix = room.pg.forge("bob", grid.id, custom_id)
            assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
            assert "I do not know this button" in room.answer(ix).content


@pytest.mark.parametrize("where", ["gateway", "rest"])
async def test_a_token_taken_back_ends_the_process_with_a_sentence(
    tmp_path: Path, where: str
) -> None:
    """As a real process: 78, one sentence, and no loop of refused requests."""
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        async with bots.bot(pg, tmp_path, hold=2 if where == "rest" else 0) as process:
            ix = await pg.slash("alice", "imagine", {"prompt": "a fox"})
            assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
            if where == "gateway":
                await pg.wait(lambda ledger: finished(ledger, ix.message_id))
            pg.revoke_token()
            if where == "gateway":
                pg.faults.close_gateway(4004)
            else:
                # A press is answered by its own token; what it shows to everybody needs the bot's.
                message = pg.ledger.messages[ix.message_id or 0]
                await pg.press("alice", message.id, message.custom_ids[0])
            assert await asyncio.wait_for(process.wait(), 15) == 78
        refused = [each for each in pg.ledger.requests if each.status == 401]
    said = (tmp_path / "bot.log").read_text(encoding="utf-8")
    assert said.rstrip().splitlines()[-1].startswith("Discord")
    assert "token" in said.rstrip().splitlines()[-1]
    assert "Traceback" not in said
    assert len(refused) <= 5
    # Where the gateway says it first, the mention of the requester may just be on its way.
    assert refused or where == "gateway"


async def test_the_log_says_that_discord_is_away_without_drama(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.pg.faults.status(503, "GET", "/users/@me")
    with caplog.at_level(logging.WARNING, "bot.client"):
        async with room.bot():
            pass
    assert "Discord cannot be reached for now" in caplog.text
    assert "Traceback" not in caplog.text
