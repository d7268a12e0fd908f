"""`kill -9` at every named point of a job, and a restart: nothing lost, nothing posted twice.

The bot is a process of its own with the real command line; the playground lives in the test. All
but one are born in a nursery, which has imported everything once.
"""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bot.playground import MessageRecord, Playground, PlayInteraction, RateLimits
from diffusion import Params
from storage import JobState
from tests.bot_desk import met, pings, results
from tests.chaos.bots import Nursery, bot, jobs_of, start, stopped
from tests.fakes import colour
from tests.pixels import tile_colours

# Where a process may die: the point, and the how-manieth time it is passed. Each takes seconds, so
# the default run has the four that would lose or double something in the usual wrong designs.
POINTS = ["accepted:1", "step:3", "after_begin_post:1", "after_send:1"]
MORE_POINTS = [
    "answered:1",
    "noted:1",
    "acknowledged:1",
    "after_claim:1",
    "step:1",
    "after_rendered:1",
    "after_posted:1",
]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    async with Nursery() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def pg() -> AsyncIterator[Playground]:
    async with Playground(rate_limits=RateLimits(enabled=False)) as playground:
        yield playground


async def imagine(pg: Playground, seed: int) -> PlayInteraction:
    return await pg.slash("alice", "imagine", {"prompt": f"a fox --seed {seed} --steps 4"})


def grids(pg: Playground) -> list[MessageRecord]:
    """Return the messages that show pictures now."""
    return results(pg, "")


async def check_picture(pg: Playground, message: MessageRecord, seed: int) -> None:
    """Assert that the posted grid shows the four pictures of the seed."""
    data = await pg.read_attachment(message.attachments[0])
    assert tile_colours(data) == [colour(seed + number) for number in range(4)]


@pytest.mark.parametrize(
    "point", POINTS + [pytest.param(point, marks=pytest.mark.slow) for point in MORE_POINTS]
)
async def test_killed_at(point: str, pg: Playground, nursery: Nursery, tmp_path: Path) -> None:
    async with nursery.bot(pg, tmp_path, crash=point) as process:
        await imagine(pg, seed=41)
        assert await process.wait() == -signal.SIGKILL
    async with nursery.bot(pg, tmp_path) as process:
        await pg.wait(lambda _: grids(pg), timeout=15)
        # A second job shows that the bot goes on, and that nothing else comes after the first.
        await imagine(pg, seed=90)
        await pg.wait(lambda _: len(grids(pg)) == 2, timeout=15)
        await stopped(process)
    first, second = sorted(grids(pg), key=lambda record: record.id)
    by_seed = {41: first, 90: second}
    for seed, message in by_seed.items():
        await check_picture(pg, message, seed)
    # A ping may be lost with the process, never doubled.
    assert len(pings(pg, pg.people["alice"].id)) <= 2
    jobs = await jobs_of(tmp_path)
    assert [job.state for job in jobs] == [JobState.POSTED] * 2
    assert {job.post_message_id for job in jobs} == {first.id, second.id}


async def test_killed_from_outside_while_it_paints(
    pg: Playground, nursery: Nursery, tmp_path: Path
) -> None:
    async with nursery.bot(pg, tmp_path, hold=3) as process:
        asked = await imagine(pg, seed=41)
        await pg.wait(lambda _: shows_percent(pg, asked), timeout=10)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
    async with nursery.bot(pg, tmp_path) as process:
        await pg.wait(lambda _: grids(pg) and pings(pg, pg.people["alice"].id), timeout=15)
        await stopped(process)
    (message,) = grids(pg)
    assert message.id == asked.message_id
    await check_picture(pg, message, 41)
    (job,) = await jobs_of(tmp_path)
    assert (job.state, job.attempt, job.crashes) == (JobState.POSTED, 2, 1)


def shows_percent(pg: Playground, asked: PlayInteraction) -> bool:
    """Tell whether an interaction's message says how far its job is."""
    record = pg.ledger.messages.get(asked.message_id or 0)
    return record is not None and "%" in record.content


@pytest.mark.slow
async def test_killed_again_and_again_with_many_jobs(
    pg: Playground, nursery: Nursery, tmp_path: Path
) -> None:
    """Four kills at drawn moments, nine jobs of three people: each posted exactly once."""
    draw = random.Random(20260801)  # noqa: S311 - moments of a test, not secrets
    seeds = iter(range(1000, 10_000, 100))
    for _ in range(4):
        point = draw.choice([*POINTS, *MORE_POINTS]).split(":")[0]
        async with nursery.bot(pg, tmp_path, crash=f"{point}:{draw.randint(1, 6)}") as process:
            for who in ("alice", "bob", "carol"):
                prompt = f"a fox --seed {next(seeds)} --steps 4"
                await pg.slash(who, "imagine", {"prompt": prompt})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 3)
    accepted = await jobs_of(tmp_path)
    assert len(accepted) >= 6
    async with nursery.bot(pg, tmp_path) as process:
        await pg.wait(lambda _: len(grids(pg)) >= len(accepted), timeout=20)
        await stopped(process)
    for job in await jobs_of(tmp_path):
        assert job.state is JobState.POSTED
        (message,) = results(pg, job.id)
        assert message.id == job.post_message_id
        await check_picture(pg, message, Params.from_json(job.params).seed)
    assert len(grids(pg)) == len(accepted)


async def test_asked_to_stop_it_hands_the_job_back(
    pg: Playground, nursery: Nursery, tmp_path: Path
) -> None:
    async with nursery.bot(pg, tmp_path, hold=3) as process:
        asked = await imagine(pg, seed=41)
        await pg.wait(lambda _: shows_percent(pg, asked), timeout=10)
        await stopped(process)
    record = pg.ledger.messages[asked.message_id or 0]
    assert "restarting" in record.content
    (waiting,) = await jobs_of(tmp_path)
    assert (waiting.state, waiting.crashes) == (JobState.QUEUED, 0)
    async with nursery.bot(pg, tmp_path) as process:
        await pg.wait(lambda _: grids(pg), timeout=15)
        await stopped(process)
    (message,) = grids(pg)
    assert message.id == asked.message_id
    await check_picture(pg, message, 41)
    (done,) = await jobs_of(tmp_path)
    assert (done.state, done.crashes) == (JobState.POSTED, 0)


async def test_the_second_signal_ends_at_once(
    pg: Playground, nursery: Nursery, tmp_path: Path
) -> None:
    async with nursery.bot(pg, tmp_path, hold=3) as process:
        asked = await imagine(pg, seed=41)
        await pg.wait(lambda _: shows_percent(pg, asked), timeout=10)
        # The graceful stop tells the requester; without an answer it would wait.
        fault = pg.faults.hang("PATCH", "*", seconds=30, count=99)
        process.send_signal(signal.SIGTERM)
        await met(fault)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 130
    (job,) = await jobs_of(tmp_path)
    assert (job.state, job.crashes) == (JobState.QUEUED, 0)


async def test_two_bots_do_not_share_a_folder(pg: Playground, tmp_path: Path) -> None:
    async with bot(pg, tmp_path):
        identified = len(pg.ledger.happened("identify"))
        second = await start(pg, tmp_path)
        assert await asyncio.wait_for(second.wait(), 10) == 78
        assert len(pg.ledger.happened("identify")) == identified
    assert "another Easel" in (tmp_path / "bot.log").read_text(encoding="utf-8")
