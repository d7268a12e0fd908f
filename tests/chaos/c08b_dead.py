"""C8b: the device fails for good, in the middle of a job: the process ends so that another begins.

It must end with 70 within seconds, and the next start must post the job, one attempt later.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from bot.playground import Playground, RateLimits
from diffusion import EngineDeadError
from storage import FINAL_STATES
from tests.chaos.bots import Nursery, jobs_of, stopped
from tests.chaos.oracle import examined, judge, shown
from tests.chaos.suite import Run, Suite
from tests.fakes import FakeEngine

ROUND = 10
STEPS = 4
LONGEST_END = 5.0
SOFTWARE = 70
PREPARE = "tests.chaos.c08b_dead:prepare"


async def run(run: Run) -> None:
    """Let the engine die again and again."""
    async with Nursery() as nursery:
        for number in range(-(-run.count // ROUND)):
            folder = run.folder / str(number)
            folder.mkdir()
            async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
                for _ in range(min(ROUND, run.count - run.done)):
                    await _die(run, nursery, pg, folder)
                    run.passed()
                jobs = await examined(run, folder)
                await judge(run, pg, jobs)
            for job in jobs:
                counts = (job.attempt, job.crashes)
                run.must(counts == (2, 1), f"attempts and crashes of a job are {counts}")
            log = (folder / "bot.log").read_text(encoding="utf-8")
            run.must(log.count("must be started again") == len(jobs), "the log does not say why")
    longest = run.figures.get("longest end seconds", 0.0)
    run.must(isinstance(longest, float) and longest <= LONGEST_END, "the end took too long")


async def _die(run: Run, nursery: Nursery, pg: Playground, folder: Path) -> None:
    """Ask for a picture, see the process end, and let the next one post it."""
    step = run.done % STEPS + 1
    async with nursery.bot(pg, folder, prepare=PREPARE, step=step) as process:
        prompt = f"a fox --seed {run.done} --steps {STEPS}"
        await pg.slash("alice", "imagine", {"prompt": prompt})
        begun = time.monotonic()
        code = await asyncio.wait_for(process.wait(), 30)
    run.most("longest end seconds", time.monotonic() - begun)
    run.must(code == SOFTWARE, f"the process ended with {code}")
    waiting = {job.id for job in await jobs_of(folder) if job.state not in FINAL_STATES}
    run.must(len(waiting) == 1, f"{len(waiting)} jobs wait for the next start")
    async with nursery.bot(pg, folder) as process:
        await pg.wait(lambda _: waiting <= shown(pg).keys(), timeout=30)
        await stopped(process)


def prepare(engine: FakeEngine, wishes: dict[str, Any]) -> None:
    """Let the device fail before a step of the first job."""
    engine.fail(lambda: EngineDeadError("CUDA error: device-side assert"), step=wishes["step"])


SUITE = Suite(
    name="C8b", about="the engine dies: exit 70, and the job goes on", commit=5, night=50, run=run
)
