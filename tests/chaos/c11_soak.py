"""C11: jobs and presses by the thousand from a thousand people; the bot must not grow.

The bot is a process of its own, so that what the playground remembers is not counted. A quarter of
the jobs warms it up; after every quarter it is let come to rest and measured. What it holds counts,
not what it once needed at the same time on a busy machine: what is free goes back to the system
before its memory is looked at.
"""

import asyncio
import ctypes
import gc
import os
import random
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bot.playground import (
    InteractionState,
    Ledger,
    MessageRecord,
    Playground,
    PlayInteraction,
    RateLimits,
)
from bot.playground.people import Person
from storage import JobState
from tests.bot_room import finished
from tests.chaos.bots import connects, ended, jobs_of, start, stopped
from tests.chaos.suite import Run, Suite

PEOPLE, AT_ONCE, QUARTERS = 1000, 5, 4
# In the first quarter twice as many come, so that every pool of threads and connections is as full
# as it ever gets.
CROWD = 2 * AT_ONCE
WISH = "tests.chaos.c11_soak:forget"
# The type of an interaction that is a press.
PRESS = 3
PROMPTS = ("a fox", "two boats", "a red heart")
MAKING = ("upscale", "vary", "reroll")
MIB, MOST_MIB, MOST_HANDLES = 2**20, 20.0, 2
# How much more one quarter may add to the database than another: a share, and a few pages of KiB.
LINEAR, PAGES = 1.5, 64
SETTINGS = """
[storage]
min_free_gib = 0
[queue]
max_waiting = 1000
max_waiting_user = 50
[delivery]
edit_seconds = 1
"""
BAD = ("exception was never retrieved", "Traceback", "Task was destroyed", "ResourceWarning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a process and its database are."""

    memory: int
    files: int
    threads: int
    database: int


def forget(engine: object, wishes: dict[str, Any]) -> None:
    """Keep the tests' engine from remembering every job, which the real one does not either.

    A signal makes the process give back what it does not hold, and write that down.
    """

    class Nothing(list[object]):
        def append(self, item: object, /) -> None:
            """Drop it."""

    def rest(number: int, frame: object) -> None:
        del number, frame
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        with Path(wishes["rested"]).open("ab") as file:
            file.write(b".")

    for name in ("submitted", "sources", "masks", "shares", "states", "finished", "abandoned"):
        setattr(engine, name, Nothing())
    signal.signal(signal.SIGUSR1, rest)


async def run(run: Run) -> None:
    """Ask and press, and measure after every quarter."""
    chance, sizes = run.random(), list[Size]()
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        _populate(pg, chance)
        rested = run.folder / "rested"
        process = await start(pg, run.folder, config=SETTINGS, prepare=WISH, rested=str(rested))
        try:
            # A start takes its time on a machine that does other things, too.
            await pg.wait(lambda _: connects(pg), timeout=120)
            await pg.ready(timeout=20)
            for quarter in range(1, QUARTERS + 1):
                crowd = CROWD if quarter == 1 else AT_ONCE
                await _soak(pg, run, chance, run.count * quarter // QUARTERS, crowd)
                await _rest(process.pid, rested, times=quarter)
                sizes.append(await asyncio.to_thread(size_of, process.pid, run.folder))
            await stopped(process)
        finally:
            await ended(process)
        asked = pg.ledger.interactions.values()
        run.figures["people who asked"] = len({each.user_id for each in asked})
        run.figures["presses"] = sum(each.type == PRESS for each in asked)
    _judge(run, sizes)
    jobs = await jobs_of(run.folder)
    run.figures["jobs"] = len(jobs)
    run.must(len(jobs) >= run.count, "fewer jobs than were asked for")
    run.must(all(job.state is JobState.POSTED for job in jobs), "not every job was posted")
    log = await asyncio.to_thread((run.folder / "bot.log").read_text, encoding="utf-8")
    for words in BAD:
        run.must(words not in log, f"the log says {words!r}")


async def _soak(pg: Playground, run: Run, chance: random.Random, until: int, crowd: int) -> None:
    """Let people visit, so many at a time, until so many jobs are done."""
    names = list(pg.people)
    while run.done < until:
        some = (
            _visit(pg, run, chance.choice(names), run.random(run.done, each))
            for each in range(min(crowd, until - run.done))
        )
        for _ in range(min(sum(await asyncio.gather(*some)), run.count - run.done)):
            run.passed()


async def _rest(pid: int, rested: Path, *, times: int) -> None:
    """Let a process give back what it does not hold, for the n-th time."""
    os.kill(pid, signal.SIGUSR1)
    async with asyncio.timeout(30):
        while await asyncio.to_thread(_length, rested) < times:  # noqa: ASYNC110 - a file is read
            await asyncio.sleep(0.05)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _populate(pg: Playground, chance: random.Random) -> None:
    for number in range(PEOPLE - len(pg.people)):
        name = f"person{number}"
        colour = (chance.randrange(256), chance.randrange(256), chance.randrange(256))
        pg.people[name] = Person(
            id=pg.world.ids.next(), name=name, display_name=name.capitalize(), colour=colour
        )
        pg.join(name)


async def _visit(pg: Playground, run: Run, who: str, chance: random.Random) -> int:
    """Ask for a picture and press buttons under it and its sequel; return how many jobs it made."""
    prompt = f"{chance.choice(PROMPTS)} --seed {chance.randrange(2**31)}"
    grid = await _picture(pg, run, await pg.slash(who, "imagine", {"prompt": prompt}))
    await _press(pg, run, who, grid, "info")
    sequel = await _picture(pg, run, await _press(pg, run, who, grid, chance.choice(MAKING)))
    await _press(pg, run, who, sequel, "fav" if _has(sequel, "fav") else "info")
    return 2


def _has(message: MessageRecord, action: str) -> str:
    """Return the first button of an action; empty if there is none."""
    return next((each for each in message.custom_ids if each.startswith(f"v1:{action}:")), "")


async def _press(
    pg: Playground, run: Run, who: str, message: MessageRecord, action: str
) -> PlayInteraction:
    pressed = await pg.press(who, message.id, _has(message, action))
    state = await pressed.acknowledged
    run.must(state is InteractionState.ACKNOWLEDGED, f"{action} went unanswered")
    return pressed


async def _picture(pg: Playground, run: Run, asked: PlayInteraction) -> MessageRecord:
    """Wait until an interaction's message has become a picture."""
    state = await asked.acknowledged
    run.must(state is InteractionState.ACKNOWLEDGED, "a command went unanswered")

    def come(ledger: Ledger) -> MessageRecord | None:
        return finished(ledger, asked.message_id)

    found: MessageRecord = await pg.wait(come, timeout=30)
    return found


def size_of(pid: int, folder: Path) -> Size:
    """Measure a process and the database in its folder."""
    place = Path("/proc", str(pid))
    status = dict(
        line.split(":", 1) for line in (place / "status").read_text().splitlines() if ":" in line
    )
    with closing(sqlite3.connect(f"file:{folder}/data/easel.db?mode=ro", uri=True)) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (page,) = database.execute("PRAGMA page_size").fetchone()
    return Size(
        memory=int(status["VmRSS"].split()[0]) * 1024,
        files=len(list((place / "fd").iterdir())),
        threads=int(status["Threads"]),
        database=pages * page,
    )


def _judge(run: Run, sizes: list[Size]) -> None:
    warm, last = sizes[0], sizes[-1]
    grown = (last.memory - warm.memory) / MIB
    added = [(later.database - earlier.database) / 1024 for earlier, later in pairwise(sizes)]
    run.figures |= {
        "memory MiB by quarter": " ".join(f"{each.memory / MIB:.1f}" for each in sizes),
        "memory grown MiB": round(grown, 1),
        "open files": last.files,
        "open files grown": last.files - warm.files,
        "threads": last.threads,
        "threads grown": last.threads - warm.threads,
        "database KiB a quarter": " ".join(f"{each:.0f}" for each in added),
    }
    run.must(grown < MOST_MIB, f"the memory grew by {grown:.1f} MiB")
    run.must(last.files - warm.files <= MOST_HANDLES, "files stay open")
    run.must(last.threads - warm.threads <= MOST_HANDLES, "threads stay")
    run.must(min(added) > 0, "the database did not grow, so nothing was written")
    run.must(max(added) <= LINEAR * min(added) + PAGES, "the database grows faster and faster")


SUITE = Suite(
    name="C11", about="a soak of jobs and presses", commit=300, night=10_000, run=run, alone=True
)
