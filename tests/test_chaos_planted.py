"""A test of the chaos suites: three planted bugs must turn their oracle red, and nothing else may.

Each is a small version of a suite, run twice: with the bot as it is and with the bug in it.
"""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bot import poster
from bot.playground import Playground, RateLimits
from storage import JobState, Store
from tests.bot_desk import met
from tests.bot_room import finished, open_room
from tests.chaos.bots import Nursery, stopped
from tests.chaos.oracle import examined, judge
from tests.chaos.plants import Claim, held_claim, selected_claim, without_nonce
from tests.chaos.suite import Run
from tests.fakes import Gate

PROMPT = "a fox --seed 41 --steps 4"


def fresh(folder: Path) -> Run:
    """Return a run that has found nothing yet."""
    return Run(count=1, folder=folder)


@pytest.mark.parametrize("planted", [False, True], ids=["as it is", "nonce dropped"])
async def test_a_message_whose_answer_is_lost(
    planted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in C4: Discord makes the message, but the bot does not hear of it and tries again."""
    if planted:
        monkeypatch.setattr(poster, "nonce_of", without_nonce())
    run = fresh(tmp_path)
    async with open_room(tmp_path) as room:
        async with room.bot() as app:
            gate = room.engine.hold(2)
            asked = await room.imagine(prompt=PROMPT)
            await gate.reached.wait()
            # Without it the result is an edit, which may be repeated in any case.
            room.pg.delete_message(room.answer(asked).id)
            fault = room.pg.faults.reset_after("POST", "/channels/*/messages")
            gate.open.set()
            await met(fault)
            await room.settled(app)
        await judge(run, room.pg, await examined(run, tmp_path))
    assert run.figures["doubled"] == planted
    assert bool(run.failures) == planted


async def test_a_kill_between_the_mark_and_the_message(tmp_path: Path) -> None:
    """As in C1: the process dies right before it sends, and starts again."""
    async with Nursery() as nursery:
        for plant in ("before_send", "marked_first"):
            folder = tmp_path / plant
            folder.mkdir()
            run = await _killed_before_it_sends(nursery, folder, f"tests.chaos.plants:{plant}")
            planted = plant == "marked_first"
            assert run.figures["lost"] == planted
            assert bool(run.failures) == planted


async def _killed_before_it_sends(nursery: Nursery, folder: Path, prepare: str) -> Run:
    run = fresh(folder)
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        async with nursery.bot(pg, folder, prepare=prepare, crash="before_send:1") as process:
            await pg.slash("alice", "imagine", {"prompt": PROMPT})
            assert await process.wait() == -signal.SIGKILL
        async with nursery.bot(pg, folder, prepare=prepare) as process:
            # What comes after it shows that nothing more comes of the first one.
            more = await pg.slash("bob", "imagine", {"prompt": PROMPT})
            await pg.wait(lambda ledger: finished(ledger, more.message_id), timeout=20)
            await stopped(process)
        await judge(run, pg, await examined(run, folder))
    return run


@pytest.mark.parametrize("claim_of", [held_claim, selected_claim])
async def test_a_job_cancelled_while_it_is_claimed(
    claim_of: Callable[[Gate], Claim], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in C12: two want the same job at the same moment, the worker and who cancels it."""
    gate, run = Gate(0), fresh(tmp_path)
    monkeypatch.setattr(Store, "claim", claim_of(gate))
    async with open_room(tmp_path) as room:
        async with room.bot() as app:
            asked = await room.imagine(prompt=PROMPT)
            await gate.reached.wait()
            (button,) = room.answer(asked).custom_ids
            await room.pg.press("alice", room.answer(asked).id, button)
            await room.shown(asked, lambda message: "ancelled" in message.content)
            gate.open.set()
            await room.grid("bob", PROMPT)
            while app.services.worker.running:
                app.services.poster.changed.clear()
                await app.services.poster.changed.wait()
            await room.settled(app)
        jobs = await examined(run, tmp_path)
        (cancelled,) = (job.id for job in jobs if job.interaction_id == asked.id)
        await judge(run, room.pg, jobs, ends={cancelled: JobState.CANCELLED})
    planted = claim_of is selected_claim
    assert run.figures["lost"] == planted
    assert bool(run.failures) == planted
