"""C2: die at every named point, the first time it is passed, the second, until it is not reached.

After each death the bot starts again, ends what was asked for and does one thing more; then the
table, the files and the messages must agree.
"""

import asyncio
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from bot.playground import MessageRecord, Playground, RateLimits
from storage import FINAL_STATES, JobState, backups
from storage.soundness import examine
from tests.bot_desk import results
from tests.chaos.bots import Child, Nursery, connected, connects, jobs_of, stopped
from tests.chaos.oracle import examined, judge, shown
from tests.chaos.points import BACKUP, CANCEL, DELETE, START, STOP, WORK
from tests.chaos.suite import Run, Suite

POINTS = (*WORK, *START, *CANCEL, *DELETE, *BACKUP, *STOP)
EACH, EACH_NIGHT = 5, 50
# A life waits more than it works: for the gateway's hello, for steps, for a disk.
LANES = 3
# A life takes about a second; what takes so long hangs.
LONGEST_LIFE = 30.0
BACKUPS = Path("data", backups.FOLDER)
PREPARE = "tests.chaos.points:prepare"


async def run(run: Run) -> None:
    """Go through all points, the deaths dealt out evenly among them."""
    each, more = divmod(run.count, len(POINTS))
    dealt = [(point, each + (index < more)) for index, point in enumerate(POINTS)]
    points = iter(dealt)

    async def lane() -> None:
        for point, times in points:
            await _die_at(run, nursery, point, times)

    async with Nursery() as nursery, asyncio.TaskGroup() as group:
        for _ in range(LANES):
            group.create_task(lane())
    run.figures["points"] = len(POINTS)


async def _die_at(run: Run, nursery: Nursery, point: str, times: int) -> None:
    """Die the first time a point is passed, the second, and so on; begin anew after the last."""
    numbers, died = count(1), 0
    while died < times:
        number = next(numbers)
        folder = run.folder / point
        folder.mkdir()
        async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
            end = await _life(nursery, pg, folder, f"{point}:{number}")
            run.must(end in (0, -signal.SIGKILL), f"at {point}:{number} the bot ended with {end}")
            if end == -signal.SIGKILL:
                died += 1
            life = replace(run, folder=folder, failures=[])
            await _finish(life, nursery, pg, folder, point if end else "")
            run.failures += [f"{point}:{number}: {each}" for each in life.failures]
        shutil.rmtree(folder)
        if end == -signal.SIGKILL:
            run.passed()
            continue
        run.add("lives that passed by all points")
        if number == 1 or end != 0:
            run.failures.append(f"{point} is never reached")
            return
        numbers = count(1)


async def _life(nursery: Nursery, pg: Playground, folder: Path, crash: str) -> int:
    """Live until the point is passed, or what was asked for is done; return the exit code."""
    point = crash.partition(":")[0]
    if point in START and point != "migrating":
        await _leave_work(nursery, pg, folder)
    held = 2 if point in (*CANCEL, *STOP) else 0
    seen = connects(pg)
    process = await nursery.start(pg, folder, crash=crash, prepare=PREPARE, hold=held)
    use = asyncio.create_task(_use(pg, process, folder, point, seen))
    end = asyncio.create_task(process.wait())
    try:
        async with asyncio.timeout(LONGEST_LIFE):
            await asyncio.wait({use, end}, return_when=asyncio.FIRST_COMPLETED)
            if use.done():
                await use
            return await end
    finally:
        use.cancel()
        process.kill()
        await asyncio.gather(use, end, return_exceptions=True)


async def _leave_work(nursery: Nursery, pg: Playground, folder: Path) -> None:
    """Die with two jobs at the device."""
    seen = connects(pg)
    async with nursery.bot(pg, folder, hold=2):
        await _painting(pg, await _ask(pg, seen, ("alice", "bob")))


async def _painting(pg: Playground, asked: Sequence[MessageRecord]) -> None:
    """Wait until the jobs of these messages are at the device."""
    await pg.wait(lambda _: all("%" in each.content for each in asked), timeout=LONGEST_LIFE)


async def _use(pg: Playground, process: Child, folder: Path, point: str, seen: int) -> None:
    """Do what leads past the point, then ask the bot to stop."""
    if point in START:
        await connected(pg, seen)
        wanted = 0 if point == "migrating" else 2
        await pg.wait(lambda _: len(shown(pg)) == wanted or None, timeout=LONGEST_LIFE)
    elif point in CANCEL:
        (waiting,) = await _ask(pg, seen, ("alice",))
        (button,) = (each for each in waiting.custom_ids if each.startswith("v1:cancel:"))
        await pg.press("alice", waiting.id, button)
        await pg.wait(lambda _: "ancelled" in waiting.content, timeout=LONGEST_LIFE)
    elif point in STOP:
        await _painting(pg, await _ask(pg, seen, ("alice", "bob")))
    else:
        await _ask(pg, seen, ("alice", "bob"))
        await pg.wait(lambda _: len(shown(pg)) == 2, timeout=LONGEST_LIFE)
        if point in DELETE:
            await _delete(pg, results(pg, "")[0])
        elif point in BACKUP:
            async with asyncio.timeout(LONGEST_LIFE):
                while not await asyncio.to_thread(  # noqa: ASYNC110 - a folder has no event
                    backups.found, folder / BACKUPS
                ):
                    await asyncio.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    await process.wait()


async def _ask(pg: Playground, seen: int, people: Sequence[str]) -> list[MessageRecord]:
    """Let people ask for a picture each, and return the messages that say so."""
    await connected(pg, seen)
    number = len(pg.ledger.interactions)
    asked = [
        await pg.slash(who, "imagine", {"prompt": f"a fox --seed {number + index} --steps 4"})
        for index, who in enumerate(people)
    ]
    await asyncio.gather(*(each.acknowledged for each in asked))
    return [pg.ledger.messages[each.message_id or 0] for each in asked]


def _requester(pg: Playground, message: MessageRecord) -> str:
    asked = pg.ledger.interactions[message.interaction_id or 0]
    return next(name for name, person in pg.people.items() if person.id == asked.user_id)


async def _delete(pg: Playground, message: MessageRecord) -> None:
    """Press Delete under a result, and say yes; wait until it is gone."""
    who = _requester(pg, message)
    asked = await pg.menu(who, message.id, "Delete")
    await asked.acknowledged
    question = pg.ledger.messages[asked.message_id or 0]
    (sure,) = question.custom_ids
    await pg.press(who, question.id, sure)
    await pg.wait(lambda _: message.deleted_at is not None, timeout=LONGEST_LIFE)


async def _finish(run: Run, nursery: Nursery, pg: Playground, folder: Path, died_at: str) -> None:
    """Start again, end everything and one job more; then look at all there is."""
    left = {job.id for job in await jobs_of(folder) if job.state not in FINAL_STATES}
    seen = connects(pg)
    async with nursery.bot(pg, folder) as process:
        (more,) = await _ask(pg, seen, ("carol",))
        try:
            await pg.wait(lambda _: left <= shown(pg).keys(), timeout=LONGEST_LIFE)
            await pg.wait(lambda _: more in results(pg, ""), timeout=LONGEST_LIFE)
        except TimeoutError:
            run.failures.append("something is not posted after the next start")
        await stopped(process)
    jobs = await examined(run, folder)
    for backup in backups.found(folder / BACKUPS):
        found = await asyncio.to_thread(examine, backup.path, every_row=True)
        run.must(found.jobs <= len(jobs), "a backup holds jobs that nobody asked for")
    # Before its row is committed nothing is cancelled; from then on it is, for good.
    cancelled = died_at == "after_cancel" or (not died_at and _was_cancelled(pg))
    alice = pg.people["alice"].id
    ends = {job.id: JobState.CANCELLED for job in jobs if cancelled and job.requester_id == alice}
    await judge(run, pg, jobs, ends=ends)


def _was_cancelled(pg: Playground) -> bool:
    """Tell whether people read that a job was cancelled."""
    return any("ancelled" in each.content for each in pg.ledger.messages.values())


SUITE = Suite(
    name="C2",
    about="a crash at every named point, the n-th time it is passed",
    commit=EACH * len(POINTS),
    night=EACH_NIGHT * len(POINTS),
    run=run,
    alone=True,
)
