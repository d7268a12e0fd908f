"""C9: the shipped model paints, encodes, writes and posts; the event loop must hardly notice.

The bot is a process of its own with the real engine, and a ticker in its loop wakes a thousand
times a second. Heartbeats are timed where they arrive. A count is a second of such work.
"""

import asyncio
import json
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import bot.loading
import bot.serving
from bot.app import App
from bot.playground import (
    InteractionState,
    Ledger,
    MessageRecord,
    Playground,
    PlayInteraction,
    RateLimits,
)
from storage import JobState
from tests.bot_room import finished
from tests.chaos.bots import connects, ended, jobs_of, start, stopped
from tests.chaos.suite import Run, Suite

PEOPLE = ("alice", "bob", "carol")
PROMPTS = ("a red heart --ar 3:2", "a blue fish", "a cat face --ar 2:3", "a green tree --ar 16:9")
PRESSES = ("upscale", "vary", "reroll")
HEARTBEAT, LATE = 1.0, 2.0
TICK = 0.001
P99, WORST = 0.050, 0.250
BLOCKED = "heartbeat blocked"
FIGURES = "lag.json"
# Ticks are counted by tenths of a millisecond of lateness.
FINE = 10_000


class Ticker:
    """Wakes every millisecond and counts by how much it was late."""

    def __init__(self) -> None:
        self.late: Counter[int] = Counter()

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self.late[int(max(0.0, loop.time() - due) * FINE)] += 1

    def quantile(self, share: float) -> float:
        """Return the lateness in seconds that a share of all ticks stayed within."""
        left = share * self.late.total()
        for each in sorted(self.late):
            left -= self.late[each]
            if left <= 0:
                return (each + 1) / FINE
        return 0.0


class Watched(App):
    """The bot with a ticker in its loop; what it counted is written down after the stop."""

    ticker: Ticker
    path: Path

    async def __aenter__(self) -> Self:
        """Start to tick."""
        self.ticker = Ticker()
        self._ticking = asyncio.create_task(self.ticker.run(), name="ticker")
        return await super().__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and write down what the ticks say."""
        await super().__aexit__(kind, error, trace)
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)
        figures = {str(share): self.ticker.quantile(share) for share in (0.5, 0.99, 0.999, 1.0)}
        figures["ticks"] = self.ticker.late.total()
        self.path.write_text(json.dumps(figures), encoding="utf-8")


def real(engine: object, wishes: dict[str, Any]) -> None:
    """Take the real engine and the shipped model, and watch the loop."""
    del engine
    Watched.path = Path(wishes["figures"])
    vars(bot.serving).update(
        load_engine=bot.loading.load_engine,
        describe_models=bot.loading.describe_models,
        App=Watched,
    )


async def run(run: Run) -> None:
    """Let three people paint without a pause for so many seconds, and read the ticks."""
    figures, beats = run.folder / FIGURES, list[float]()
    async with Playground(
        rate_limits=RateLimits(enabled=False), heartbeat_interval=HEARTBEAT
    ) as pg:
        _listen(pg, beats)
        wish = "tests.chaos.c09_stall:real"
        process = await start(pg, run.folder, prepare=wish, figures=str(figures))
        try:
            # Loading torch and the weights takes its time on a machine that does other things, too.
            await pg.wait(lambda _: connects(pg), timeout=120)
            await pg.ready(timeout=20)
            begun = time.monotonic()
            end = begun + run.count
            people = [asyncio.create_task(_paint(pg, run, who, end)) for who in PEOPLE]
            for second in range(run.count):
                # By the clock: sleeps of a second each add up to more in an hour.
                await asyncio.sleep(begun + second + 1 - time.monotonic())
                run.passed()
            await asyncio.gather(*people)
            listened = time.monotonic()
            await stopped(process)
        finally:
            await ended(process)
    await _judge(run, figures, [beat for beat in beats if beat <= listened])


def _listen(pg: Playground, beats: list[float]) -> None:
    """Note when heartbeats arrive, from the first one on."""
    gateway: Any = pg._gateway
    answer = gateway._heartbeat

    def heard(visit: object) -> None:
        beats.append(time.monotonic())
        answer(visit)

    gateway._heartbeat = heard


async def _paint(pg: Playground, run: Run, who: str, end: float) -> None:
    """Ask for a picture, press a button under it, and so on until the end."""
    chance = run.random(who)
    while time.monotonic() < end:
        prompt = f"{chance.choice(PROMPTS)} --seed {chance.randrange(2**31)}"
        asked = await pg.slash(who, "imagine", {"prompt": prompt})
        run.must(
            await asked.acknowledged is InteractionState.ACKNOWLEDGED, "a command went unanswered"
        )
        grid = await _picture(pg, asked)
        run.add("grids")
        action = chance.choice(PRESSES)
        custom_id = next(each for each in grid.custom_ids if each.startswith(f"v1:{action}:"))
        pressed = await pg.press(who, grid.id, custom_id)
        run.must(
            await pressed.acknowledged is InteractionState.ACKNOWLEDGED, "a press went unanswered"
        )
        await _picture(pg, pressed)
        run.add("presses")


async def _picture(pg: Playground, asked: PlayInteraction) -> MessageRecord:
    """Wait until an interaction's message has become a picture."""

    def come(ledger: Ledger) -> MessageRecord | None:
        return finished(ledger, asked.message_id)

    found: MessageRecord = await pg.wait(come, timeout=60)
    return found


async def _judge(run: Run, figures: Path, beats: list[float]) -> None:
    lag = json.loads(await asyncio.to_thread(figures.read_text, encoding="utf-8"))
    run.figures |= {
        "lag p50 ms": lag["0.5"] * 1000,
        "lag p99 ms": lag["0.99"] * 1000,
        "lag p99.9 ms": lag["0.999"] * 1000,
        "lag max ms": lag["1.0"] * 1000,
        "ticks": lag["ticks"],
    }
    run.must(lag["0.99"] < P99, "the loop's p99 is too late")
    run.must(lag["1.0"] < WORST, "the loop hung once")
    run.must(lag["ticks"] > 50 * run.count, "the ticker hardly ran")
    jobs = await jobs_of(run.folder)
    run.figures["jobs"] = len(jobs)
    run.must(jobs, "nothing was painted")
    run.must(all(job.state is JobState.POSTED for job in jobs), "not everything painted was posted")
    gaps = [later - earlier for earlier, later in pairwise(beats)]
    run.figures["heartbeats"] = len(beats)
    run.figures["heartbeat latest seconds"] = max(gaps, default=HEARTBEAT) - HEARTBEAT
    run.must(len(beats) >= run.count / HEARTBEAT / 2, "hardly a heartbeat was heard")
    run.must(max(gaps, default=0) - HEARTBEAT <= LATE, "a heartbeat came late")
    log = await asyncio.to_thread((run.folder / "bot.log").read_text, encoding="utf-8")
    run.figures["heartbeat blocked"] = log.count(BLOCKED)
    run.must(BLOCKED not in log, "discord.py says that the heartbeat was blocked")
    run.must("Traceback" not in log, "there is a traceback in the log")


SUITE = Suite(
    name="C9",
    about="the loop's lag while the model paints",
    commit=60,
    night=3600,
    run=run,
    alone=True,
)
