"""C14: the machine's clock jumps by a day, an hour or a moment, at every stage of a job's life.

The wall clock of `bot` and `storage` is one that the suite moves: every name by which they read it
leads there. Discord's own clock goes on steadily, and monotonic time is nobody's to move.
"""

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import discord

from bot.app import App
from bot.config import parse_config
from bot.playground import Clock, InteractionState, Playground, PlayInteraction
from storage import Store
from tests.bot_room import Room
from tests.chaos import rooms
from tests.chaos.oracle import judge
from tests.chaos.suite import Run, Suite
from tests.fakes import model_info

REAL_TIME: Final = time.time
DAY, HOUR = 86_400.0, 3_600.0
JUMPS: Final = {
    "a day ahead": DAY,
    "a day back": -DAY,
    "summer time begins": HOUR,
    "summer time ends": -HOUR,
    "an NTP step ahead": 2.5,
    "an NTP step back": -2.5,
}
# For so long Discord remembers a nonce.
NONCE_SECONDS: Final = 120.0
LONGEST: Final = 20.0
ONE_AT_A_TIME: Final = f"{rooms.SETTINGS}\n".replace("[queue]", "[queue]\nmax_running = 1")


class Wall:
    """The machine's clock: off by as much as it was moved."""

    offset = 0.0

    @classmethod
    def seconds(cls) -> float:
        """Return the seconds since 1970, as the machine believes."""
        return REAL_TIME() + cls.offset

    @classmethod
    def now(cls) -> datetime:
        """Return the moment, as the machine believes."""
        return datetime.fromtimestamp(cls.seconds(), UTC)


class Discords(Clock):
    """Discord's clock, which only ever goes on."""

    passed = 0.0

    def now(self) -> float:
        """Return the seconds since 1970."""
        return REAL_TIME() + self.passed


class _AsDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


class Moved(datetime, metaclass=_AsDatetime):
    """`datetime`, whose now is the machine's."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:  # noqa: ANN401 - a datetime, not one of these
        """Return the moment, as the machine believes."""
        return Wall.now().astimezone(tz)


def take_the_clock() -> Callable[[], None]:
    """Let everything in `bot` and `storage` read the movable clock; return what undoes it."""
    undo: list[tuple[dict[str, Any], str, object]] = []

    def put(names: dict[str, Any], name: str, value: object) -> None:
        undo.append((names, name, names[name]))
        names[name] = value

    for name, module in list(sys.modules.items()):
        ours = name.startswith(("bot.", "storage.")) and not name.startswith("bot.playground")
        if ours and vars(module).get("datetime") is datetime:
            put(vars(module), "datetime", Moved)
    put(vars(time), "time", Wall.seconds)
    put(vars(discord.utils), "utcnow", Wall.now)

    def back() -> None:
        for names, name, value in reversed(undo):
            names[name] = value

    return back


class Stage:
    """One run of the bot after the other, on one store's folder."""

    def __init__(self, run: Run, room: Room, clock: Discords) -> None:
        self.run = run
        self.room = room
        self.clock = clock
        self.seed = run.seed

    @property
    def pg(self) -> Playground:
        """The playground."""
        return self.room.pg

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[App]:
        """Run the bot with the movable clock."""
        config = parse_config(ONE_AT_A_TIME, self.room.folder / "config.toml")
        store = await Store.open(self.room.folder / "data", clock=Wall.now)
        try:
            async with self.room.running(config, store, {"emoji": model_info()}) as app:
                yield app
        finally:
            await store.close()

    async def ask(self, word: str) -> PlayInteraction:
        """Ask for pictures and wait for the answer."""
        self.seed += 1
        prompt = {"prompt": f"{word} --seed {self.seed} --steps 2"}
        ix = await self.pg.slash("alice", "imagine", prompt)
        self.run.add("asked")
        answered = await ix.acknowledged is InteractionState.ACKNOWLEDGED
        self.run.must(answered, f"{word}: the command was not answered")
        return ix

    async def all_posted(self, app: App, since: float) -> None:
        """Wait for the end of every job, which no jump may put off."""
        await rooms.ended(app, self.pg, seconds=LONGEST)
        self.run.most("longest seconds", time.monotonic() - since)


async def while_waiting(stage: Stage, word: str, jump: float) -> None:
    """Jump while one job is painted and another waits."""
    async with stage.bot() as app:
        gate = stage.room.engine.hold(1, word=word)
        await stage.ask(word)
        await gate.reached.wait()
        await stage.ask(f"{word} too")
        Wall.offset += jump
        began = time.monotonic()
        gate.open.set()
        await stage.all_posted(app, began)


async def while_painting(stage: Stage, word: str, jump: float) -> None:
    """Jump in the middle of a job's steps."""
    async with stage.bot() as app:
        gate = stage.room.engine.hold(2, word=word)
        await stage.ask(word)
        await gate.reached.wait()
        Wall.offset += jump
        began = time.monotonic()
        gate.open.set()
        await stage.all_posted(app, began)


async def while_posting(stage: Stage, word: str, jump: float) -> None:
    """Jump between a post whose reply is lost and the next try."""
    async with stage.bot() as app:
        gate = stage.room.engine.hold(1, word=word)
        ix = await stage.ask(word)
        await gate.reached.wait()
        stage.pg.delete_message(ix.message_id or 0)
        fault = stage.pg.faults.reset_after("POST", "/channels/*/messages")
        began = time.monotonic()
        gate.open.set()
        await stage.pg.wait(lambda _: fault.hits, timeout=LONGEST)
        Wall.offset += jump
        await stage.all_posted(app, began)


async def before_a_restart(stage: Stage, word: str, jump: float) -> None:
    """Post by a clock that is wrong, lose every reply, and find the post after a restart.

    Discord has forgotten the nonce by then, and the clock is right again.
    """
    Wall.offset += jump
    async with stage.bot() as app:
        vars(app)["_stop_seconds"] = 0.2
        gate = stage.room.engine.hold(1, word=word)
        ix = await stage.ask(word)
        await gate.reached.wait()
        stage.pg.delete_message(ix.message_id or 0)
        fault = stage.pg.faults.reset_after("POST", "/channels/*/messages", count=1000)
        gate.open.set()
        await stage.pg.wait(lambda _: fault.hits, timeout=LONGEST)
    stage.pg.faults.clear()
    stage.clock.passed += 2 * NONCE_SECONDS
    Wall.offset -= jump
    began = time.monotonic()
    async with stage.bot() as app:
        await stage.all_posted(app, began)


MOMENTS: Final[tuple[Callable[[Stage, str, float], Awaitable[None]], ...]] = (
    while_waiting,
    while_painting,
    while_posting,
    before_a_restart,
)


async def run(run: Run) -> None:
    """Jump in every way at every moment, and look at every job at the end."""
    clock = Discords()
    back = take_the_clock()
    cases = [(moment, name) for moment in MOMENTS for name in JUMPS]
    try:
        async with rooms.room(run, clock=clock) as room:
            stage = Stage(run, room, clock)
            for number in range(run.count):
                moment, name = cases[number % len(cases)]
                try:
                    await moment(stage, f"fox{number}", JUMPS[name])
                except TimeoutError:
                    run.failures.append(f"{name}, {moment.__name__}: a job hangs")
                run.passed()
            store = await Store.open(room.folder / "data", clock=Wall.now)
            try:
                jobs = await rooms.all_jobs(store)
            finally:
                await store.close()
            await judge(run, room.pg, jobs)
            run.must(len(jobs) == run.figures["asked"], f"{len(jobs)} jobs are there")
    finally:
        back()


SUITE = Suite(
    name="C14",
    about="the machine's clock jumps",
    commit=len(MOMENTS) * len(JUMPS),
    night=len(MOMENTS) * len(JUMPS),
    run=run,
)
