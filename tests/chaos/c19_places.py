"""C19: before a job is posted its place is lost: message, channel, permission or guild.

Every place is lost once with the requester's direct messages open, which then get the pictures, and
once with them closed, where the job ends as undeliverable. A job elsewhere goes on meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bot.app import App
from bot.playground import InteractionState, Permission, Playground, PlayInteraction
from bot.playground.ledger import RequestRecord
from storage import Job, JobState
from tests.bot_room import Room, finished
from tests.chaos import rooms
from tests.chaos.oracle import judge
from tests.chaos.suite import Run, Suite

UNDELIVERABLE: Final = "undeliverable"
NOTHING: Final = Permission(0)
Act = Callable[[Playground, PlayInteraction], None]


def keep(pg: Playground, ix: PlayInteraction) -> None:
    """Leave everything as it is."""
    del pg, ix


def lose_message(pg: Playground, ix: PlayInteraction) -> None:
    """Delete the message of a job."""
    pg.delete_message(ix.message_id or 0)


def lose_channel(pg: Playground, ix: PlayInteraction) -> None:
    """Delete the channel of a job."""
    pg.delete_channel(ix.channel_id)


def lose_sight(pg: Playground, ix: PlayInteraction) -> None:
    """Keep the bot from seeing the channel."""
    pg.deny(Permission.VIEW_CHANNEL, channel_id=ix.channel_id)


def lose_both(pg: Playground, ix: PlayInteraction) -> None:
    """Delete the message and keep the bot from writing another."""
    lose_message(pg, ix)
    pg.deny(Permission.SEND_MESSAGES, channel_id=ix.channel_id)


def be_kicked(pg: Playground, ix: PlayInteraction) -> None:
    """Remove the bot from the guild."""
    del ix
    pg.kick_bot()


def come_back(pg: Playground, ix: PlayInteraction) -> None:
    """Take the bot back into the guild."""
    del ix
    pg.invite_bot()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One way to lose a place; `requests` is how many the bot may make to find out and end."""

    lose: Act
    repair: Act = keep
    # Whether the channel itself still takes the pictures.
    place_left: bool = False
    requests: int = 3


LOSSES: Final = (
    Loss(lose=lose_message, place_left=True),
    Loss(lose=lose_channel),
    Loss(lose=lose_sight),
    Loss(lose=be_kicked, repair=come_back),
    # Two losses: an edit that finds no message, a message that is refused, the direct channel and
    # a message there.
    Loss(lose=lose_both, requests=4),
)


async def run(run: Run) -> None:
    """Lose one place after another, with direct messages open and closed in turn."""
    ends: dict[str, JobState] = {}
    async with rooms.room(run, guilds=2) as room:
        async with room.bot(rooms.SETTINGS) as app:
            for number in range(run.count):
                loss, is_open = LOSSES[number // 2 % len(LOSSES)], number % 2 == 0
                job = await meet(run, room, app, loss, number, is_open=is_open)
                if job is not None and job.state is JobState.FAILED:
                    ends[job.id] = JobState.FAILED
                run.passed()
            await rooms.ended(app, room.pg)
            jobs = await rooms.all_jobs(app.services.store)
        await judge(run, room.pg, jobs, ends=ends)
        run.figures["undeliverable"] = len(ends)
        run.must(len(jobs) == 2 * run.count, f"{len(jobs)} jobs instead of {2 * run.count}")


async def meet(
    run: Run, room: Room, app: App, loss: Loss, number: int, *, is_open: bool
) -> Job | None:
    """Lose the place of one job before it is painted, and look at how it ends."""
    pg, name = room.pg, loss.lose.__name__
    place = pg.add_channel(f"lost-{number}")
    gate = room.engine.hold(1, word=f"fox{number}")
    prompt = {"prompt": f"fox{number} --seed {number} --steps 1"}
    ix = await pg.slash("alice", "imagine", prompt, channel_id=place)
    run.must(await ix.acknowledged is InteractionState.ACKNOWLEDGED, f"{name}: not answered")
    await gate.reached.wait()
    direct = pg.direct_messages("alice")
    pg.deny(NOTHING if is_open else Permission.SEND_MESSAGES, channel_id=direct)
    loss.lose(pg, ix)
    before = len(pg.ledger.requests)
    gate.open.set()
    await rooms.ended(app, pg)
    requests = list(pg.ledger.requests)[before:]
    jobs = await app.services.store.history()
    job = next(each for each in jobs if each.interaction_id == ix.id)
    await goes_on(run, room, number)
    pg.deny(NOTHING, channel_id=direct)
    loss.repair(pg, ix)
    judge_requests(run, name, loss, requests)
    delivered = loss.place_left or is_open
    wanted = JobState.POSTED if delivered else JobState.FAILED
    run.must(job.state is wanted, f"{name}: the job is {job.state}, not {wanted}")
    if job.state is JobState.FAILED:
        run.must(job.error_code == UNDELIVERABLE, f"{name}: the job failed as {job.error_code}")
        kept = await app.services.store.pictures(job.id)
        run.must(kept, f"{name}: the pictures are gone")
    elif job.post_message_id is not None:
        where = pg.ledger.messages[job.post_message_id].channel_id
        run.must(where == (place if loss.place_left else direct), f"{name}: posted elsewhere")
    return job


async def goes_on(run: Run, room: Room, number: int) -> None:
    """See that the device is free: somebody else's job is painted and posted at once."""
    run.must(room.engine.running == 0, "the device still works on a job without a place")
    lounge = room.pg.guilds[1].channels["lounge"]
    prompt = {"prompt": f"a hen --seed {number} --steps 1"}
    ix = await room.pg.slash("bob", "imagine", prompt, channel_id=lounge)
    try:
        await room.pg.wait(lambda ledger: finished(ledger, ix.message_id), timeout=20)
    except TimeoutError:
        run.failures.append(f"after loss {number} nobody's pictures came")


def judge_requests(run: Run, name: str, loss: Loss, requests: list[RequestRecord]) -> None:
    """See that nothing was tried twice."""
    run.most("most requests for one job", len(requests))
    run.must(len(requests) <= loss.requests, f"{name}: {len(requests)} requests for one job")
    asked = [(each.method, each.path) for each in requests]
    run.must(len(asked) == len(set(asked)), f"{name}: a request was made twice")


SUITE = Suite(name="C19", about="the place is lost before the post", commit=20, night=200, run=run)
