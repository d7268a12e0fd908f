"""One class of waiting jobs: a line for everybody, served by the credit that all gain alike.

Promises that who has had less of the device is served sooner, that with jobs of one size people
take turns, and that what a job cost beyond its estimate is paid later, also by those who left in
between. Knows no classes, no caps and no pauses: `bot.queue` does.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bot.estimates import Work
from diffusion.fairness import Share

ACCOUNTS_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A waiting job: whose, from where, what it costs, how many its requester may have running.

    `guild_id` is 0 for direct messages; `most_running` 0 is any number.
    """

    job_id: str
    requester_id: int
    seconds: float = 1.0
    share: Share = "fast"
    guild_id: int = 0
    most_running: int = 0
    work: Work | None = None


@dataclass(slots=True)
class Line:
    """One requester's jobs; `used` is the credit that the last one was paid with."""

    tickets: OrderedDict[str, Ticket]
    used: float
    turn: int


class Lane:
    """The lines of one class."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        # What people without a line have used; and the credit that the last served was paid with.
        self._accounts: dict[int, float] = {}
        self._credit = 0.0
        self._turn = 0

    def put(self, ticket: Ticket) -> None:
        """Add a job at the end of its requester's line."""
        line = self._lines.get(ticket.requester_id)
        if line is None:
            used = max(self._credit, self._accounts.pop(ticket.requester_id, 0.0))
            line = Line(OrderedDict(), used, self._next_turn())
            self._lines[ticket.requester_id] = line
        line.tickets[ticket.job_id] = ticket

    def discard(self, ticket: Ticket) -> None:
        """Take a job out that was not served."""
        line = self._lines[ticket.requester_id]
        del line.tickets[ticket.job_id]
        self._leave_if_empty(ticket.requester_id, line)

    def next(self, ready: Callable[[Ticket], bool]) -> Ticket | None:
        """Return the job whose turn it is, among those that may be taken now."""
        best: tuple[float, int] | None = None
        chosen: Ticket | None = None
        for line in self._lines.values():
            ticket = next(filter(ready, line.tickets.values()), None)
            if ticket is None:
                continue
            rank = (line.used + ticket.seconds, line.turn)
            if best is None or rank < best:
                best, chosen = rank, ticket
        return chosen

    def serve(self, ticket: Ticket) -> None:
        """Take a job out and pay for it with its requester's credit."""
        line = self._lines[ticket.requester_id]
        del line.tickets[ticket.job_id]
        line.used += ticket.seconds
        line.turn = self._next_turn()
        self._credit = max(self._credit, line.used)
        self._leave_if_empty(ticket.requester_id, line)

    def charge(self, requester_id: int, seconds: float) -> None:
        """Add what a job cost beyond its estimate; less than nothing is given back."""
        line = self._lines.get(requester_id)
        if line is not None:
            line.used += seconds
        else:
            used = self._accounts.get(requester_id, self._credit)
            self._accounts[requester_id] = used + seconds

    def order(self, newcomer: Ticket | None = None) -> Iterator[Ticket]:
        """Yield the jobs in the order of their turns, as if one more had come."""
        lines = {
            requester: Line(line.tickets.copy(), line.used, line.turn)
            for requester, line in self._lines.items()
        }
        turn = self._turn
        if newcomer is not None:
            used = max(self._credit, self._accounts.get(newcomer.requester_id, 0.0))
            empty = Line(OrderedDict(), used, turn := turn + 1)
            line = lines.setdefault(newcomer.requester_id, empty)
            line.tickets[newcomer.job_id] = newcomer
        heap = [_entry(requester, line) for requester, line in lines.items()]
        heapq.heapify(heap)
        while heap:
            _, _, requester = heapq.heappop(heap)
            line = lines[requester]
            _, ticket = line.tickets.popitem(last=False)
            yield ticket
            line.used += ticket.seconds
            line.turn = turn = turn + 1
            if line.tickets:
                heapq.heappush(heap, _entry(requester, line))

    def _leave_if_empty(self, requester_id: int, line: Line) -> None:
        if line.tickets:
            return
        del self._lines[requester_id]
        self._accounts[requester_id] = line.used
        if len(self._accounts) > ACCOUNTS_KEPT:
            # Credit that everybody has reached is worth nothing any more.
            kept = {key: used for key, used in self._accounts.items() if used > self._credit}
            self._accounts = kept

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn


def _entry(requester: int, line: Line) -> tuple[float, int, int]:
    first = next(iter(line.tickets.values()))
    return line.used + first.seconds, line.turn, requester
