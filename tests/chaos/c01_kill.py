"""C1: `kill -9` at random moments, three jobs each; every few kills all must be there, once."""

import asyncio
import time
from pathlib import Path
from statistics import median

from bot.playground import Playground, PlayInteraction, RateLimits
from tests.chaos.bots import bot, ended, jobs_of, start, stopped
from tests.chaos.oracle import judge, shown
from tests.chaos.suite import Run, Suite

PEOPLE = ("alice", "bob", "carol")
# After so many kills the bot may end its work and everything is looked at.
ROUND = 10
SETTINGS = "[storage]\nmin_free_gib = 0\n[queue]\nmax_waiting_user = 50\n"
CLAIM_SECONDS = 2.0


async def run(run: Run) -> None:
    """Kill the bot again and again; look after every round."""
    chance, rounds, waits = run.random(), -(-run.count // ROUND), list[float]()
    for number in range(rounds):
        folder = run.folder / str(number)
        folder.mkdir()
        async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
            kills = min(ROUND, run.count - run.done)
            for _ in range(kills):
                seeds = [chance.randrange(2**31) for _ in PEOPLE]
                moment, connected = chance.uniform(0.05, 1.5), chance.random() < 0.5
                await _life(pg, folder, moment, seeds, connected=connected)
                run.passed()
            await _leave_some(pg, folder, [chance.randrange(2**31) for _ in PEOPLE])
            waits += await _finish(pg, folder, run)
    run.figures["first claim p50 seconds"] = median(waits) if waits else 0.0
    run.figures["first claim max seconds"] = max(waits, default=0.0)
    run.must(run.figures["jobs"], "no job was ever accepted")
    run.must(waits and median(waits) <= CLAIM_SECONDS, "the first claim comes late, or never")


async def _life(
    pg: Playground, folder: Path, moment: float, seeds: list[int], *, connected: bool
) -> None:
    """Start the bot, ask for three pictures once it is there, and kill it at a moment.

    The moment counts from the start of the process or, as long again, from its connection.
    """
    process = await start(pg, folder, config=SETTINGS)
    try:
        asking = asyncio.create_task(_ask(pg, seeds))
        if connected:
            await pg.ready(timeout=20)
        # The moment of a kill is a time by its nature.
        await asyncio.sleep(moment)
        process.kill()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    finally:
        await ended(process)


async def _leave_some(pg: Playground, folder: Path, seeds: list[int]) -> None:
    """Die with jobs that wait, so that the next start's first claim can be measured."""
    async with bot(pg, folder, config=SETTINGS, hold=2):
        await asyncio.gather(*(ix.acknowledged for ix in await _ask(pg, seeds)))


async def _ask(pg: Playground, seeds: list[int]) -> list[PlayInteraction]:
    await pg.ready(timeout=20)
    prompts = [f"a fox --seed {seed} --steps 4" for seed in seeds]
    people = zip(PEOPLE, prompts, strict=True)
    return [await pg.slash(who, "imagine", {"prompt": prompt}) for who, prompt in people]


async def _finish(pg: Playground, folder: Path, run: Run) -> list[float]:
    """Let the bot end its work, and look at everything; return how long the first claim took."""
    wanted = {job.id for job in await jobs_of(folder) if job.posted_at is None}
    started = time.time()
    async with bot(pg, folder, config=SETTINGS) as process:
        await pg.wait(lambda _: wanted <= shown(pg).keys(), timeout=60)
        await stopped(process)
    jobs = await jobs_of(folder)
    await judge(run, pg, jobs)
    claims = [job.claimed_at.timestamp() for job in jobs if job.claimed_at is not None]
    later = [claim - started for claim in claims if claim > started]
    return [min(later)] if later else []


SUITE = Suite(
    name="C1", about="kill -9 at random, three jobs each", commit=100, night=1000, run=run
)
