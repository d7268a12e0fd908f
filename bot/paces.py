"""Paces: the seconds of a step, and of what comes before the first and after the last.

Promises that each kind of picture (model, size, number, sampler, guidance) has paces of its own,
that an unknown one is read off the nearest known, and that old measurements fade. Works on numbers
alone.

## Why a pace and a slowness
A step of a job takes its own seconds, times how much slower a device is that others use as well.
The first belongs to the kind, the second to how many jobs there are; kept apart, either is known
as soon as it was seen once, in whatever company.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, log
from statistics import median
from typing import Final

from diffusion import Params
from diffusion.fairness import WEIGHTS, Share

KINDS_KEPT: Final = 500
LEAST_WEIGHT: Final = 0.08
# A pace that was seen so often is firm enough to measure the slowness of a company by.
FIRM: Final = 3
COMPANY_SHARE: Final = 0.5
LEAST_SECONDS: Final = 1e-6


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


@dataclass(slots=True)
class Book:
    """What was learned, all in seconds of a device that nobody else uses; and the slowness."""

    prior: Callable[[], float | None]
    paces: dict[Kind, Mean] = field(default_factory=dict)
    before: dict[Kind, Mean] = field(default_factory=dict)
    after: dict[Kind, Mean] = field(default_factory=dict)
    slow: dict[int, Mean] = field(default_factory=dict)

    def step(self, kind: Kind) -> float | None:
        """Return the seconds of one step of such pictures; None where nothing is known."""
        known = self.paces.get(kind)
        if known is not None:
            return known.value
        alike = [each for each in self.paces if each.model == kind.model]
        if not alike:
            return self.prior()
        nearest = min(alike, key=lambda each: abs(log(each.area / kind.area)))
        return self.paces[nearest].value * kind.area / nearest.area

    def reading(self, kind: Kind) -> float:
        """Return the seconds before the first step: the words are read."""
        if kind in self.before:
            return self.before[kind].value
        return median(each.value for each in self.before.values()) if self.before else 0.0

    def ending(self, kind: Kind) -> float:
        """Return the seconds after the last step: decoding, and all that is done with pictures."""
        if kind in self.after:
            return self.after[kind].value
        step = self.step(kind)
        if step is None or not self.after:
            return 0.0
        # Decoding costs more where a step does.
        return step * median(each.value / self.paces[of].value for of, each in self.after.items())

    def slowness(self, jobs: int) -> float:
        """Return how many times longer a step takes while so many jobs share the device."""
        if jobs <= 1:
            return 1.0
        if jobs in self.slow:
            return self.slow[jobs].value
        if not self.slow:
            return float(jobs)
        nearest = min(self.slow, key=lambda each: abs(each - jobs))
        return max(1.0, self.slow[nearest].value * jobs / nearest)

    def saw_step(self, kind: Kind, seconds: float, *, jobs: int) -> None:
        """Learn from a step beside which so many jobs ran, as if it had been alone."""
        known = self.paces.get(kind)
        if jobs == 1 or known is None or known.count <= FIRM:
            self.saw_pace(kind, seconds)
            return
        # A firm pace measures the company; what is left over, and only that, changes the pace.
        slow = self.slow.setdefault(jobs, Mean(self.slowness(jobs)))
        slow.learn(max(1.0, slow.value * seconds / known.value), share=COMPANY_SHARE)
        self.saw_pace(kind, seconds, share=COMPANY_SHARE)

    def saw_pace(self, kind: Kind, seconds: float, *, share: float = 1.0) -> None:
        """Learn the seconds of a step."""
        _note(self.paces, kind, seconds, share=share)

    def saw_reading(self, kind: Kind, seconds: float) -> None:
        """Learn from a first step, which carries the reading of the words with it."""
        known = self.paces.get(kind)
        if known is not None:
            _note(self.before, kind, seconds - known.value)

    def saw_ending(self, kind: Kind, seconds: float, *, steps: int) -> None:
        """Learn from the end of a job, which carries so many steps with it."""
        known = self.paces.get(kind)
        if known is not None:
            _note(self.after, kind, seconds - steps * known.value)


def _note(book: dict[Kind, Mean], kind: Kind, seconds: float, *, share: float = 1.0) -> None:
    seconds = max(LEAST_SECONDS, seconds)
    if kind in book:
        book[kind].learn(seconds, share=share)
        return
    book[kind] = Mean(seconds)
    while len(book) > KINDS_KEPT:
        del book[next(iter(book))]
