"""Jobs that the last process died under: each has the engine to itself in the next one."""

from collections.abc import Collection
from pathlib import Path

import pytest

from diffusion import Params
from storage import Job, JobKind, NewJob, Store
from tests.bot_room import Room, open_room, results

NAMES = ("first", "second", "third")


async def leave_running(room: Room, *, clean: bool, waiting: Collection[str] = ()) -> list[Job]:
    """Leave jobs as a process does that died at work, or one that was stopped; some not begun."""
    found = []
    async with await Store.open(room.folder / "data") as store:
        for number, name in enumerate(NAMES):
            params = Params(prompt=name, seed=number, steps=2, width=64, height=64)
            new = NewJob(
                kind=JobKind.IMAGINE,
                params=params.to_json(),
                prompt=name,
                images=params.images,
                model=params.model,
                requester_id=room.pg.people["alice"].id,
                guild_id=room.pg.guild_id,
                channel_id=room.pg.channel_id,
                interaction_id=number + 1,
            )
            job = (await store.enqueue(new)).job
            claimed = job if name in waiting else await store.claim(job.id)
            assert claimed is not None
            found.append(claimed)
        if clean:
            await store.mark_clean_stop()
    return found


@pytest.mark.parametrize("clean", [False, True])
async def test_only_what_a_crash_left_runs_alone(tmp_path: Path, clean: bool) -> None:
    async with open_room(tmp_path) as room:
        left = await leave_running(room, clean=clean)
        gate = room.engine.hold(2)
        async with room.bot():
            await gate.reached.wait()
            # A fourth one, which nobody suspects, comes while they wait.
            await room.imagine("bob", "fourth --steps 2")
            alone = 1 if not clean else len(left) + 1
            await gate.holds(alone)
            assert room.engine.running == alone
            gate.open.set()
            await room.pg.wait(lambda ledger: len(results(ledger)) == len(left) + 1, timeout=10)
        assert len(room.engine.finished) == len(left) + 1
        assert room.engine.most_running == alone
        assert room.engine.abandoned == []


async def test_a_suspect_waits_until_those_before_it_are_done(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        left = await leave_running(room, clean=False, waiting=("second", "third"))
        suspect = room.engine.hold(1, word="first")
        innocents = [room.engine.hold(1, word=word) for word in ("second", "third")]
        async with room.bot():
            for gate in innocents:
                await gate.reached.wait()
            for gate in innocents:
                gate.open.set()
            await suspect.reached.wait()
            assert room.engine.running == 1
            suspect.open.set()
            await room.pg.wait(lambda ledger: len(results(ledger)) == len(left), timeout=10)
        assert room.engine.most_running == 2
