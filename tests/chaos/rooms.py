"""The bot in this process beside a playground, for faults that need no kill.

Promises real sockets, the real client and a real store, with pauses of its own where a suite scales
them; and that `ended` returns only when nothing of any job is under way.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.app import App
from bot.playground import Clock, Playground, RateLimits, aim
from storage import FINAL_STATES, Job, JobState, Store
from tests.bot_desk import delivered
from tests.bot_room import Room
from tests.chaos.suite import Run
from tests.fakes import FakeEngine

PAGE = 100
OPEN = frozenset(JobState) - FINAL_STATES
# Anybody may have any number of jobs, and messages are those of the results alone.
SETTINGS = """
[storage]
min_free_gib = 0
[queue]
max_waiting = 100000
max_waiting_user = 1000
[delivery]
mention_requester = false
preview = false
"""


@asynccontextmanager
async def room(
    run: Run, *, heartbeat: float = 41.25, guilds: int = 1, clock: Clock | None = None
) -> AsyncIterator[Room]:
    """Open a playground without rate limits; the bot's things lie in the run's folder."""
    async with Playground(
        rate_limits=RateLimits(enabled=False),
        heartbeat_interval=heartbeat,
        guilds=guilds,
        clock=clock,
    ) as pg:
        undo = aim(pg.api_base, pg.gateway_url, pg.cdn_base)
        try:
            yield Room(pg=pg, folder=run.folder, engine=FakeEngine(seconds_per_step=0.01))
        finally:
            undo()


async def ended(app: App, pg: Playground, *, seconds: float = 60) -> None:
    """Wait until every job has come to its end."""
    services = app.services
    async with asyncio.timeout(seconds):
        while await services.store.history(states=OPEN, limit=1):
            # A job that is being taken in is in neither; the next turn of the loop sees it.
            await asyncio.sleep(0.01)
            await pg.wait(
                lambda _: not len(services.queue) and not services.worker.running, timeout=seconds
            )
            await delivered(services.poster)


async def all_jobs(store: Store) -> list[Job]:
    """Return every job, the newest first."""
    found = await store.history(limit=PAGE)
    while found and len(found) % PAGE == 0:
        more = await store.history(limit=PAGE, before=found[-1].id)
        if not more:
            break
        found += more
    return found
