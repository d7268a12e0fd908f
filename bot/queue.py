"""The order in which waiting jobs are taken: classes, fairness, caps and pauses.

Promises that drafts come before fast jobs and those before relaxed ones, but that no class is
passed over for ever; that within a class people share the device by its seconds (deficit round
robin with the smallest quantum, see `bot.lanes`) and one person's jobs keep their order; that
nobody has more jobs running than they may; and that nothing is taken from where it is paused. It
only wakes people: the table in `storage` is the truth, and what is lost here is found there again
at the next start.
"""

import asyncio
import json
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, get_args

from bot.estimates import Work
from bot.lanes import Lane, Ticket
from diffusion.fairness import Share

__all__ = ["EVERYWHERE", "SHARES", "FairQueue", "Ticket", "share_of"]

# In the order of their classes, those that go first in front.
SHARES: Final[tuple[Share, ...]] = get_args(Share)
# So many jobs of the classes before it go first at most, while one of this class waits.
PATIENCE: Final[Mapping[Share, int]] = MappingProxyType({"draft": 0, "fast": 4, "relax": 8})
EVERYWHERE: Final = 0


def share_of(details: str) -> Share:
    """Return the class that a job was asked in, from its details."""
    found = json.loads(details).get("share")
    return next((share for share in SHARES if share == found), "fast")


class FairQueue:
    """Waiting jobs; `fair` says whether people share by seconds or the oldest comes first."""

    def __init__(self, *, fair: Callable[[], bool] = lambda: True) -> None:
        self._fair = fair
        self._lanes: dict[Share, Lane] = {share: Lane() for share in SHARES}
        self._passed: Counter[Share] = Counter()
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()
        self._running: dict[str, Ticket] = {}
        self._held: set[str] = set()
        self._paused: set[int] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._tickets

    @property
    def paused(self) -> frozenset[int]:
        """Return the guilds whose jobs are left alone; `EVERYWHERE` is all of them."""
        return frozenset(self._paused)

    def put(self, job_id: str, requester_id: int) -> None:
        """Add a job of the usual class and cost."""
        self.add(Ticket(job_id=job_id, requester_id=requester_id))

    def add(self, ticket: Ticket, *, held: bool = False) -> None:
        """Add a job; a job that waits already stays where it is.

        One that is held has its place, but is not taken before `release`.
        """
        if ticket.job_id in self._tickets:
            return
        if held:
            self._held.add(ticket.job_id)
        self._tickets[ticket.job_id] = ticket
        self._lanes[ticket.share].put(ticket)
        self._changed.set()

    def release(self, job_id: str) -> None:
        """Let a job be taken that was held."""
        self._held.discard(job_id)
        self._changed.set()

    def discard(self, job_id: str) -> None:
        """Take a job out, wherever it stands."""
        self._held.discard(job_id)
        ticket = self._tickets.pop(job_id, None)
        if ticket is not None:
            self._lanes[ticket.share].discard(ticket)

    async def get(self) -> str:
        """Wait for the next job that may run, and take it; `done` gives its place back."""
        while (ticket := self._next()) is None:
            self._changed.clear()
            await self._changed.wait()
        self._serve(ticket)
        return ticket.job_id

    def done(self, job_id: str, seconds: float | None = None) -> None:
        """Take note that a job runs no more, and what it really cost; None is as estimated."""
        ticket = self._running.pop(job_id, None)
        if ticket is None:
            return
        if seconds is not None:
            self._lanes[ticket.share].charge(ticket.requester_id, seconds - ticket.seconds)
        self._changed.set()

    def pause(self, guild_id: int = EVERYWHERE) -> None:
        """Take no more jobs of a guild; those that run go on."""
        self._paused.add(guild_id)

    def resume(self, guild_id: int = EVERYWHERE) -> None:
        """Take jobs of a guild again."""
        self._paused.discard(guild_id)
        self._changed.set()

    def look_again(self) -> None:
        """Wake who waits for a job: more may run than before."""
        self._changed.set()

    def order(self, newcomer: Ticket | None = None) -> Iterator[str]:
        """Yield the waiting jobs in the order in which they will be taken."""
        yield from (ticket.job_id for ticket in self._ordered(newcomer))

    def position(self, job_id: str) -> int | None:
        """Return a job's place, 1 for the next; None when it does not wait."""
        if job_id not in self._tickets:
            return None
        return next(place for place, one in enumerate(self.order(), 1) if one == job_id)

    def next_position(self, requester_id: int) -> int:
        """Return the place that a new job of somebody would get."""
        return self.position_of(Ticket(job_id="", requester_id=requester_id))

    def position_of(self, ticket: Ticket) -> int:
        """Return the place that a job has, or would get."""
        return next(
            place for place, one in enumerate(self._ordered_with(ticket), 1) if one is ticket
        )

    def around(self, ticket: Ticket) -> tuple[Sequence[Work], Sequence[Work]]:
        """Return the work before and after that of a job that waits, or would."""
        line = list(self._ordered_with(ticket))
        place = next(place for place, one in enumerate(line) if one is ticket)
        return _works(line[:place]), _works(line[place + 1 :])

    def ticket(self, job_id: str) -> Ticket | None:
        """Return a job that waits."""
        return self._tickets.get(job_id)

    def taken(self, job_id: str) -> Ticket | None:
        """Return a job that was taken and is not done."""
        return self._running.get(job_id)

    def _ready(self, ticket: Ticket) -> bool:
        if ticket.job_id in self._held:
            return False
        if EVERYWHERE in self._paused or ticket.guild_id in self._paused:
            return False
        if not ticket.most_running:
            return True
        mine = sum(each.requester_id == ticket.requester_id for each in self._running.values())
        return mine < ticket.most_running

    def _next(self) -> Ticket | None:
        found = {share: self._next_of(share) for share in SHARES}
        share = choose([share for share in SHARES if found[share] is not None], self._passed)
        return None if share is None else found[share]

    def _next_of(self, share: Share) -> Ticket | None:
        if self._fair():
            return self._lanes[share].next(self._ready)
        mine = (ticket for ticket in self._tickets.values() if ticket.share == share)
        return next(filter(self._ready, mine), None)

    def _serve(self, ticket: Ticket) -> None:
        del self._tickets[ticket.job_id]
        self._lanes[ticket.share].serve(ticket)
        self._running[ticket.job_id] = ticket
        count_passed(ticket.share, {each.share for each in self._tickets.values()}, self._passed)

    def _ordered(self, newcomer: Ticket | None = None) -> Iterator[Ticket]:
        lines: dict[Share, deque[Ticket]] = {}
        for share in SHARES:
            added = newcomer if newcomer is not None and newcomer.share == share else None
            lines[share] = deque(self._order_of(share, added))
        passed = self._passed.copy()
        while (chosen := choose([each for each in SHARES if lines[each]], passed)) is not None:
            yield lines[chosen].popleft()
            count_passed(chosen, {each for each in SHARES if lines[each]}, passed)

    def _ordered_with(self, ticket: Ticket) -> Iterator[Ticket]:
        waits = self._tickets.get(ticket.job_id) is ticket
        return self._ordered(None if waits else ticket)

    def _order_of(self, share: Share, newcomer: Ticket | None) -> Iterator[Ticket]:
        if self._fair():
            return self._lanes[share].order(newcomer)
        found = [ticket for ticket in self._tickets.values() if ticket.share == share]
        return iter(found if newcomer is None else [*found, newcomer])


def _works(tickets: Iterable[Ticket]) -> list[Work]:
    return [ticket.work for ticket in tickets if ticket.work is not None]


def choose(there: Sequence[Share], passed: Mapping[Share, int]) -> Share | None:
    """Return the class that goes next: the first, unless a later one was passed over enough."""
    for share in reversed(there[1:]):
        if passed.get(share, 0) >= PATIENCE[share]:
            return share
    return there[0] if there else None


def count_passed(served: Share, waiting: set[Share], passed: Counter[Share]) -> None:
    """Count how often each class that waits was passed over."""
    passed[served] = 0
    for share in SHARES[SHARES.index(served) + 1 :]:
        passed[share] = passed[share] + 1 if share in waiting else 0
