"""C3: the gateway breaks in every way it knows, while commands arrive; it is resumed, not begun.

Scaled down are the heartbeat (41 seconds to one), discord.py's patience with a silent gateway (60
seconds to three), its backoff (1 second to a tenth, its longest from 300 to 1), our own pauses
between fruitless connections (0.5 seconds to a tenth), and what is between two IDENTIFYs (5 seconds
to 1).
"""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import bot.reconnecting
from bot.playground import InteractionState, Ledger, Playground, PlayInteraction
from tests.chaos import rooms
from tests.chaos.oracle import judge
from tests.chaos.suite import Run, Suite

PEOPLE = ("alice", "bob", "carol")
HEARTBEAT, PATIENCE = 1.0, 3.0
IDENTIFY_SECONDS = 1.0
SCALED = {
    "BACKOFF_BASE": 0.1,
    "LONGEST_BACKOFF": 1.0,
    "FIRST_PAUSE": 0.1,
    "LONGEST_PAUSE": 1.0,
    "IDENTIFY_SECONDS": IDENTIFY_SECONDS,
    "INVALID_SECONDS": (0.2, 1.0),
}
RECONNECT_SECONDS, LONGEST_WAIT = 5.0, 20.0
MOST_IDENTIFIES = 50
TIMED_OUT = 4009
# So many commands come around every fault.
BEFORE, DURING, AFTER = 4, 3, 3
# The clocks of sender and receiver are one; what is between them is a loop's turn or two.
APART_SECONDS = 0.98 * IDENTIFY_SECONDS
RESUMED_SHARE = 0.95

Break = Callable[[Playground], None]


def hang_up(pg: Playground) -> None:
    """Close with 4000 and turn away the next connections."""
    pg.faults.close_gateway(4000)
    pg.faults.refuse_connects(2)


def refuse_resume(pg: Playground) -> None:
    """Close with 4000 and forget the session."""
    pg.faults.refuse_resumes(1)
    pg.faults.close_gateway(4000)


# After these a session can be resumed …
RESUMABLE: dict[str, Break] = {
    "closed with 1000": lambda pg: pg.faults.close_gateway(1000),
    "closed with 1006": lambda pg: pg.faults.close_gateway(1006),
    "closed with 4000": lambda pg: pg.faults.close_gateway(4000),
    "invalid session, resumable": lambda pg: pg.faults.invalidate_session(resumable=True),
    "asked to reconnect": lambda pg: pg.faults.ask_reconnect(),
    "refused twice": hang_up,
}
# … also after these, which the client has to find out by itself …
QUIET: dict[str, Break] = {
    "acks missed": lambda pg: pg.faults.miss_acks(1000),
    "half open": lambda pg: pg.faults.half_open(),
    "silence": lambda pg: pg.faults.silence(),
}
# … and after these it must be begun anew: Discord forgot it.
LOST: dict[str, Break] = {
    "closed with 4009": lambda pg: pg.faults.close_gateway(4009),
    "invalid session": lambda pg: pg.faults.invalidate_session(resumable=False),
    "resume refused": refuse_resume,
}
ALL = RESUMABLE | QUIET | LOST


async def run(run: Run) -> None:
    """Break the gateway again and again, and look at every job at the end."""
    vars(bot.reconnecting).update(SCALED)
    # Of every twenty faults one loses the session: each costs an IDENTIFY, and they are few a day.
    chance, lost = run.random(), list(LOST)
    common = [*RESUMABLE, *RESUMABLE, *QUIET, *QUIET, "closed with 4000"]
    deck: list[str] = []
    asked: list[PlayInteraction] = []
    waits: list[float] = []
    async with rooms.room(run, heartbeat=HEARTBEAT) as room:
        async with room.bot(rooms.SETTINGS) as app:
            client: Any = app.client
            client._connection.heartbeat_timeout = PATIENCE
            # The connection that is there has the old patience; the next one has the new.
            await meet(room.pg, "closed with 4000")
            while run.done < run.count:
                if not deck:
                    deck = [*common, lost[run.done // 20 % len(lost)]]
                    chance.shuffle(deck)
                name = deck.pop()
                asked += await ask(room.pg, BEFORE)
                wait = await meet(room.pg, name, asked)
                run.add(f"{name}")
                waits += [] if name in LOST or wait is None else [wait]
                run.must(wait is not None, f"no way back from: {name}")
                await still_there(run, room.pg, asked)
                run.passed()
            await rooms.ended(app, room.pg)
            jobs = await rooms.all_jobs(app.services.store)
        await judge(run, room.pg, jobs)
        seen = [job.interaction_id for job in jobs]
        run.must(len(seen) == len(set(seen)), "an interaction has two jobs")
        run.must(set(seen) <= {ix.id for ix in asked}, "a job is of no interaction, or of its copy")
        answered = sum(ix.state is InteractionState.ACKNOWLEDGED for ix in asked)
        run.must(answered >= len(asked) // 2, f"{answered} of {len(asked)} were answered")
        run.must(len(jobs) >= answered, f"{answered} commands were answered, {len(jobs)} jobs made")
        run.figures["commands"], run.figures["answered"] = len(asked), answered
        judge_sessions(run, room.pg.ledger, waits)


async def meet(
    pg: Playground, name: str, asked: list[PlayInteraction] | None = None
) -> float | None:
    """Meet one fault, with commands in the middle of it; return the seconds that the way back took.

    They count from the moment that the client let go. None: there was no way back.
    """
    came = "ready" if name in LOST else "resume"
    before = {what: len(pg.ledger.happened(what)) for what in (came, "disconnect")}

    def news(what: str, ledger: Ledger) -> bool:
        return len(ledger.happened(what)) > before[what]

    ALL[name](pg)
    if asked is not None:
        asked += await ask(pg, DURING)
    try:
        await pg.wait(partial(news, "disconnect"), timeout=LONGEST_WAIT)
        if name == "silence":
            pg.faults.silence(on=False)
        pg.faults.miss_acks(0)
        await pg.wait(partial(news, came), timeout=LONGEST_WAIT)
    except TimeoutError:
        return None
    lost, back = (pg.ledger.happened(what)[before[what]].at for what in ("disconnect", came))
    return back - lost


async def still_there(run: Run, pg: Playground, asked: list[PlayInteraction]) -> None:
    """See that a command is answered now, and that its event may come again."""
    fresh = await ask(pg, AFTER)
    asked += fresh
    pg.faults.replay_events(4)
    pg.replay(fresh[0])
    states = await asyncio.gather(*(each.acknowledged for each in fresh))
    good = all(state is InteractionState.ACKNOWLEDGED for state in states)
    run.must(good, f"after fault {run.done} a command was not answered")


async def ask(pg: Playground, times: int) -> list[PlayInteraction]:
    """Let people ask for pictures."""
    options = {"prompt": "a fox --steps 1"}
    return [await pg.slash(PEOPLE[number % 3], "imagine", options) for number in range(times)]


def judge_sessions(run: Run, ledger: Ledger, waits: list[float]) -> None:
    """Look at how the way back was found: resumed wherever it could be, and soon."""
    begun = [record.at for record in ledger.happened("identify")]
    resumed, lost = len(waits), sum(int(run.figures.get(name, 0)) for name in LOST)
    could = run.count - lost
    # With a heartbeat of a second a busy machine is late for one now and then, as it is for none
    # of 41 seconds: the playground hangs up, and that session is lost too.
    ours = int(run.figures.get("closed with 4009", 0))
    late = sum(record.detail == TIMED_OUT for record in ledger.happened("closed")) - ours
    run.figures["sessions lost to the scaled heartbeat"] = late
    apart = [later - earlier for earlier, later in pairwise(begun)]
    share = resumed / could if could else 1.0
    p95 = sorted(waits)[min(len(waits) - 1, len(waits) * 95 // 100)] if waits else 0.0
    run.figures |= {
        "resumed share of resumable": share,
        "reconnect p95 seconds": p95,
        "reconnect max seconds": max(waits, default=0.0),
        "identifies": len(begun),
        "identifies apart seconds": min(apart, default=0.0),
    }
    # The first is the start's own; every lost session costs one, and nothing else may.
    run.must(len(begun) <= 1 + lost + late + 0.05 * could, f"{len(begun)} sessions were begun")
    run.must(len(begun) < MOST_IDENTIFIES, f"{len(begun)} sessions were begun")
    run.must(all(gap >= APART_SECONDS for gap in apart), "two IDENTIFYs were too close")
    run.must(share >= RESUMED_SHARE, f"only {share:.0%} of what could be was resumed")
    run.must(not waits or p95 < RECONNECT_SECONDS, f"the way back took {p95:.1f} s")


SUITE = Suite(
    name="C3", about="the gateway breaks while commands arrive", commit=20, night=200, run=run
)
