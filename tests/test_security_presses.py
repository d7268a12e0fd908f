"""Somebody with a script: a thousand presses in a second, ten thousand forged buttons, and roles
whose names promise more than they allow.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot.buttons import answer_press
from bot.cards import custom_id
from bot.permissions import Action
from bot.playground import (
    InteractionState,
    MessageRecord,
    PlayError,
    Playground,
    RateLimits,
)
from bot.playground.permissions import Permission
from bot.playground.wire import snowflake_time
from bot.presses.repeated import SECONDS, Repeated
from storage import JobKind
from tests.bot_room import QUICK, Room, finished, job_of, open_room, results
from tests.chaos.bots import bot, jobs_of, stopped
from tests.hostile import custom_ids
from tests.test_bot_buttons import told
from tests.test_bot_permission_matrix import forged


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def is_refusal(message: MessageRecord) -> bool:
    return "once is enough" in message.content


def once(states: list[InteractionState], answers: list[MessageRecord | None]) -> None:
    """See that all presses but one were refused with a sentence, seen by the presser alone."""
    refused = [each for each in answers if each and is_refusal(each)]
    assert set(states) == {InteractionState.ACKNOWLEDGED}, "every press was answered"
    assert len(refused) == len(states) - 1
    assert all(each.ephemeral for each in refused)


async def test_many_presses_in_a_second_make_one_job(room: Room) -> None:
    async with room.bot() as app:
        app.services.repeated.seconds = SECONDS
        grid = await room.grid("alice")
        await room.settled(app)
        state = next(each for each in grid.custom_ids if each.startswith("v1:reroll"))
        pressed = [await room.pg.press("bob", grid.id, state) for _ in range(60)]
        states = [await each.acknowledged for each in pressed]
        await room.result_of(pressed[0])
        await room.settled(app)
        once(states, [room.pg.ledger.messages.get(each.message_id or 0) for each in pressed])
        jobs = [job.kind for job in await app.services.store.history()]
        assert sorted(jobs) == [JobKind.IMAGINE, JobKind.REROLL]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_thousand_presses_in_a_second_make_one_job(tmp_path: Path) -> None:
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        async with bot(pg, tmp_path) as process:
            ix = await pg.slash("alice", "imagine", {"prompt": "a fox"})
            grid = await pg.wait(lambda ledger: finished(ledger, ix.message_id), timeout=20)
            state = next(each for each in grid.custom_ids if each.startswith("v1:reroll"))
            loop = asyncio.get_running_loop()
            started, pressed = loop.time(), []
            for number in range(1000):
                # A press a millisecond, and both processes have time to breathe between.
                await asyncio.sleep(max(0.0, started + number * 0.0009 - loop.time()))
                pressed.append(await pg.press("bob", grid.id, state))
            # On a slow machine many are answered later than Discord waits; none is forgotten.
            for each in pressed:
                await each.acknowledged
            await pg.wait(lambda ledger: len(results(ledger)) > 1, timeout=60)
            await stopped(process)
        # On a slow machine the presses themselves take longer than the second they are meant for.
        span = snowflake_time(pressed[-1].id) - snowflake_time(pressed[0].id)
    log = (tmp_path / "bot.log").read_text(encoding="utf-8")
    late = [int(found) for found in re.findall(r"the event loop was (\d+) ms late", log)]
    assert max(late, default=0) < 1000, "others are answered while somebody presses"
    jobs = [job.kind for job in await jobs_of(tmp_path)]
    assert 1 <= jobs.count(JobKind.REROLL) <= 1 + int(span)
    assert len(jobs) == 1 + jobs.count(JobKind.REROLL)


def an_interaction(number: int, at: float, user: int = 1, message: int = 1) -> Any:  # noqa: ANN401
    created = SimpleNamespace(timestamp=lambda: at)
    return SimpleNamespace(
        id=number,
        user=SimpleNamespace(id=user),
        message=SimpleNamespace(id=message),
        created_at=created,
    )


def test_a_second_goes_by_discords_clock_and_belongs_to_one_button_of_one_person() -> None:
    repeated = Repeated()
    assert not repeated.is_one(an_interaction(1, 100.0), "a")
    assert not repeated.is_one(an_interaction(1, 100.0), "a"), "the same interaction again"
    assert repeated.is_one(an_interaction(2, 100.9), "a")
    assert repeated.is_one(an_interaction(3, 99.9), "a"), "it came later, and was sent before"
    assert not repeated.is_one(an_interaction(4, 100.5), "b")
    assert not repeated.is_one(an_interaction(5, 100.5, user=2), "a")
    assert not repeated.is_one(an_interaction(6, 100.5, message=2), "a")
    assert not repeated.is_one(an_interaction(7, 101.0), "a"), "refused presses prolong nothing"
    for number in range(10_001):
        repeated.is_one(an_interaction(number + 8, 200.0), str(number))
    assert not repeated.is_one(an_interaction(20_000, 200.1), "0"), "the oldest is forgotten"


async def forge(room: Room, count: int, pressed: int) -> None:
    """Answer forged buttons, some of them really pressed; nothing may come of them."""
    async with room.bot() as app:
        grid = await room.grid("alice")
        await room.settled(app)
        job = await job_of(app, grid)
        # Bob is no moderator: what destroys is not his, and what paints is left out.
        effects = ("upscale", "vary", "reroll", "report", "perm", "fix")
        before = await app.services.store.counts()
        whole = [each.to_json() for each in room.engine.submitted]
        states = [
            each
            for each in custom_ids(count, job_ids=(job.id, job.id.upper()))
            if not (job.id in each and any(f":{one}:" in each for one in effects))
        ]
        for number, state in enumerate(states):
            if number < pressed and state.isprintable() and state.strip():
                message = await forged(room, room.pg.channels["easel"], state)
                ix = await room.pg.press("bob", message.id, state)
                assert await ix.acknowledged is InteractionState.ACKNOWLEDGED, state
            else:
                await answer_press(stranger(app), state)
        assert await app.services.store.counts() == before
        assert [each.to_json() for each in room.engine.submitted] == whole
        again = await app.services.store.job(job.id)
        assert again is not None
        assert again.deleted_at is None
        assert await app.services.store.pictures(job.id)


def stranger(app: Any) -> Any:  # noqa: ANN401 - as much of an interaction as is read
    """Return an interaction of somebody without any right, which swallows what is answered."""

    async def swallow(*_: object, **__: object) -> Any:  # noqa: ANN401
        return SimpleNamespace(message_id=1, id=1, resource=None)

    response = SimpleNamespace(
        is_done=lambda: False,
        send_message=swallow,
        defer=swallow,
        edit_message=swallow,
        send_modal=swallow,
    )
    nobody = SimpleNamespace(manage_messages=False, manage_guild=False, administrator=False)
    return SimpleNamespace(
        id=7, client=app.client, user=SimpleNamespace(id=9, roles=[]), guild_id=8, guild=None,
        channel_id=5, channel=None, message=None, response=response, permissions=nobody,
        followup=SimpleNamespace(send=swallow), edit_original_response=swallow, locale="en-US",
        created_at=SimpleNamespace(timestamp=lambda: 0.0), data={}, filesize_limit=None,
        extras={}, type=None, guild_locale=None, original_response=swallow,
    )  # fmt: skip


@pytest.mark.timeout(120)
async def test_forged_buttons_do_nothing(room: Room) -> None:
    await forge(room, 600, pressed=30)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_ten_thousand_forged_buttons_do_nothing(room: Room) -> None:
    await forge(room, 10_000, pressed=500)


async def test_a_roles_name_gives_no_right(room: Room) -> None:
    names = ("Admin", "Administrator", "Moderators ", "Owner", "easel-admin", "everyone", "Bot")
    async with room.bot(QUICK) as app:
        grid = await room.grid("alice")
        await room.settled(app)
        job = await job_of(app, grid)
        for name in names:
            room.pg.add_role(name, permissions=Permission(0))
            room.pg.give_role("bob", name)
        message = await forged(
            room, room.pg.channels["easel"], custom_id(Action.DELETE_SURE, job.id, 0)
        )
        ix = await room.pg.press("bob", message.id, message.custom_ids[0])
        assert "Only the person who asked" in await told(room, ix)
        # Discord offers the command to those who manage the server, whatever they are called.
        with pytest.raises(PlayError):
            await room.pg.slash("bob", "admin pause")
        assert (await app.services.store.job(job.id) or job).deleted_at is None
