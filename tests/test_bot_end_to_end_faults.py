"""The main job while network, Discord or a moderator gets in its way: still exactly one post."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.playground import Fault, MessageRecord, Permission
from storage import JobState, StoreFull
from tests.bot_room import Room, job_id, job_of, open_room, results


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def mentions(room: Room) -> list[MessageRecord]:
    # A job's id has 13 signs; the nonce of the ping has one more.
    return [each for each in room.pg.ledger.messages.values() if len(each.nonce or "") == 14]


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "status"])
async def test_a_broken_final_edit_is_repeated(room: Room, kind: str) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(1)
        ix = await room.imagine()
        faults, pattern = room.pg.faults, "/channels/*/messages/*"
        fault: Fault
        if kind == "status":
            fault = faults.status(503, "PATCH", pattern, count=2)
        else:
            fault = getattr(faults, kind)("PATCH", pattern, count=2)
        gate.open.set()
        await room.result_of(ix)
        await room.settled(app)
        assert fault.hits == 2
        assert [each.id for each in results(room.pg.ledger)] == [ix.message_id]


async def test_without_its_progress_message_the_result_is_a_new_one(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(2)
        ix = await room.imagine()
        await gate.reached.wait()
        assert ix.message_id is not None
        room.pg.delete_message(ix.message_id)
        gate.open.set()
        grid = await room.find(
            lambda ledger: next(
                (m for m in ledger.in_channel(room.pg.channel_id) if m.attachments), None
            )
        )
        await room.settled(app)
        assert grid.nonce == job_id(grid)
        assert [user["username"] for user in grid.data["mentions"]] == ["alice"]
        assert not mentions(room)


async def test_where_nothing_may_be_posted_a_direct_message_comes(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(2)
        ix = await room.imagine()
        await gate.reached.wait()
        assert ix.message_id is not None
        room.pg.delete_message(ix.message_id)
        room.pg.deny(Permission.SEND_MESSAGES)
        gate.open.set()
        direct = room.pg.direct_messages("alice")
        grid = await room.find(
            lambda ledger: next((m for m in ledger.in_channel(direct) if m.attachments), None)
        )
        await room.settled(app)
        assert (await job_of(app, grid)).state is JobState.POSTED


async def test_a_lost_acknowledgement_still_finds_its_message(room: Room) -> None:
    async with room.bot() as app:
        room.pg.faults.reset_after("POST", "/interactions/*")
        ix = await room.pg.slash("alice", "imagine", {"prompt": "a red heart"})
        await room.result_of(ix)
        await room.settled(app)
        assert len(results(room.pg.ledger)) == 1


async def test_a_refused_acknowledgement_brings_a_plain_message(room: Room) -> None:
    async with room.bot() as app:
        room.pg.faults.status(503, "POST", "/interactions/*", count=9)
        await room.pg.slash("alice", "imagine", {"prompt": "a red heart"})
        await room.pg.wait(lambda ledger: results(ledger), timeout=15)
        await room.settled(app)
        (grid,) = results(room.pg.ledger)
        assert grid.nonce == job_id(grid)
        assert [user["username"] for user in grid.data["mentions"]] == ["alice"]


async def test_results_arrive_while_the_gateway_is_gone(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(2)
        ix = await room.imagine()
        await gate.reached.wait()
        room.pg.faults.close_gateway(4000)
        gate.open.set()
        await room.result_of(ix)
        await room.pg.wait(lambda ledger: ledger.happened("resume"), timeout=9)
        await room.settled(app)
        assert len(results(room.pg.ledger)) == 1


@pytest.mark.parametrize("scope", ["route", "global", "shared"])
async def test_rate_limits_are_waited_out(room: Room, scope: str) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(1)
        ix = await room.imagine()
        room.pg.faults.rate_limit("PATCH", "/channels/*", scope=scope, retry_after=0.3, count=2)
        gate.open.set()
        await room.result_of(ix)
        await room.settled(app)
        assert len(results(room.pg.ledger)) == 1


async def test_a_gateway_that_refuses_at_first_is_tried_again(room: Room) -> None:
    room.pg.faults.refuse_connects(2)
    async with room.bot():
        await room.grid()


async def test_a_message_that_could_not_be_noted_is_noted_when_the_disk_has_room(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room.bot() as app:
        note, tries, done = (
            app.services.store.note_progress_message,
            list[object](),
            asyncio.Event(),
        )

        async def noted(*args: Any, **more: Any) -> None:  # noqa: ANN401 - what the store takes
            tries.append(args)
            if len(tries) == 1:
                raise StoreFull("the disk is full")
            await note(*args, **more)
            done.set()

        gate = room.engine.hold(1)
        monkeypatch.setattr(app.services.store, "note_progress_message", noted)
        ix = await room.imagine()
        await gate.reached.wait()
        await done.wait()
        gate.open.set()
        assert (await room.result_of(ix)).id == ix.message_id
        await room.settled(app)
        assert [each.id for each in results(room.pg.ledger)] == [ix.message_id]
