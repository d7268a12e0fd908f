"""C10: Discord takes its time with every message: what is painted waits on disk, and within bounds.

Scaled 1:50 are the 30 seconds that a request takes (to six tenths) and the 50 KB/s at which an
upload comes in (to 2.5 MB/s). Not scaled are the bot's own pauses and its patience with one try.
Beside that one channel is as slow as it gets, and everybody's commands must be answered all the
same: its first upload comes in at 50 KB/s and takes a quarter of a minute; at night its requests
take their 30 seconds too, and a second picture is so large that its upload takes over a minute.

Pictures are of noise, so that what waits to be sent is as large as it can be, and the bot's line is
narrow: what Discord has not let in yet waits in the bot. Answers to commands are as quick as
always: who waits 30 seconds for those has lost the command, whatever the bot does. The bot is a
process of its own, so that what the playground remembers is not held against it; its table is read
from outside.
"""

import asyncio
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from PIL import Image

import bot.serving
from bot.playground import (
    Fault,
    InteractionState,
    Ledger,
    Playground,
    PlayInteraction,
    RateLimits,
    RequestRecord,
)
from bot.worker import MOST_UNPOSTED
from diffusion import Params, Step
from storage.opening import DATABASE
from tests.chaos import bots
from tests.chaos.oracle import judge, shown
from tests.chaos.suite import Run, Suite
from tests.fakes import FakeEngine, colour, model_info
from tests.narrow import narrow_this_process

SCALE: Final = 50
SECONDS, BYTES_PER_SECOND = 30.0, 50_000.0
# Grids of noise of 0.8 and 3.3 MB.
SIDE, LARGE_SIDE = 256, 528
LONG: Final = 10.0
MOST_WAITING, MOST_EACH, MOST_RUNNING = 12, 5, 4
SETTINGS = f"""
[storage]
min_free_gib = 0
[queue]
max_waiting = {MOST_WAITING}
max_waiting_user = {MOST_EACH}
max_running = {MOST_RUNNING}
[delivery]
mention_requester = false
"""
LANES: Final = 3
WARM_UP: Final = 15
GROWTH_MIB, ACK_SECONDS = 50.0, 1.0
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class NoisyEngine(FakeEngine):
    """Paints noise, with the seed's colour in the middle."""

    async def _last(self, params: Params, step: Step, pictures: tuple[Image.Image, ...]) -> Step:
        noisy = await asyncio.to_thread(
            lambda: tuple(noise(params, number) for number in range(len(pictures)))
        )
        return replace(step, pictures=noisy)


def noise(params: Params, number: int) -> Image.Image:
    """Paint a picture that no format makes small."""
    size = (params.width, params.height)
    picture = Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1]))
    middle = Image.new("RGB", (32, 32), colour(params.seed_of(number)))
    picture.paste(middle, ((size[0] - 32) // 2, (size[1] - 32) // 2))
    return picture


def prepare(engine: FakeEngine, wishes: dict[str, Any]) -> None:
    """Give a child an engine of noise and a narrow line."""
    del engine, wishes
    narrow_this_process()
    models = {
        name: model_info(name, side=side, scale=1)
        for name, side in (("emoji", SIDE), ("large", LARGE_SIDE))
    }
    noisy = NoisyEngine(models=tuple(models), seconds_per_step=0.01)
    vars(bot.serving).update(load_engine=lambda _: noisy, describe_models=lambda _: models)


class Watch:
    """Looks at a bot's table and its memory from outside."""

    def __init__(self, run: Run, pid: int) -> None:
        self._run = run
        self._pid = pid

    def look(self) -> None:
        """Note what is largest now."""
        counts = self._counts()
        for state in ("queued", "rendered", "posting"):
            self._run.most(f"most {state}", counts.get(state, 0))
        unposted = counts.get("rendered", 0) + counts.get("posting", 0)
        self._run.most("most unposted", unposted)
        if self._run.done >= WARM_UP:
            rss = rss_mib(self._pid)
            self._run.figures.setdefault("rss MiB after warm-up", rss)
            grown = rss - float(self._run.figures["rss MiB after warm-up"])
            self._run.most("rss growth MiB", grown)

    def _counts(self) -> dict[str, int]:
        path = self._run.folder / "data" / DATABASE
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return dict(connection.execute("SELECT state, count(*) FROM job GROUP BY state"))


class Far:
    """The channel that is as slow as it gets; the first commands are typed there."""

    def __init__(self, run: Run, pg: Playground) -> None:
        at_night = run.scale == "night"
        self.prompts = ["", "--model large"] if at_night else [""]
        self.channel_id = pg.add_channel("far")
        self._pg = pg
        self.fault = pg.faults.throttle(
            *("*", f"/channels/{self.channel_id}/*"),
            bytes_per_second=BYTES_PER_SECOND,
            seconds=SECONDS if at_night else SECONDS / SCALE,
            count=10**9,
        )

    def judge(self, run: Run, asked: list[PlayInteraction]) -> None:
        """See that it was slow, and that it held nobody up."""
        long = [each for each in uploads(self._pg, self.channel_id) if each.seconds >= LONG]
        run.must(len(long) == len(self.prompts), f"{len(long)} uploads took over {LONG:.0f} s")
        run.figures["uploads at 50 KB/s"] = len(long)
        run.figures["longest upload seconds"] = max((each.seconds for each in long), default=0.0)
        beside = [ix for ix in asked if any(within(ix, upload) for upload in long)]
        run.figures["answers beside them"] = len(beside)
        enough = beside or run.count < 2 * WARM_UP
        run.must(enough, "nobody asked for anything during a long upload")
        judge_answers(run, beside, "answer beside them p99 seconds")


def uploads(pg: Playground, channel_id: int | None = None) -> list[RequestRecord]:
    """Return the uploads that came in slowly and whole, in one channel or in all."""
    prefix = "/channels/" if channel_id is None else f"/channels/{channel_id}/"
    return [
        each
        for each in pg.ledger.requests
        if each.path.startswith(prefix)
        and each.file_names
        and (each.fault, each.status) == ("throttle", 200)
    ]


def within(ix: PlayInteraction, upload: RequestRecord) -> bool:
    """Tell whether a command was asked while an upload was under way."""
    return upload.at - upload.seconds < ix.history[0].at < upload.at


def judge_paces(run: Run, pg: Playground, *faults: Fault) -> None:
    """See that no upload was quicker than the first fault that it matches lets it be."""
    seen = uploads(pg)
    for each in seen:
        size = sum(item["size"] for item in each.answer["attachments"])
        fault = next(fault for fault in faults if fault.matches(each.method, each.path))
        due = size / fault.bytes_per_second + fault.seconds
        run.add("MB uploaded", size / 1e6)
        run.must(each.seconds >= due, f"{size} bytes came in after {each.seconds:.2f} s")
    run.figures["uploads"] = len(seen)
    run.must(len(seen) >= run.count, "not every upload was slow")


async def run(run: Run) -> None:
    """Ask for pictures as quickly as the limits let people, while every message is slow."""
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        prepared = f"{__name__}:prepare"
        async with bots.bot(pg, run.folder, config=SETTINGS, prepare=prepared) as process:
            far = Far(run, pg)
            slow = pg.faults.throttle(
                *("*", "/channels/*"),
                bytes_per_second=BYTES_PER_SECOND * SCALE,
                seconds=SECONDS / SCALE,
                count=10**9,
            )
            asked = await ask_for_all(run, pg, far, slow, Watch(run, process.pid))
            await pg.wait(lambda _: len(shown(pg)) == run.count, timeout=300)
            await bots.stopped(process)
        jobs = await bots.jobs_of(run.folder)
        await judge(run, pg, jobs)
        run.must(len(jobs) == run.count, f"{len(jobs)} jobs instead of {run.count}")
        judge_figures(run, asked)
        far.judge(run, asked)
        judge_paces(run, pg, far.fault, slow)


async def ask_for_all(
    run: Run, pg: Playground, far: Far, slow: Fault, watch: Watch
) -> list[PlayInteraction]:
    """Let everybody ask again and again until all jobs are accepted; return what they asked."""
    asked: list[PlayInteraction] = []
    # In a channel everything goes one after the other.
    places = [pg.channel_id, *(pg.add_channel(f"another-{number}") for number in range(LANES - 1))]
    accepted = 0

    async def person(who: str) -> None:
        nonlocal accepted
        while accepted < run.count:
            accepted += 1
            number = len(asked)
            options = {"prompt": f"a fox --seed {number} --steps 1"}
            place = places[number % len(places)]
            if number < len(far.prompts):
                options["prompt"] += f" {far.prompts[number]}"
                place = far.channel_id
            ix = await pg.slash(who, "imagine", options, channel_id=place)
            asked.append(ix)
            state = await ix.acknowledged
            run.must(state is InteractionState.ACKNOWLEDGED, f"command {number} was not answered")
            watch.look()
            if is_refusal(pg, ix):
                accepted -= 1
                run.add("refused with a sentence")
                # Nothing gets a place before another message is on its way.
                await pg.wait(partial(is_beyond, slow, slow.hits), timeout=60)
            else:
                run.passed()

    await asyncio.gather(*map(person, pg.people))
    return asked


def is_beyond(fault: Fault, before: int, ledger: Ledger) -> bool:
    """Tell whether a fault was met again since."""
    del ledger
    return fault.hits > before


def is_refusal(pg: Playground, ix: PlayInteraction) -> bool:
    """Tell whether a command was refused: with a sentence for the one who asked."""
    message = pg.ledger.messages.get(ix.message_id or 0)
    return message is not None and message.ephemeral and bool(message.content)


def rss_mib(pid: int) -> float:
    """Return how much memory a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE_BYTES / 2**20


def judge_answers(run: Run, asked: list[PlayInteraction], name: str) -> None:
    """Note how long people waited for an answer, and hold it against the bound."""
    seconds = sorted(ix.history[1].at - ix.history[0].at for ix in asked)
    p99 = seconds[min(len(seconds) - 1, len(seconds) * 99 // 100)] if seconds else 0.0
    run.figures[name] = p99
    run.must(p99 < ACK_SECONDS, f"{name}: {p99:.2f}")


def judge_figures(run: Run, asked: list[PlayInteraction]) -> None:
    """Hold what was seen against the bounds."""
    judge_answers(run, asked, "answer p99 seconds")
    most = {name: int(run.figures.get(f"most {name}", 0)) for name in ("rendered", "queued")}
    run.must(most["rendered"] <= MOST_UNPOSTED, f"{most['rendered']} jobs were rendered at once")
    run.must(most["queued"] <= MOST_WAITING, f"{most['queued']} jobs waited at once")
    # What is being painted when the last place is taken still comes.
    unposted = int(run.figures.get("most unposted", 0))
    run.must(unposted <= MOST_UNPOSTED + MOST_RUNNING, f"{unposted} jobs were unposted at once")
    enough = unposted >= MOST_UNPOSTED and run.figures.get("refused with a sentence")
    run.must(enough or run.count < 2 * WARM_UP, "Discord was too quick for anything to wait")
    growth = float(run.figures.get("rss growth MiB", 0.0))
    run.must(growth < GROWTH_MIB, f"the process grew by {growth:.0f} MiB")


SUITE = Suite(
    name="C10", about="Discord is slow with every message", commit=60, night=1000, run=run
)
