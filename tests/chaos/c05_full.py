"""C5: a full disk, met at any write of the database or of the pictures' folder.

One bot meets one full disk after the other. While it lasts, whoever asks is refused with a sentence
or accepted for good; what was accepted before is kept and goes on within seconds after there is
room again.
"""

import asyncio
import errno
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import IO
from unittest.mock import patch

from bot import texts
from bot.app import App
from bot.playground import InteractionState, Ledger, MessageRecord, PlayInteraction
from storage import JobKind, Store, files
from tests.bot_room import Room, finished
from tests.chaos.oracle import judge
from tests.chaos.rooms import SETTINGS, all_jobs, ended, room
from tests.chaos.suite import Run, Suite

PEOPLE = ("alice", "bob", "carol")
BACK_SECONDS = 10.0
MOST_ASKED = 12
# Long enough to fill a page of the database with a few.
WORDS = "a fox in the snow " * 150


class FullDisk:
    """Stands in for `os` in the module of the pictures' files: full from the n-th write on.

    Opening, writing, flushing and making folders count as writes; each may be the one that fails.
    """

    def __init__(self, number: int) -> None:
        self._left = number
        self.refusals = 0

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """Open a file; one that is written to may be refused."""
        if flags & os.O_WRONLY:
            self._count()
        return os.open(path, flags, mode)

    def fdopen(self, descriptor: int, mode: str) -> IO[bytes]:
        """Wrap a file whose first bytes may be refused."""
        file = os.fdopen(descriptor, mode)
        if self._left <= 1:
            file.write(b"cut")
            file.close()
        self._count()
        return file

    def fsync(self, descriptor: int) -> None:
        """Flush a file, where disks with delayed allocation first notice."""
        self._count()
        os.fsync(descriptor)

    def _count(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self.refusals += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def run(run: Run) -> None:
    """Fill the disk in many ways, one after the other."""
    chance = run.random()
    async with room(run) as here:
        async with here.bot(SETTINGS) as app:
            grid = await here.grid(prompt="a fox --seed 1")
            await here.press("alice", grid, "upscale", 1)
            single = await here.find(_favourable)
            for number in range(run.count):
                await _meet(run, here, app, KINDS[number % 3], chance, number, single)
                run.passed()
        async with await Store.open(run.folder / "data") as store:
            run.must(await store.check() == len(await all_jobs(store)), "jobs are damaged")
            jobs = [job for job in await all_jobs(store) if job.kind is JobKind.IMAGINE]
            # A single picture is named after its grid, and no second showing of that.
            del here.pg.ledger.messages[single.id]
            await judge(run, here.pg, jobs)
        for message in here.pg.ledger.messages.values():
            run.must("Traceback" not in message.content, "a user saw a traceback")
            run.must("should not" not in message.content, f"unforeseen: {message.content}")
    run.must(run.figures.get("refused"), "nobody was ever refused: the disk was never full")
    run.must(run.figures.get("files refused"), "no file was ever refused")
    run.must(run.figures["resumed max seconds"], "nothing was ever seen to go on")


Fill = Callable[[Store, random.Random], AbstractAsyncContextManager[FullDisk | None]]


async def _meet(
    run: Run,
    here: Room,
    app: App,
    fill: Fill,
    chance: random.Random,
    number: int,
    single: MessageRecord,
) -> None:
    """Accept one job, fill the disk while it is painted, ask for more, make room."""
    seed = 10_000 * (number + 1)
    word = f"kept{number}"
    gate = here.engine.hold(2, word=word)
    await here.imagine("alice", f"a fox {word} --seed {seed} --steps 4")
    await gate.reached.wait()
    async with fill(app.services.store, chance) as disk:
        gate.open.set()
        if disk is not None:
            async with asyncio.timeout(10):
                while not disk.refusals:  # noqa: ASYNC110 - set from the thread of the files
                    await asyncio.sleep(0.01)
        asked = await _ask_until_refused(run, here, seed, stop=disk is not None)
        await _press(run, here, single)
    run.add("files refused", 0 if disk is None else disk.refusals)
    started = time.monotonic()
    after = await here.imagine("bob", f"a fox --seed {seed + 5000} --steps 4")
    await ended(app, here.pg)
    run.most("resumed max seconds", time.monotonic() - started)
    run.must(time.monotonic() - started <= BACK_SECONDS, "work came back too late")
    # All of them are posted, or the end of the run tells; this one even where it was asked for.
    run.must(
        finished(here.pg.ledger, after.message_id), "what was asked for afterwards is not shown"
    )
    run.add("accepted", 2 + len(asked))


async def _ask_until_refused(
    run: Run, here: Room, seed: int, *, stop: bool
) -> list[PlayInteraction]:
    """Ask for long pictures until somebody is refused; return who was accepted."""
    accepted = []
    for number in range(1 if stop else MOST_ASKED):
        who = PEOPLE[number % 3]
        prompt = f"{WORDS} --seed {seed + 10 * number} --steps 4"
        ix = await here.pg.slash(who, "imagine", {"prompt": prompt})
        run.must(await ix.acknowledged is InteractionState.ACKNOWLEDGED, "an answer never came")
        answer = here.answer(ix)
        if not answer.ephemeral:
            accepted.append(ix)
            continue
        run.add("refused")
        run.must(answer.content == texts.disk_full(), f"refused with: {answer.content}")
        break
    return accepted


def _favourable(ledger: Ledger) -> MessageRecord | None:
    """Return the message of a single picture, which has the button for favourites."""
    for message in ledger.messages.values():
        if any(each.startswith("v1:fav:") for each in message.custom_ids):
            return message
    return None


async def _press(run: Run, here: Room, message: MessageRecord) -> None:
    """Press a button that writes; it is answered, whatever comes of it."""
    ix = await here.press("carol", message, "fav")
    run.must(here.answer(ix).content, "a button had no answer")
    run.add("buttons answered")


@asynccontextmanager
async def _full_database(store: Store, chance: random.Random) -> AsyncIterator[None]:
    """Let the database grow by no page, or by a few."""
    async with _capped(store, chance.randrange(4)):
        yield


@asynccontextmanager
async def _full_pictures(store: Store, chance: random.Random) -> AsyncIterator[FullDisk]:
    """Let the folder of the pictures take some writes, and then none."""
    disk = FullDisk(chance.randrange(1, 18))
    with patch.object(files, "os", disk):
        yield disk


@asynccontextmanager
async def _full_both(store: Store, chance: random.Random) -> AsyncIterator[FullDisk]:
    """Fill both, as one disk that holds both does."""
    async with _capped(store, chance.randrange(2)), _full_pictures(store, chance) as disk:
        yield disk


KINDS = (_full_database, _full_pictures, _full_both)


@asynccontextmanager
async def _capped(store: Store, pages: int) -> AsyncIterator[None]:
    """Let the writer's database be so many pages larger than it is, and no more."""
    await _limit(store, pages)
    try:
        yield
    finally:
        await _limit(store, None)


async def _limit(store: Store, more: int | None) -> None:
    async with store._database._writer.connect() as connection:
        count = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        most = 2**30 if more is None else int(count) + more
        await connection.exec_driver_sql(f"PRAGMA max_page_count={most}")


SUITE = Suite(
    name="C5",
    about="a full disk, at any write of database and pictures",
    commit=50,
    night=500,
    run=run,
)
