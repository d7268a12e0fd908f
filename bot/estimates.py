"""How long jobs take: learned from measured steps, used for every "~20 s" and for fair turns.

Promises that what runs beside a job is taken into account, that what was learned lies in
`bot.paces`, and that every promise is compared with what happened. Works on numbers alone: it asks
no engine, no store, and no clock but the one it is given.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bot.paces import Book, Kind, Work, work_of

__all__ = ["Estimator", "Kind", "Work", "work_of"]

PROMISES_KEPT: Final = 1000
# Of so many promises made in the same company, how much longer it took than was foretold.
DRIFTS_KEPT: Final = 25
MOST_DRIFT: Final = 4.0
MOST_COMPANY: Final = 8
_DOUBTS: Final = (1.0,)
MOST_SIMULATED: Final = 500
_MILLION: Final = 1_000_000


@dataclass(slots=True)
class Course:
    """One job under way: how far it is, since when, and who was there all the time since.

    A job that was only taken from the queue stands at its beginning.
    """

    work: Work
    left: int
    since: float
    begun: float
    steady: bool = False
    first: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What somebody reads, since when, and in what company; `plain` is it before the drift."""

    at: float
    seconds: float
    plain: float
    company: int


class Estimator:
    """Learns from steps as they happen, and foretells."""

    def __init__(
        self,
        *,
        prior: Callable[[], float | None] = lambda: None,
        slots: Callable[[], int] = lambda: 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = slots
        self._clock = clock
        self.book = Book(prior)
        self._courses: dict[str, Course] = {}
        self._promises: dict[str, Promise] = {}
        self._errors: deque[float] = deque(maxlen=PROMISES_KEPT)
        self._drifts: dict[int, deque[float]] = {}

    @property
    def median_error(self) -> float | None:
        """Return how far promises were off, as a share of what happened; None before the first."""
        return median(self._errors) if self._errors else None

    # What happens.

    def taken(self, job_id: str, work: Work) -> None:
        """Take note that a job waits no more and will soon be with the engine."""
        now = self._clock()
        self._courses[job_id] = Course(work, work.steps, now, now)

    def began(self, job_id: str, work: Work) -> None:
        """Take note that a job is with the engine."""
        self.taken(job_id, work)
        self._unsettle()

    def stepped(self, job_id: str, left: int) -> None:
        """Take note that a job finished a step and has so many left."""
        course = self._courses.get(job_id)
        # The last step is over with the job: decoding, and all that is done with pictures.
        if course is None or left == 0:
            return
        now = self._clock()
        done, seconds = max(1, course.left - left), now - course.since
        if course.first:
            self.book.saw_reading(course.work.kind, seconds / self._drag(course))
        elif course.steady and seconds > 0:
            step = seconds / done / self._drag(course)
            self.book.saw_step(course.work.kind, step, jobs=len(self._courses))
        course.left, course.since = left, now
        course.first, course.steady = False, True

    def ended(self, job_id: str, *, finished: bool) -> float | None:
        """Take note that a job left the engine; return how far its promise was off, if it had one.

        The error is the share of the time that was really taken.
        """
        course = self._courses.get(job_id)
        promise = self._promises.pop(job_id, None)
        if course is not None:
            if finished:
                self._learn_ending(course)
            del self._courses[job_id]
            self._unsettle()
        if not finished or course is None or promise is None:
            return None
        taken = self._clock() - promise.at
        if taken <= 0:
            return None
        error = abs(promise.seconds - taken) / taken
        drifts = self._drifts.setdefault(promise.company, deque(maxlen=DRIFTS_KEPT))
        drifts.append(min(MOST_DRIFT, max(1 / MOST_DRIFT, taken / max(1e-6, promise.plain))))
        self._errors.append(error)
        return error

    def promised(self, job_id: str, seconds: float | None, *, waiting: int = 0) -> None:
        """Take note that somebody reads: it takes so long from now on; so many others wait."""
        if seconds is not None:
            company = self._company(waiting)
            self._promises[job_id] = Promise(
                at=self._clock(),
                seconds=seconds,
                plain=seconds / self._drift(company),
                company=company,
            )
            while len(self._promises) > PROMISES_KEPT:
                del self._promises[next(iter(self._promises))]

    def remember(self, work: Work, device_seconds: float) -> None:
        """Take in what an earlier run of the bot measured of a whole job."""
        if device_seconds > 0:
            self.book.saw_pace(work.kind, device_seconds / work.steps)

    # What is foretold.

    def alone(self, work: Work) -> float | None:
        """Return the device seconds of a whole job, if nothing ran beside it."""
        kind, step = work.kind, self.book.step(work.kind)
        if step is None:
            return None
        return self.book.reading(kind) + step * work.steps + self.book.ending(kind)

    def cost(self, work: Work) -> float:
        """Return what a job costs for fair turns: its device seconds, or a guess alike for all."""
        seconds = self.alone(work)
        return work.steps * work.kind.area / _MILLION if seconds is None else seconds

    def left(self, job_id: str) -> float | None:
        """Return the seconds until a running job is painted; None for one that does not run."""
        if job_id not in self._courses:
            return None
        return self._foretell([], job_id)

    def until_result(
        self, ahead: Sequence[Work], own: Work, behind: Sequence[Work] = ()
    ) -> float | None:
        """Return the seconds until a waiting job is painted, after those ahead of it.

        Those behind it matter where there is room for them beside it.
        """
        near = ahead[:MOST_SIMULATED]
        line = [*near, own, *behind[: self._slots()]]
        seconds = self._foretell(line, len(near))
        # A line this long is not gone through one by one.
        if seconds is None:
            return None
        drift = self._drift(self._company(len(ahead) + len(behind)))
        return seconds * (len(ahead) + 1) / (len(near) + 1) * drift

    def _company(self, waiting: int) -> int:
        """Return how many run or wait, as far as that tells of who will come beside them."""
        return min(len(self._courses) + waiting, MOST_COMPANY)

    def _drift(self, company: int) -> float:
        """Return how much longer it took lately than was foretold from the same company.

        Who comes later shares the device, too, and nobody can foretell them; but where people come
        in bursts, they come again.
        """
        # The first promise is made before much is known: it is not believed at once.
        drift: float = median([*self._drifts.get(company, ()), *_DOUBTS])
        return drift

    def _foretell(self, waiting: Sequence[Work], target: str | int) -> float | None:
        """Let the device work through it all in thought; return when the target is done."""
        rests: dict[str | int, float] = {}
        weights: dict[str | int, float] = {}
        for job_id, course in self._courses.items():
            rest = self._rest(course)
            if rest is None:
                return None
            rests[job_id], weights[job_id] = rest, course.work.weight
        line: deque[tuple[int, float]] = deque()
        for number, work in enumerate(waiting):
            seconds = self.alone(work)
            if seconds is None:
                return None
            line.append((number, seconds))
            weights[number] = work.weight
        return self._play(rests, line, weights, target)

    def _play(
        self,
        rests: dict[str | int, float],
        line: deque[tuple[int, float]],
        weights: Mapping[str | int, float],
        target: str | int,
    ) -> float:
        clock, slots = 0.0, max(1, self._slots())
        while True:
            while line and len(rests) < slots:
                number, seconds = line.popleft()
                rests[number] = seconds
            mean = sum(weights[key] for key in rests) / len(rests)
            slow = self.book.slowness(len(rests))
            paces = {key: weights[key] / mean / slow for key in rests}
            first = min(rests, key=lambda key: rests[key] / paces[key])
            passed = rests[first] / paces[first]
            clock += passed
            if first == target:
                return clock
            del rests[first]
            rests = {key: max(0.0, rest - passed * paces[key]) for key, rest in rests.items()}

    def _rest(self, course: Course) -> float | None:
        """Return the seconds that a running job still needs, as if it were alone."""
        kind, step = course.work.kind, self.book.step(course.work.kind)
        if step is None:
            return None
        whole = step * course.left + self.book.ending(kind)
        whole += self.book.reading(kind) if course.first else 0.0
        passed = (self._clock() - course.since) / self._drag(course)
        return max(whole - passed, step * max(0, course.left - 1))

    def _drag(self, course: Course) -> float:
        """Return how many times longer this job's steps take now than they would alone."""
        weights = [each.work.weight for each in self._courses.values()] or [course.work.weight]
        mean = sum(weights) / len(weights)
        return self.book.slowness(len(weights)) * mean / course.work.weight

    def _unsettle(self) -> None:
        for course in self._courses.values():
            course.steady = False

    def _learn_ending(self, course: Course) -> None:
        kind, steps = course.work.kind, course.work.steps
        if self.book.paces.get(kind) is None:
            # Jobs of one or two steps have no step between the first and the last.
            whole = (self._clock() - course.begun) / self._drag(course)
            self.book.saw_pace(kind, whole / steps)
        elif not course.first:
            seconds = (self._clock() - course.since) / self._drag(course)
            self.book.saw_ending(kind, seconds, steps=course.left)
