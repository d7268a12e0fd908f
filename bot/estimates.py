"""How long jobs take: learned from measured steps, used for every "~20 s" and for fair turns.

Promises that each kind of picture (model, size, number, sampler, guidance) has a pace of its own,
that what runs beside a job is taken into account, and that every promise is compared with what
happened. Works on numbers alone: it asks no engine, no store, and no clock but the one it is given.

## Why a pace and a slowness
A step of a job takes its own seconds, times how much slower a device is that others use as well.
The first belongs to the kind, the second to how many jobs there are; kept apart, either is known
as soon as it was seen once, in whatever company.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from statistics import median
from typing import Final

from diffusion import Params
from diffusion.fairness import WEIGHTS, Share

KINDS_KEPT: Final = 500
PROMISES_KEPT: Final = 1000
# Of so many promises made in the same company, how much longer it took than was foretold.
DRIFTS_KEPT: Final = 25
MOST_DRIFT: Final = 4.0
MOST_COMPANY: Final = 8
_DOUBTS: Final = (1.0,) * 3
LEAST_WEIGHT: Final = 0.08
MOST_SIMULATED: Final = 500
# A pace that was seen so often is firm enough to measure the slowness of a company by.
FIRM: Final = 3
COMPANY_SHARE: Final = 0.5
_LEAST_SECONDS: Final = 1e-6
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the cost of a step depends on."""

    model: str
    width: int
    height: int
    images: int
    sampler: str
    guided: bool
    hires: float

    @property
    def area(self) -> float:
        """Return the pixels of one pass; guidance looks at each twice."""
        pixels = self.width * self.height * self.images * (1 + self.hires**2) / 2
        return pixels * (2.0 if self.guided else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one job asks of the device, and its part of it beside others."""

    kind: Kind
    steps: int
    share: Share = "fast"

    @property
    def weight(self) -> float:
        """Return how much of the device the job gets, beside others of the usual share."""
        return WEIGHTS[self.share] / WEIGHTS["fast"]


@dataclass(slots=True)
class Mean:
    """A mean of logarithms that forgets slowly."""

    value: float
    count: int = 1

    def learn(self, seen: float, *, share: float = 1.0) -> None:
        """Move towards a new value; the first ones count alike."""
        self.count += 1
        weight = share * max(LEAST_WEIGHT, 1 / self.count)
        self.value = exp(log(self.value) + weight * (log(seen) - log(self.value)))


@dataclass(slots=True)
class Course:
    """One job under way: how far it is, since when, and who was there all the time since."""

    work: Work
    left: int
    since: float
    steady: bool = False
    first: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What somebody reads, and since when; `plain` is it before the drift, `company` who ran."""

    at: float
    seconds: float
    plain: float
    company: int


@dataclass(slots=True)
class Book:
    """What was learned: seconds of a step, seconds beside the steps, slowness in company."""

    paces: dict[Kind, Mean] = field(default_factory=dict)
    beside: dict[Kind, Mean] = field(default_factory=dict)
    slowness: dict[int, Mean] = field(default_factory=dict)


def work_of(params: Params, share: Share = "fast") -> Work:
    """Return what a job's params ask of the device."""
    kind = Kind(
        model=params.model,
        width=params.width,
        height=params.height,
        images=params.images,
        sampler=params.sampler,
        guided=params.guidance_scale != 1.0,
        hires=params.hires,
    )
    steps = params.steps_run
    if params.init_image is not None:
        steps = int(steps * params.strength)
    if params.hires > 1:
        steps += int(params.steps_run * params.hires_strength)
    return Work(kind=kind, steps=max(1, steps), share=share)


class Estimator:
    """Learns from steps as they happen, and foretells."""

    def __init__(
        self,
        *,
        prior: Callable[[], float | None] = lambda: None,
        slots: Callable[[], int] = lambda: 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prior = prior
        self._slots = slots
        self._clock = clock
        self._book = Book()
        self._courses: dict[str, Course] = {}
        self._promises: dict[str, Promise] = {}
        self._errors: deque[float] = deque(maxlen=PROMISES_KEPT)
        self._drifts: dict[int, deque[float]] = {}

    @property
    def median_error(self) -> float | None:
        """Return how far promises were off, as a share of what happened; None before the first."""
        return median(self._errors) if self._errors else None

    # What happens.

    def began(self, job_id: str, work: Work) -> None:
        """Take note that a job is with the engine."""
        self._courses[job_id] = Course(work, work.steps, self._clock())
        self._unsettle()

    def stepped(self, job_id: str, left: int) -> None:
        """Take note that a job finished a step and has so many left."""
        course = self._courses.get(job_id)
        if course is None:
            return
        now = self._clock()
        done, seconds = max(1, course.left - left), now - course.since
        if course.first:
            # The first step carries the reading of the words with it.
            self._learn_beside(course, seconds)
        elif course.steady and seconds > 0:
            self._learn_pace(course, seconds / done)
        course.left, course.since = left, now
        course.first, course.steady = False, True

    def ended(self, job_id: str, *, finished: bool) -> float | None:
        """Take note that a job left the engine; return how far its promise was off, if it had one.

        The error is the share of the time that was really taken.
        """
        course = self._courses.pop(job_id, None)
        promise = self._promises.pop(job_id, None)
        if course is not None:
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

    def promised(self, job_id: str, seconds: float | None) -> None:
        """Take note that somebody reads: it takes so long from now on."""
        if seconds is not None:
            company = self._company
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
            self._note_pace(work.kind, device_seconds / work.steps)

    # What is foretold.

    def step_seconds(self, kind: Kind) -> float | None:
        """Return the seconds of one step of such pictures alone; None where nothing is known."""
        known = self._book.paces.get(kind)
        if known is not None:
            return known.value
        alike = [each for each in self._book.paces if each.model == kind.model]
        if not alike:
            return self._prior()
        nearest = min(alike, key=lambda each: abs(log(each.area / kind.area)))
        return self._book.paces[nearest].value * kind.area / nearest.area

    def alone(self, work: Work) -> float | None:
        """Return the device seconds of a whole job, if nothing ran beside it."""
        step = self.step_seconds(work.kind)
        return None if step is None else step * work.steps + self._beside(work.kind)

    def cost(self, work: Work) -> float:
        """Return what a job costs for fair turns: its device seconds, or a guess alike for all."""
        seconds = self.alone(work)
        return work.steps * work.kind.area / _MILLION if seconds is None else seconds

    def left(self, job_id: str) -> float | None:
        """Return the seconds until a running job is painted; None for one that does not run."""
        if job_id not in self._courses:
            return None
        return self._foretell([], job_id)

    def until_result(self, ahead: Sequence[Work], own: Work) -> float | None:
        """Return the seconds until a waiting job is painted, after those ahead of it."""
        near = ahead[:MOST_SIMULATED]
        seconds = self._foretell([*near, own], len(near))
        # A line this long is not gone through one by one.
        if seconds is None:
            return None
        return seconds * (len(ahead) + 1) / (len(near) + 1) * self._drift(self._company)

    @property
    def _company(self) -> int:
        """Return how many run now, as far as that tells of who will come beside them."""
        return min(len(self._courses), MOST_COMPANY)

    def _drift(self, company: int) -> float:
        """Return how much longer it took lately than was foretold from the same company.

        Who comes later shares the device, too, and nobody can foretell them; but where people come
        in bursts, they come again.
        """
        # The first promises are made before much is known: they are not believed at once.
        drift: float = median([*self._drifts.get(company, ()), *_DOUBTS])
        return drift

    def slowness(self, jobs: int) -> float:
        """Return how many times longer a step takes while so many jobs share the device."""
        if jobs <= 1:
            return 1.0
        known = self._book.slowness
        if jobs in known:
            return known[jobs].value
        if not known:
            return float(jobs)
        nearest = min(known, key=lambda each: abs(each - jobs))
        return max(1.0, known[nearest].value * jobs / nearest)

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
            slow = self.slowness(len(rests))
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
        step = self.step_seconds(course.work.kind)
        if step is None:
            return None
        whole = step * course.left + (self._beside(course.work.kind) if course.first else 0.0)
        passed = (self._clock() - course.since) / self._drag(course)
        return max(whole - passed, step * max(0, course.left - 1))

    def _drag(self, course: Course) -> float:
        """Return how many times longer this job's steps take now than they would alone."""
        weights = [each.work.weight for each in self._courses.values()] or [course.work.weight]
        mean = sum(weights) / len(weights)
        return self.slowness(len(weights)) * mean / course.work.weight

    def _beside(self, kind: Kind) -> float:
        known = self._book.beside
        if kind in known:
            return known[kind].value
        return median(each.value for each in known.values()) if known else 0.0

    def _unsettle(self) -> None:
        for course in self._courses.values():
            course.steady = False

    def _learn_beside(self, course: Course, seconds: float) -> None:
        kind = course.work.kind
        known = self._book.paces.get(kind)
        if known is None:
            return
        alone = max(_LEAST_SECONDS, seconds / self._drag(course) - known.value)
        if kind in self._book.beside:
            self._book.beside[kind].learn(alone)
        else:
            _keep(self._book.beside, kind, Mean(alone))

    def _learn_pace(self, course: Course, seconds: float) -> None:
        jobs, kind = len(self._courses), course.work.kind
        known = self._book.paces.get(kind)
        if jobs == 1 or known is None or known.count <= FIRM:
            self._note_pace(kind, seconds / self._drag(course))
            return
        # A firm pace measures the company; what is left over, and only that, changes the pace.
        slow = self._book.slowness.setdefault(jobs, Mean(self.slowness(jobs)))
        seen = slow.value * seconds / self._drag(course) / known.value
        slow.learn(max(1.0, seen), share=COMPANY_SHARE)
        self._note_pace(kind, seconds / self._drag(course), share=COMPANY_SHARE)

    def _note_pace(self, kind: Kind, seconds: float, *, share: float = 1.0) -> None:
        known = self._book.paces.get(kind)
        if known is None:
            _keep(self._book.paces, kind, Mean(seconds))
        else:
            known.learn(seconds, share=share)


def _keep(book: dict[Kind, Mean], kind: Kind, mean: Mean) -> None:
    book[kind] = mean
    while len(book) > KINDS_KEPT:
        del book[next(iter(book))]
