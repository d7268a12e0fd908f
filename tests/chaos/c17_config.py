"""C17: edits of config.toml while the bot runs, by bad luck and by halves.

Most go to the reloader directly; some are only saved, and the watch of the file takes them in.
Whatever the file says, it is in force whole, or it is refused with its name, line and key and all
settings stay as they were. A job that was accepted before is painted as it was accepted.
"""

import asyncio
import logging
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bot.config import Config, ConfigError, load_config
from bot.reloading import Reloader
from tests.bot_room import Room, open_room, results
from tests.chaos.suite import Run, Suite
from tests.test_bot_config import mutate, shipped_text

if TYPE_CHECKING:
    from collections.abc import Iterator

# So many edits, of which the last is saved for the watch alone.
WATCHED = 25
# And after so many a job that waited all the time is let go and looked at.
ROUND = 100
PROMPT = "a fox --seed 7 --steps 4 --ar 3:2"


class Ears(logging.Handler):
    """Hears what the reloader logs, and everything that carries a traceback."""

    def __init__(self) -> None:
        """Hear everything."""
        super().__init__(logging.INFO)
        self.tracebacks: list[str] = []
        self.heard = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record."""
        if record.exc_info:
            self.tracebacks.append(f"{record.name}: {record.getMessage()}: {record.exc_info[1]!r}")
        if record.name == "bot.reloading":
            self.heard.set()


@contextmanager
def listening() -> "Iterator[Ears]":
    """Hear the root logger while the block runs."""
    ears, root = Ears(), logging.getLogger()
    level = root.level
    root.addHandler(ears)
    try:
        yield ears
    finally:
        root.removeHandler(ears)
        root.setLevel(level)


async def run(run: Run) -> None:
    """Run a bot, and edit its file so often."""
    path = run.folder / "config.toml"
    start = shipped_text()
    path.write_text(start, encoding="utf-8")
    async with open_room(run.folder) as room:
        with listening() as ears:
            async with room.bot(start):
                reloader = Reloader(room.app, load_config(path), path)
                await reloader.begin()
                watch = asyncio.create_task(reloader.watch())
                try:
                    while run.done < run.count:
                        await _round(run, room, reloader, ears)
                finally:
                    run.must(not watch.done(), "the watch of the file ended")
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)
                    path.write_text(start, encoding="utf-8")
        for each in ears.tracebacks:
            run.failures.append(f"a traceback: {each}")
    for wanted in ("loaded", "refused", "refused with a line", "seen by the watch"):
        run.must(run.figures.get(wanted), f"no edit was ever {wanted}")


async def _round(run: Run, room: Room, reloader: Reloader, ears: Ears) -> None:
    """Have a job wait while the file is edited again and again, then let it be painted."""
    path = run.folder / "config.toml"
    path.write_text(shipped_text(), encoding="utf-8")
    await reloader.reload()
    gate = room.engine.hold(1)
    ix = await room.imagine("alice", PROMPT)
    (before,) = await room.app.services.store.history(limit=1)
    chance = run.random(run.done)
    for _ in range(min(ROUND, run.count - run.done)):
        data = _edited(chance)
        if run.done % WATCHED == WATCHED - 1:
            await _saved(run, room, ears, data)
        else:
            await _reloaded(run, room, reloader, data)
        run.passed()
    # What was last in force may well allow nothing; the job must not care.
    gate.open.set()
    done = await room.result_of(ix, timeout=20)
    after = await room.app.services.store.job(before.id)
    run.must(after is not None and after.params == before.params, "a waiting job was changed")
    run.must(room.engine.submitted[-1].to_json() == before.params, "another job was painted")
    run.must(done in results(room.pg.ledger), "the job that waited shows no picture")
    await room.settled(room.app)
    run.add("jobs that waited")


def _edited(chance: random.Random) -> bytes:
    """Return the shipped file after bad luck; now and then only its first half was written."""
    text = shipped_text()
    for _ in range(chance.randint(1, 3)):
        text = mutate(text, chance) or "#"
    data = text.encode("utf-8", "surrogatepass")
    return data[: chance.randrange(len(data))] if chance.random() < 0.2 else data


async def _reloaded(run: Run, room: Room, reloader: Reloader, data: bytes) -> None:
    before = room.app.services.settings()
    dumped = before.model_dump()
    (run.folder / "config.toml").write_bytes(data)
    try:
        await reloader.reload()
    except ConfigError as error:
        run.add("refused")
        run.add("refused with a line", int(error.line is not None))
        run.add("refused with a key", int(error.key is not None))
        run.must("config.toml" in str(error), f"a refusal names no file: {error}")
        run.must("\n" not in str(error) and len(str(error)) < 1000, f"no sentence: {error}")
        now = room.app.services.settings()
        run.must(now is before and now.model_dump() == dumped, "a refusal changed the settings")
    else:
        run.add("loaded")
        run.must(room.app.services.settings() == _read(run, data), "the file is not what holds")


async def _saved(run: Run, room: Room, ears: Ears, data: bytes) -> None:
    """Save the file in two pieces, and wait until the watch has said something."""
    path, before = run.folder / "config.toml", room.app.services.settings()
    ears.heard.clear()
    with path.open("wb", buffering=0) as file:
        file.write(data[: len(data) // 2])
        await asyncio.sleep(0)
        file.write(data[len(data) // 2 :])
    async with asyncio.timeout(10):
        await ears.heard.wait()
    run.add("seen by the watch")
    now = room.app.services.settings()
    # The watch may have been so quick that it saw the first half.
    halves = (_read(run, data[: len(data) // 2]), _read(run, data))
    run.must(now is before or now in halves, "what holds stood in no file")


def _read(run: Run, data: bytes) -> Config | None:
    """Return what a file alone would give, or None for a file that is refused."""
    beside = run.folder / "beside.toml"
    beside.write_bytes(data)
    try:
        return load_config(beside)
    except ConfigError:
        return None


SUITE = Suite(
    name="C17", about="config.toml edited while the bot runs", commit=500, night=10_000, run=run
)
