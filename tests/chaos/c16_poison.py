"""C16: one prompt aborts the process whenever it is painted; twenty good ones wait beside it.

A supervisor starts the bot again each time. After five deaths the job must be given up, with a
sentence for who asked and a line in the log, and all others must be posted: none may be taken for
the culprit because it was at the device at the same time.
"""

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from bot import texts
from bot.playground import Playground, RateLimits
from storage import JobState
from tests.chaos.bots import Child, Nursery, connected, connects, stopped
from tests.chaos.oracle import examined, judge, shown
from tests.chaos.suite import Run, Suite
from tests.fakes import FakeEngine

PEOPLE = ("alice", "bob", "carol")
GOOD = 20
# More are more than the specification allows: then something else is wrong.
RESTARTS = 5
SETTINGS = "[storage]\nmin_free_gib = 0\n[queue]\nmax_waiting_user = 50\n"
PREPARE = "tests.chaos.c16_poison:prepare"


async def run(run: Run) -> None:
    """Let the poison in, once for each count."""
    async with Nursery() as nursery:
        for number in range(run.count):
            folder = run.folder / str(number)
            folder.mkdir()
            async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
                await _supervise(run, nursery, pg, folder, first=run.random(number).randrange(8))
            run.passed()


async def _supervise(
    run: Run, nursery: Nursery, pg: Playground, folder: Path, *, first: int
) -> None:
    """Ask for everything, then start the bot again whenever it died, until all good ones are there.

    The poison comes after `first` of the good ones.
    """
    seen = connects(pg)
    process = await nursery.start(pg, folder, config=SETTINGS, prepare=PREPARE, wait=True)
    prompts = [f"a fox --seed {seed} --steps 4" for seed in range(GOOD)]
    prompts.insert(first, "a poison --seed 1 --steps 4")
    await connected(pg, seen)
    for index, prompt in enumerate(prompts):
        asked = await pg.slash(PEOPLE[index % len(PEOPLE)], "imagine", {"prompt": prompt})
        await asked.acknowledged
    process.send_signal(signal.SIGUSR1)
    restarts = 0
    done = asyncio.create_task(pg.wait(lambda _: _all_told(pg), timeout=120))
    try:
        while not await _outlived(process, done):
            run.must(process.returncode == -signal.SIGABRT, f"it ended with {process.returncode}")
            restarts += 1
            if restarts > 2 * RESTARTS:
                run.failures.append("the poison is never given up")
                return
            process = await nursery.start(pg, folder, config=SETTINGS, prepare=PREPARE)
        await stopped(process)
    finally:
        done.cancel()
        process.kill()
        await asyncio.gather(process.wait(), done, return_exceptions=True)
    run.most("restarts", restarts)
    run.must(restarts <= RESTARTS, f"{restarts} restarts")
    await _look(run, pg, folder)


async def _outlived(process: Child, done: "asyncio.Task[object]") -> bool:
    """Wait for the end of the process or of all jobs; True when the process is the one left."""
    end = asyncio.create_task(process.wait())
    await asyncio.wait({end, done}, return_when=asyncio.FIRST_COMPLETED)
    if done.done():
        end.cancel()
        await done
        return True
    return False


def _all_told(pg: Playground) -> bool:
    """Tell whether all good ones are shown, and who asked for the bad one has read of its end."""
    told = any(texts.poisoned() in each.content for each in pg.ledger.messages.values())
    return told and len(shown(pg)) == GOOD


async def _look(run: Run, pg: Playground, folder: Path) -> None:
    jobs = await examined(run, folder)
    bad = [job for job in jobs if "poison" in job.prompt]
    await judge(run, pg, jobs, ends={job.id: JobState.FAILED for job in bad})
    run.must(len(jobs) == GOOD + 1, f"{len(jobs)} jobs were accepted")
    for job in jobs:
        run.most(
            "crashes of a good job" if job not in bad else "crashes of the bad job", job.crashes
        )
    run.must([job.error_code for job in bad] == ["poison"], "the bad job is not given up as such")
    log = (folder / "bot.log").read_text(encoding="utf-8")
    run.must("and is given up" in log, "the log does not name the job that was given up")


def prepare(engine: FakeEngine, wishes: dict[str, Any]) -> None:
    """Let one word abort the process; where asked to, hold every job until SIGUSR1."""
    # No core files: there are hundreds of deaths.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    engine.fail(os.abort, step=3, word="poison", times=sys.maxsize)
    if wishes.get("wait"):
        gate = engine.hold(2)
        signal.signal(signal.SIGUSR1, lambda *_: gate.open.set())


SUITE = Suite(
    name="C16",
    about="a job that aborts the process, among 20 good ones",
    commit=1,
    night=50,
    run=run,
)
