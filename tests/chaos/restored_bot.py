"""A bot whose database was damaged and restored: does it show every job once?

The backup is of any moment of a job's life, taken at one of the points that the bot passes; the
job then goes on to its end, which the restored database knows nothing of.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner

from bot import poster
from bot.__main__ import app as command_line
from bot.app import App
from bot.playground import Playground, RateLimits
from storage import FINAL_STATES, Job, Store, backups
from tests import bot_room
from tests.bot_room import Room, open_room
from tests.chaos.bots import ended, start
from tests.chaos.oracle import judge, shown
from tests.chaos.suite import Run
from tests.test_storage_support import make_posted

POINTS = (
    "accepted",
    "answered",
    "noted",
    "acknowledged",
    "after_claim",
    "step",
    "after_rendered",
    "after_begin_post",
    "after_send",
    "after_posted",
)


async def bot_goes_on(run: Run, folder: Path, number: int, chance: random.Random) -> None:
    """Back up at a point, go on, damage, restore, start again: each job once.

    Every second time the restored bot comes so late that Discord takes no edits of the message any
    more: then only looking helps.
    """
    # All points within ten, and each both early and late within twenty.
    point, is_late = POINTS[number * 3 % len(POINTS)], (number + number // len(POINTS)) % 2 == 1
    data = folder / "data"
    seeds = [chance.randrange(2**31) for _ in range(2)]
    async with open_room(folder) as room:
        with patch.object(bot_room, "App", partial(App, crash=_backing_up(data, point))):
            async with room.bot() as app:
                asked = [await room.imagine(prompt=f"a fox --seed {seed}") for seed in seeds]
                for ix in asked:
                    await room.result_of(ix)
                await room.settled(app)
        taken = backups.found(data / backups.FOLDER)
        run.must(len(taken) == 1, f"{point}: {len(taken)} backups")
        _spoil(data / "easel.db", chance)
        command = ["restore", "--config", str(_config(folder))]
        # In a thread, for the command has a loop of its own.
        said = await asyncio.to_thread(CliRunner().invoke, command_line, command)
        run.must(said.exit_code == 0, f"{point}: restore ended with {said.exit_code}")
        with _late() if is_late else patch.object(poster, "log"):
            await _second_life(run, room, point)
        run.add("bots restored")


async def _second_life(run: Run, room: Room, point: str) -> None:
    async with room.bot() as app:
        services = app.services

        async def left() -> list[Job]:
            known = await services.store.history(limit=10)
            return [job for job in known if job.state not in FINAL_STATES]

        async with asyncio.timeout(20):
            while await left():
                services.poster.changed.clear()
                with suppress(TimeoutError):
                    # A finished post sets it; the last one before its row is written does not.
                    await asyncio.wait_for(services.poster.changed.wait(), 0.1)
        jobs = await services.store.history(limit=10)
        before = len(run.failures)
        # What came after the backup is not in the table; what people see of it stays.
        known = {job.id for job in jobs}
        for job_id, messages in shown(room.pg).items():
            run.must(len(messages) == 1, f"{point}: {job_id} is shown {len(messages)} times")
            if job_id not in known:
                for message in messages:
                    room.pg.ledger.messages.pop(message.id)
        await judge(run, room.pg, jobs)
        run.failures[before:] = [f"{point}: {each}" for each in run.failures[before:]]


async def process_refuses(run: Run, folder: Path, chance: random.Random) -> None:
    """A whole start with a damaged database ends with 78 and a sentence that says what helps."""
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        async with await Store.open(folder / "data") as store:
            await make_posted(store, 1)
        _spoil(folder / "data" / "easel.db", chance)
        process = await start(pg, folder)
        try:
            code = await asyncio.wait_for(process.wait(), 30)
        finally:
            await ended(process)
    told = (folder / "bot.log").read_text(encoding="utf-8")
    run.must(code == 78, f"a damaged database ended the start with {code}")
    run.must("easel restore" in told, "the way out is not named")
    run.must("Traceback" not in told, "a damaged database showed a traceback")
    run.add("processes refused")


def _backing_up(data: Path, wanted: str) -> poster.CrashPoint:
    """Return what takes one backup when the bot first passes a point."""
    waiting = [wanted]

    def pass_by(point: str) -> None:
        if point in waiting:
            waiting.remove(point)
            backups.write(data / "easel.db", data / backups.FOLDER, now=datetime.now(UTC))

    return pass_by


def _spoil(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[100:3000] = chance.randbytes(2900)
    path.write_bytes(data)


def _config(folder: Path) -> Path:
    path = folder / "config.toml"
    path.write_text("", encoding="utf-8")
    return path


@contextmanager
def _late() -> Iterator[None]:
    """Let a poster find every message too old to be edited."""
    with patch.object(poster, "EDITABLE", timedelta(0)):
        yield
