"""C4: every way in which a request can fail, for an answer, an edit and a message: still one post.

Scaled down are the time that a hanging request hangs (30 seconds to three) and the bot's patience
with one (60 seconds to six); every second hang outlasts that patience. The waits between tries are
the product's and discord.py's own, and how long they were is read from the ledger.
"""

import asyncio
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Final

import bot.talk
from bot.playground import Fault, FaultKind, InteractionState, Ledger
from bot.playground.ledger import RequestRecord
from tests.bot_room import Room, finished
from tests.chaos import rooms
from tests.chaos.oracle import judge
from tests.chaos.suite import Run, Suite

VERBS: Final = ("ack", "PATCH", "POST")
STATUSES: Final = ("500", "502", "503", "504", "524")
KINDS: Final = (
    *STATUSES,
    *("limited_route", "limited_shared", "reset_before", "reset_after", "hang", "truncated"),
)
# It holds up everybody, so it comes alone.
GLOBAL: Final = "limited_global"
CELLS: Final = len(VERBS) * (len(KINDS) + 1)
LANES: Final = 6
ONE_TRY, HANG, LONGER = 6.0, 3.2, 7.0
RETRY_AFTER: Final = 1.0
# Wrong is a wait that differs by more than a tenth; the loop of both sides is late by this more.
LATE: Final = 0.25
ON_ITS_WAY: Final = 0.1
MOST_INVALID: Final = 100
WINDOW: Final = 600.0
SETTINGS = f"{rooms.SETTINGS}\n[monitoring]\nlag_warn_ms = 5000\n"


@dataclass(slots=True)
class Lane:
    """One channel in which cells follow each other, and the people who ask there."""

    channel_id: int
    who: str


async def run(run: Run) -> None:
    """Go through all cells, in rounds."""
    bot.talk.ONE_TRY = ONE_TRY
    numbers = count(run.seed)
    async with rooms.room(run) as room:
        pg = room.pg
        people = list(pg.people)
        lanes = [Lane(pg.add_channel(f"lane-{n}"), people[n % 3]) for n in range(LANES)]
        async with room.bot(SETTINGS) as app:
            while run.done < run.count:
                await one_round(run, room, lanes, numbers)
            await rooms.ended(app, pg)
            jobs = await rooms.all_jobs(app.services.store)
            late = app.lag.max
        await judge(run, pg, jobs)
        run.must(len(jobs) == run.figures["asked"], "an accepted command has no job, or two")
        judge_waits(run, pg.ledger, late)
        judge_requests(run, pg.ledger)


async def one_round(run: Run, room: Room, lanes: list[Lane], numbers: "count[int]") -> None:
    """Meet every cell once, as far as the run still wants cells."""
    chance = run.random(run.done)
    cells = [(verb, kind) for verb in VERBS for kind in KINDS]
    chance.shuffle(cells)
    loud = [(verb, GLOBAL) for verb in VERBS]
    wanted = min(run.count - run.done, CELLS)
    loud = loud[: max(0, wanted - len(cells))] if wanted < CELLS else loud
    cells = cells[: wanted - len(loud)]
    # Every second round fails twice in a row, and hangs for longer than the bot waits.
    times = 1 + run.done // CELLS % 2

    async def drive(lane: Lane) -> None:
        while cells:
            await meet(run, room, lane, *cells.pop(), times=times, number=next(numbers))

    await asyncio.gather(*map(drive, lanes))
    for verb, kind in loud:
        await meet(run, room, lanes[0], verb, kind, times=times, number=next(numbers))


async def meet(
    run: Run, room: Room, lane: Lane, verb: str, kind: str, *, times: int, number: int
) -> None:
    """Ask for pictures, let one request of theirs fail, and wait until they are shown."""
    pg, word = room.pg, f"fox{number}"
    gate = room.engine.hold(1, word=word)
    prompt = {"prompt": f"{word} --seed {number} --steps 1"}
    ix = await pg.slash(lane.who, "imagine", prompt, channel_id=lane.channel_id)
    run.add("asked")
    if verb == "ack":
        fault = switch(room, kind, "POST", f"/interactions/{ix.id}/*", times)
        await gate.reached.wait()
    else:
        state = await ix.acknowledged
        run.must(state is InteractionState.ACKNOWLEDGED, f"{word} was not answered")
        await gate.reached.wait()
        if verb == "POST":
            pg.delete_message(ix.message_id or 0)
        route = f"/channels/{lane.channel_id}/messages"
        fault = switch(room, kind, verb, route if verb == "POST" else f"{route}/*", times)
    gate.open.set()
    if kind == GLOBAL and verb != "ack":
        await stand_by(run, room, fault, number)
    try:
        if verb != "ack":
            await pg.wait(lambda _: fault.hits == fault.count, timeout=30)
        await pg.wait(lambda ledger: is_shown(ledger, ix.id, word), timeout=90)
    except TimeoutError:
        run.failures.append(f"{verb} × {kind}: the pictures never came, or came too easily")
    # A second failure of an answer may come too late to be met: there are three seconds for it.
    enough = fault.hits == fault.count or (verb == "ack" and fault.hits)
    run.must(enough, f"{verb} × {kind} was met {fault.hits} times instead of {fault.count}")
    fault.count = fault.hits
    run.passed()


async def stand_by(run: Run, room: Room, fault: Fault, number: int) -> None:
    """Let a job elsewhere be ready to be posted while everything is limited."""
    word, pg = f"hen{number}", room.pg
    await pg.wait(lambda _: fault.hits, timeout=30)
    prompt = {"prompt": f"{word} --seed {number} --steps 1"}
    ix = await pg.slash("carol", "imagine", prompt)
    run.add("asked")
    await pg.wait(lambda ledger: is_shown(ledger, ix.id, word), timeout=90)


def switch(room: Room, kind: str, method: str, route: str, times: int) -> Fault:
    """Turn a fault on."""
    faults = room.pg.faults
    if kind in STATUSES:
        return faults.status(int(kind), method, route, count=times)
    if kind.startswith("limited_"):
        scope = kind.removeprefix("limited_")
        return faults.rate_limit(method, route, scope=scope, retry_after=RETRY_AFTER, count=times)
    if kind == "hang":
        seconds = HANG if times == 1 else LONGER
        return faults.hang(method, route, seconds=seconds, count=1)
    name = {"truncated": "truncate"}.get(kind, kind)
    fault: Fault = getattr(faults, name)(method, route, count=times)
    return fault


def is_shown(ledger: Ledger, since: int, word: str) -> bool:
    """Tell whether some message since an interaction shows the pictures of a prompt."""
    for message in reversed(ledger.messages.values()):
        if message.id < since:
            return False
        if word in message.content and finished(ledger, message.id) is not None:
            return True
    return False


def judge_waits(run: Run, ledger: Ledger, late: float) -> None:
    """Compare how long each limited request waited with how long Discord said."""
    requests = list(ledger.requests)
    worst, seen = 0.0, Counter[str]()
    for index, record in enumerate(requests):
        if not (record.fault or "").startswith("limited_"):
            continue
        seen[str(record.fault)] += 1
        # One that hung may have begun long before and be noted after.
        later = (each for each in requests[index + 1 :] if each.at - each.seconds >= record.at)
        again = next((each for each in later if is_same(each, record)), None)
        if again is None:
            run.failures.append(f"{record.method} {record.path} was never tried again")
            continue
        waited = again.at - again.seconds - record.at
        worst = max(worst, abs(waited - RETRY_AFTER))
        right = 0.9 * RETRY_AFTER <= waited <= 1.1 * RETRY_AFTER + LATE + late
        run.must(right, f"{record.fault}: waited {waited:.2f} s instead of {RETRY_AFTER} s")
        if not right:
            tell_around(requests, record, again)
        if record.fault == GLOBAL and "/interactions/" not in record.path:
            early = [each for each in requests if starts_within(each, record)]
            run.must(not early, f"{len(early)} requests came while everything was limited")
    run.figures["limits met"] = sum(seen.values())
    run.figures["retry_after off by at most seconds"] = worst
    for kind in (FaultKind.LIMITED_ROUTE, FaultKind.LIMITED_SHARED):
        run.must(seen[kind] or run.count < CELLS, f"{kind} was never met")


def tell_around(requests: list[RequestRecord], record: RequestRecord, again: RequestRecord) -> None:
    """Write to standard error what came to the same place meanwhile: seconds, path, end."""
    place = "/".join(record.path.split("/")[:3])
    for each in requests:
        began = each.at - each.seconds - record.at
        if each.path.startswith(place) and began >= -10 and each.at <= again.at + 1:
            told = f"{began:.2f} for {each.seconds:.2f}: {each.method} {each.path[-60:]}"
            print(f"{told} {each.status} {each.fault or ''}", file=sys.stderr)  # noqa: T201


def is_same(later: RequestRecord, record: RequestRecord) -> bool:
    """Tell whether a request is of the same route and place."""
    return (later.method, later.path) == (record.method, record.path)


def starts_within(other: RequestRecord, record: RequestRecord) -> bool:
    """Tell whether a request began while a global limit said to wait."""
    began = other.at - other.seconds
    exempt = "/interactions/" in other.path or "/webhooks/" in other.path
    # What was let go by an earlier limit may be on its way already.
    return not exempt and record.at + ON_ITS_WAY < began < record.at + 0.9 * RETRY_AFTER


def judge_requests(run: Run, ledger: Ledger) -> None:
    """Count what Discord bans for: what the faults gave is theirs, everything else is the bot's."""
    bad = [
        each.at
        for each in ledger.requests
        if each.status in (401, 403, 429) and not (each.fault or "").startswith("limited_")
    ]
    most = max((sum(at <= other < at + WINDOW for other in bad) for at in bad), default=0)
    given = sum((each.fault or "").startswith("limited_") for each in ledger.requests)
    run.figures["invalid requests in 10 minutes, beyond the faults"] = most
    run.figures["limits given by faults"] = given
    run.must(most < MOST_INVALID, f"{most} invalid requests in ten minutes")
    run.must(not ledger.unknown, "the playground has no route for a request")


SUITE = Suite(
    name="C4",
    about="answers, edits and messages × 12 faults of REST",
    commit=2 * CELLS,
    night=50 * CELLS,
    run=run,
)
