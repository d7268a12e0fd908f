"""What only a test can do to a playground: channels, tokens, forged presses, a dead line."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import bot.reconnecting
from bot.playground import InteractionState
from tests.bot_room import QUICK, Room, open_room


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def test_a_half_open_line_is_heard_of_by_nobody_until_it_is_given_up(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.reconnecting, "FIRST_PAUSE", 0.01)
    async with room.bot() as app:
        client: Any = app.client
        client._connection.heartbeat_timeout = 0.5
        # Patience is a connection's own: the one that is there has the usual one.
        room.pg.faults.close_gateway(4000)
        await room.pg.wait(lambda ledger: ledger.happened("resume"))
        room.pg.faults.half_open()
        ix = await room.pg.slash("alice", "imagine", {"prompt": "a fox"})
        await room.pg.wait(lambda ledger: len(ledger.happened("resume")) == 2)
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        assert ix.history[1].at >= room.pg.ledger.happened("resume")[1].at
    assert len(room.pg.ledger.happened("identify")) == 1


async def test_a_new_channel_and_a_guild_that_takes_the_bot_back(room: Room) -> None:
    async with room.bot(QUICK):
        place = room.pg.add_channel("fresh")
        room.pg.kick_bot()
        assert room.pg.guild_id not in [guild.id for guild in room.pg.world.bot_guilds]
        room.pg.invite_bot()
        ix = await room.pg.slash("alice", "imagine", {"prompt": "a fox"}, channel_id=place)
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        assert (await room.result_of(ix)).channel_id == place


async def test_a_token_that_was_taken_back_is_refused(room: Room) -> None:
    old = room.pg.token
    room.pg.revoke_token()
    assert room.pg.token != old
    assert room.pg.token.split(".")[0] == old.split(".")[0]


async def test_a_forged_press_needs_no_button(room: Room) -> None:
    async with room.bot():
        grid = await room.grid()
        assert "v1:nothing:x:0" not in grid.custom_ids
        ix = room.pg.forge("bob", grid.id, "v1:nothing:x:0")
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        assert ix.payload["data"]["custom_id"] == "v1:nothing:x:0"
