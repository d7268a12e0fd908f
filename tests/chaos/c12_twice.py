"""C12: Discord delivers the same interaction again and again, all at once.

One interaction must make its jobs once and be answered once, whatever asked for them: a command, a
prompt that makes several jobs, a button.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from bot.playground import PlayInteraction
from tests.bot_room import Room, open_room
from tests.chaos.oracle import examined, judge
from tests.chaos.suite import Run, Suite

# What the bot logs: the same came again, or came to an earlier run.
AGAIN = "interaction %d came twice"
BEFORE = "interaction %d came to an earlier run, too"
# The largest burst takes half of all; the others have so many.
BURST = 10
SETTINGS = "[storage]\nmin_free_gib = 0\n"


class Repeats(logging.Handler):
    """Counts how often the bot noticed that an interaction had come before."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Count, whoever logs."""
        if record.msg in (AGAIN, BEFORE):
            self.seen += 1
            self.more.set()

    async def reach(self, number: int) -> None:
        """Wait until so many were noticed."""
        async with asyncio.timeout(60):
            while self.seen < number:
                self.more.clear()
                await self.more.wait()


async def run(run: Run) -> None:
    """One large burst, then small ones of every kind."""
    async with open_room(run.folder) as room:
        due = dict[int, int]()
        with noticed() as repeats:
            async with room.bot(SETTINGS):
                await _burst(run, room, repeats, due, (run.count + 1) // 2)
                while run.done < run.count:
                    await _burst(run, room, repeats, due, min(BURST, run.count - run.done))
            async with room.bot(SETTINGS):
                # This run has seen none of them: here the table alone knows them.
                for asked in [room.pg.ledger.interactions[each] for each in due]:
                    before = repeats.seen
                    room.pg.replay(asked)
                    await repeats.reach(before + 1)
                    run.add("after a restart")
        jobs = await examined(run, room.folder)
        await judge(run, room.pg, jobs)
        for interaction_id, number in due.items():
            made = sum(job.interaction_id == interaction_id for job in jobs)
            run.must(made == number, f"an interaction made {made} jobs, not {number}")
        run.must(len(jobs) == sum(due.values()), "there are jobs that nobody asked for")


@contextmanager
def noticed() -> Iterator[Repeats]:
    """Listen to the doors through which interactions and jobs come in."""
    logger, repeats = logging.getLogger("bot"), Repeats()
    level = logger.level
    logger.addHandler(repeats)
    logger.setLevel(logging.INFO)
    try:
        yield repeats
    finally:
        logger.removeHandler(repeats)
        logger.setLevel(level)


async def _burst(run: Run, room: Room, repeats: Repeats, due: dict[int, int], number: int) -> None:
    """Deliver one interaction so many times more at once, and see what came of it."""
    before, kind = repeats.seen, min(2, len(due) % 4)
    asked = await _ask(room, kind, run.done, due)
    for _ in range(number):
        room.pg.replay(asked)
    await asked.acknowledged
    due[asked.id] = 2 if kind == 1 else 1
    await repeats.reach(before + number)
    await room.result_of(asked, timeout=30)
    answers = [
        each
        for each in room.pg.ledger.requests
        if each.path.endswith("/callback") and f"/{asked.id}/" in each.path
    ]
    run.must(len(answers) == 1, f"an interaction was answered {len(answers)} times")
    run.add("answers", len(answers))
    for _ in range(number):
        run.passed()


async def _ask(room: Room, kind: int, seed: int, due: dict[int, int]) -> PlayInteraction:
    """Ask for a picture, for two, or for variations of a picture."""
    if kind == 2:
        first = await room.imagine("bob", f"a fox --seed {seed} --steps 4")
        due[first.id] = 1
        grid = await room.result_of(first)
        button = next(each for each in grid.custom_ids if each.startswith("v1:vary:"))
        return await room.pg.press("bob", grid.id, button)
    more = " --repeat 2" if kind == 1 else ""
    return await room.pg.slash("alice", "imagine", {"prompt": f"a fox --seed {seed}{more}"})


SUITE = Suite(
    name="C12", about="the same interaction many times at once", commit=100, night=1000, run=run
)
