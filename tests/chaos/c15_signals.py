"""C15: SIGTERM and SIGINT in the middle of a job, once and twice in a row.

The process must end within ten seconds and hand the job back without holding it against it; who
asked must read that the bot restarts, and get the pictures in the end.
"""

import asyncio
import signal
import time
from pathlib import Path

from bot.playground import MessageRecord, Playground, RateLimits
from storage import JobState
from tests.chaos.bots import Nursery, connected, connects, jobs_of, stopped
from tests.chaos.oracle import examined, judge, shown
from tests.chaos.suite import Run, Suite

LONGEST_END = 10.0
WAYS = (
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGINT, signal.SIGTERM),
)


async def run(run: Run) -> None:
    """Stop the bot in every way, one after the other, with the same job at the device."""
    run.figures["told"] = 0
    async with Nursery() as nursery:
        while run.done < run.count:
            folder = run.folder / str(run.done)
            folder.mkdir()
            async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
                ways = WAYS[: run.count - run.done]
                message = None
                for way in ways:
                    message = await _stop(run, nursery, pg, folder, way, message)
                    run.passed()
                async with nursery.bot(pg, folder) as process:
                    await pg.wait(lambda _: len(shown(pg)) == 1, timeout=30)
                    await stopped(process)
                jobs = await examined(run, folder)
                await judge(run, pg, jobs)
            counts = [(job.attempt, job.crashes) for job in jobs]
            run.must(counts == [(len(ways) + 1, 0)], f"attempts and crashes are {counts}")
    longest = run.figures.get("longest end seconds", 0.0)
    run.must(isinstance(longest, float) and longest <= LONGEST_END, "the end took too long")


async def _stop(
    run: Run,
    nursery: Nursery,
    pg: Playground,
    folder: Path,
    way: tuple[signal.Signals, ...],
    message: MessageRecord | None,
) -> MessageRecord:
    """Let the job get to the device, asking for it the first time, and send the signals."""
    seen = connects(pg)
    process = await nursery.start(pg, folder, hold=2)
    try:
        await connected(pg, seen)
        if message is None:
            prompt = f"a fox --seed {run.done} --steps 4"
            asked = await pg.slash("alice", "imagine", {"prompt": prompt})
            await asked.acknowledged
            message = pg.ledger.messages[asked.message_id or 0]
        answer = message
        await pg.wait(lambda _: "%" in answer.content, timeout=30)
        begun = time.monotonic()
        for each in way:
            process.send_signal(each)
        code = await asyncio.wait_for(process.wait(), 30)
        run.most("longest end seconds", time.monotonic() - begun)
    finally:
        process.kill()
        await process.wait()
    # Two signals that arrive together are one to the process.
    run.must(code in ((0,) if len(way) == 1 else (0, 130)), f"after {way} it ended with {code}")
    told = "restarting" in answer.content
    run.add("told", told)
    # Who asks twice wants no message to be waited for.
    run.must(told or len(way) > 1, f"after {way} the message says {answer.content!r}")
    (job,) = await jobs_of(folder)
    handed_back = (job.state, job.crashes) == (JobState.QUEUED, 0)
    run.must(handed_back, f"after {way} the job is {job.state} with {job.crashes} crashes")
    return answer


SUITE = Suite(
    name="C15", about="SIGTERM and SIGINT in the middle of a job", commit=20, night=200, run=run
)
