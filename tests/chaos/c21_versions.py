"""C21: other versions of SQLite, and a foreign program that holds the database for ten seconds.

The bot is a process, with each SQLite that is at hand: the one of this Python, and those of the
packages `pysqlite3` and `pysqlite3-binary` where `EASEL_SQLITES` names folders that hold them, as
`make chaos` does (3.46 and 3.53); the figures say which there were. A
reader that holds on to an old moment must disturb nobody; a writer that holds the lock makes
people wait, but nobody may see an error, and the work goes on after it.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiosqlite

from bot.playground import InteractionState, Playground, RateLimits
from tests.chaos.bots import bot, jobs_of, stopped
from tests.chaos.oracle import judge, shown
from tests.chaos.suite import Run, Suite

READS, WRITES = "reads", "writes"
SECONDS = 10.0
# Discord waits three seconds for a first answer; a writer holds on for longer than that.
ASKED_BEFORE = 6.0
BACK_SECONDS = 10.0

# Holds the database from a process of its own: a lock of this process would be seen through.
FOREIGN = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
connection.execute("BEGIN" if sys.argv[2] == "reads" else "BEGIN IMMEDIATE")
connection.execute("SELECT count(*) FROM job").fetchall()
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
print("free", flush=True)
"""


# Python runs this before anything else, where it finds it.
SITE = """
import sys, pysqlite3, pysqlite3.dbapi2
sys.modules["sqlite3"], sys.modules["sqlite3.dbapi2"] = pysqlite3, pysqlite3.dbapi2
"""


def tell_version(_engine: object, wishes: dict[str, Any]) -> None:
    """In the bot's process: say which SQLite the store uses."""
    Path(wishes["version_file"]).write_text(aiosqlite.sqlite_version, encoding="ascii")


def versions() -> list[str]:
    """Return the folders to look for a `pysqlite3` in; "" is this Python's own."""
    given = os.environ.get("EASEL_SQLITES", "").split(os.pathsep)
    return ["", *(place for place in given if (Path(place) / "pysqlite3").is_dir() and place)]


async def run(run: Run) -> None:
    """Hold the database again and again, with one version after the other."""
    places = versions()
    seen = set()
    for number in range(run.count):
        place = places[number % len(places)]
        hold = (READS, WRITES)[number // len(places) % 2]
        folder = run.folder / str(number)
        folder.mkdir()
        seen.add(await _meet(run, folder, place, hold))
        run.passed()
    run.figures["versions"] = " ".join(sorted(seen))
    run.must(len(seen) == len(places[: run.count]), f"not every version was used: {seen}")


async def _meet(run: Run, folder: Path, place: str, hold: str) -> str:
    told = folder / "version"
    wishes = {
        "prepare": "tests.chaos.c21_versions:tell_version",
        "version_file": str(told),
    }
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        with _searched_first(folder, place):
            async with bot(pg, folder, **wishes) as process:
                await _hold_and_ask(run, pg, folder, hold)
                await stopped(process)
        await judge(run, pg, await jobs_of(folder))
        for message in pg.ledger.messages.values():
            run.must("should not" not in message.content, f"unforeseen: {message.content}")
        run.must(not pg.ledger.unknown, "a request of no known kind")
    return told.read_text(encoding="ascii")


async def _hold_and_ask(run: Run, pg: Playground, folder: Path, hold: str) -> None:
    """Ask before, while and after somebody holds the database; all must be posted."""
    await _ask(run, pg, "alice", 1)
    await pg.wait(lambda _: len(shown(pg)) == 1, timeout=20)
    await _ask(run, pg, "bob", 2, steps=100)
    async with _foreign(folder / "data" / "easel.db", hold):
        started = time.monotonic()
        if hold == READS:
            # A reader is in nobody's way: the pictures come while it holds on.
            await _ask(run, pg, "carol", 3)
            await pg.wait(lambda _: len(shown(pg)) == 3, timeout=SECONDS)
            run.add("posted beside a reader")
            await _until(started + SECONDS)
        else:
            await _until(started + SECONDS - ASKED_BEFORE)
            asking = asyncio.create_task(_ask(run, pg, "carol", 3))
            await _until(started + SECONDS)
            # Bob's may have been through before the writer came; carol's cannot.
            run.must(len(shown(pg)) <= 2, "a writer held nothing up: the lock is none")
    freed = time.monotonic()
    if hold == WRITES:
        await asking
    await _ask(run, pg, "alice", 4)
    await pg.wait(lambda _: len(shown(pg)) == 4, timeout=30)
    run.most(f"resumed after {hold} max seconds", time.monotonic() - freed)
    run.must(time.monotonic() - freed <= BACK_SECONDS, f"{hold}: work came back too late")


async def _until(moment: float) -> None:
    # How long somebody holds the database is a time by its nature.
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


async def _ask(run: Run, pg: Playground, who: str, seed: int, *, steps: int = 4) -> None:
    prompt = f"a fox --seed {seed} --steps {steps}"
    ix = await pg.slash(who, "imagine", {"prompt": prompt})
    state = await ix.acknowledged
    run.must(state is InteractionState.ACKNOWLEDGED, f"an answer came too late: {state}")


@asynccontextmanager
async def _foreign(path: Path, hold: str) -> AsyncIterator[None]:
    """Let another process hold the database."""
    how = "reads" if hold == READS else "writes"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        FOREIGN,
        str(path),
        how,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.stdin.write(b"\n")
        assert await process.stdout.readline() == b"free\n"
        await process.wait()


@contextmanager
def _searched_first(folder: Path, place: str) -> Iterator[None]:
    """Let Python find another SQLite in the processes that start meanwhile."""
    if not place:
        yield
        return
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SITE, encoding="ascii")
    with patch.dict(os.environ, {"PYTHONPATH": f"{folder / 'site'}{os.pathsep}{place}"}):
        yield


SUITE = Suite(
    name="C21",
    about="other versions of SQLite; a foreign program holds the database",
    commit=2,
    night=6,
    run=run,
)
