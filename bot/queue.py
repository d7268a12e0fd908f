"""The order in which waiting jobs are taken: ids only, fair between the people who asked.

Promises round robin between requesters (each gives one job, then goes to the end of the line) and,
within one requester, the order of arrival. It only wakes people: the table in `storage` is the
truth, and what is lost here is found there again at the next start.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator


class FairQueue:
    """Ids of waiting jobs; `fair` says whether people take turns or the oldest comes first."""

    def __init__(self, *, fair: Callable[[], bool] = lambda: True) -> None:
        self._fair = fair
        # Requesters in the order of their turns, each with the own jobs in order of arrival.
        self._lines: OrderedDict[int, OrderedDict[str, None]] = OrderedDict()
        self._requesters: OrderedDict[str, int] = OrderedDict()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._requesters)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._requesters

    def put(self, job_id: str, requester_id: int) -> None:
        """Add a job; a job that waits already stays where it is."""
        if job_id in self._requesters:
            return
        self._requesters[job_id] = requester_id
        self._lines.setdefault(requester_id, OrderedDict())[job_id] = None
        self._changed.set()

    def discard(self, job_id: str) -> None:
        """Take a job out, wherever it stands."""
        requester_id = self._requesters.pop(job_id, None)
        if requester_id is None:
            return
        line = self._lines[requester_id]
        del line[job_id]
        if not line:
            del self._lines[requester_id]

    async def get(self) -> str:
        """Wait for the next job and take it."""
        while not self._requesters:
            self._changed.clear()
            await self._changed.wait()
        job_id = next(self.order())
        requester_id = self._requesters[job_id]
        self.discard(job_id)
        if requester_id in self._lines:
            self._lines.move_to_end(requester_id)
        return job_id

    def order(self) -> Iterator[str]:
        """Yield the waiting jobs in the order in which they will be taken."""
        if not self._fair():
            yield from list(self._requesters)
            return
        lines = [list(line) for line in self._lines.values()]
        for turn in range(max(map(len, lines), default=0)):
            yield from (line[turn] for line in lines if turn < len(line))

    def position(self, job_id: str) -> int | None:
        """Return a job's place, 1 for the next; None when it does not wait."""
        if job_id not in self._requesters:
            return None
        return next(place for place, one in enumerate(self.order(), 1) if one == job_id)

    def next_position(self, requester_id: int) -> int:
        """Return the place that a new job of somebody would get."""
        if not self._fair():
            return len(self) + 1
        own = len(self._lines.get(requester_id, ()))
        before = sum(min(len(line), own) for line in self._lines.values())
        behind = False
        for other, line in self._lines.items():
            behind = behind or other == requester_id
            if len(line) > own and not behind:
                before += 1
        return before + 1
