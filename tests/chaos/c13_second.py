"""C13: a second bot is started on the folder of one that works.

It must end with 78 and the reason within a second, and claim nothing; the first one must not
notice. Most are born in a nursery; some are started as an admin would, `python -m bot run`, and
their second counts everything from the start of Python on.
"""

import asyncio
import os
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

from bot.playground import Ledger, Playground, RateLimits
from tests.chaos.bots import ROOT, Nursery, Process, connects, stopped
from tests.chaos.oracle import examined, judge, shown
from tests.chaos.suite import Run, Suite

CONFIG = 78
LONGEST_END = 1.0
COLD_STARTS = 5


async def run(run: Run) -> None:
    """Start a second one again and again, while the first one has something to do."""
    folder = run.folder
    async with Nursery() as nursery, Playground(rate_limits=RateLimits(enabled=False)) as pg:
        async with nursery.bot(pg, folder) as first:
            seen, ends = connects(pg), list[float]()
            for number in range(run.count):
                prompt = f"a fox --seed {number} --steps 4"
                asked = await pg.slash("alice", "imagine", {"prompt": prompt})
                begun = time.monotonic()
                await _refused(run, await nursery.start(pg, folder))
                ends.append(time.monotonic() - begun)
                await asked.acknowledged
                await pg.wait(partial(_are_shown, pg, number + 1), timeout=30)
                run.passed()
            cold = list[float]()
            for _ in range(COLD_STARTS):
                begun = time.monotonic()
                await _refused(run, await _cold(pg, folder))
                cold.append(time.monotonic() - begun)
            run.must(connects(pg) == seen, "a second bot has connected")
            await stopped(first)
        jobs = await examined(run, folder)
        await judge(run, pg, jobs)
    for job in jobs:
        counts = (job.attempt, job.crashes)
        run.must(counts == (1, 0), f"attempts and crashes of a job are {counts}")
    # Other suites run beside this one: one start in between may be held up by them.
    run.figures["end p50 seconds"] = median(ends)
    run.figures["longest end seconds"] = max(ends)
    run.must(median(ends) <= LONGEST_END, "a second bot takes too long to see the first one")
    run.figures["cold end p50 seconds"] = median(cold)
    if run.scale == "night":  # by day others may have the cores
        run.must(median(cold) <= LONGEST_END, "a cold second start takes too long")
    log = (folder / "bot.log").read_text(encoding="utf-8")
    told = log.count("in use by another Easel")
    run.must(told == run.count + COLD_STARTS, "the log does not say why")


async def _cold(pg: Playground, folder: Path) -> asyncio.subprocess.Process:
    """Start the product itself where the first one has its settings."""
    with (folder / "bot.log").open("ab") as stream:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot",
            "run",
            "--config",
            str(folder / "config.toml"),
            cwd=ROOT,
            env={**os.environ, "DISCORD_TOKEN": pg.token},
            stderr=stream,
        )


def _are_shown(pg: Playground, number: int, _: Ledger) -> bool:
    return len(shown(pg)) == number


async def _refused(run: Run, second: Process) -> None:
    code = await asyncio.wait_for(second.wait(), 30)
    run.must(code == CONFIG, f"the second bot ended with {code}")


SUITE = Suite(
    name="C13",
    about="a second bot on the same folder",
    commit=5,
    night=100,
    run=run,
    # What Python imports at a start takes all of a core for most of that second.
    alone=True,
)
