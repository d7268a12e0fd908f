"""Samplers run on symbols: what they ask, and the linear map they are.

Promises: exact, since a sampler is written once: the coroutine itself is run. Never touches a
tensor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, Self, TypeAlias

from diffusion.samplers.coroutine import Noise, Sampling, Start
from diffusion.schedules.levels import Levels

# ("x", 0): the starting latents; ("denoised", k): the k-th answer; ("noise", k): the k-th draw.
Term: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Form:
    """A linear combination of terms."""

    terms: Mapping[Term, float] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, term: Term) -> Self:
        """Return the term itself."""
        return cls({term: 1.0})

    def __add__(self, other: Self) -> Self:
        """Return the sum."""
        total = dict(self.terms)
        for term, factor in other.terms.items():
            total[term] = total.get(term, 0.0) + factor
        return type(self)(total)

    def __sub__(self, other: Self) -> Self:
        """Return the difference."""
        return self + other * -1.0

    def __mul__(self, factor: float) -> Self:
        """Return a multiple."""
        return type(self)({term: value * factor for term, value in self.terms.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One evaluation: the level, and x there as a combination of what came before."""

    sigma: float
    x: Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A sampler's whole linear map over given levels.

    draws: for each noise term in order, the (sigma, sigma') of a Brownian increment, or None for a
    fresh draw.
    """

    questions: tuple[Question, ...]
    draws: tuple[tuple[float, float] | None, ...]
    result: Form


class Starting(Protocol):
    """A sampler of the registry."""

    def start(
        self, x: Form, levels: Levels, noise: Noise[Form], *, eta: float | None = None
    ) -> Sampling[Form]:
        """Start it."""


@dataclass(slots=True)
class _Draws:
    made: list[tuple[float, float] | None] = field(default_factory=list)

    def __call__(self) -> Form:
        return self._next(None)

    def between(self, sigma: float, sigma_next: float, /) -> Form:
        return self._next((sigma, sigma_next))

    def _next(self, interval: tuple[float, float] | None) -> Form:
        self.made.append(interval)
        return Form.of(("noise", len(self.made) - 1))


def trace(sampler: Starting, levels: Levels, *, eta: float | None = None) -> Trace:
    """Run a sampler on symbols and return its table of coefficients."""
    draws = _Draws()
    coroutine = sampler.start(Form.of(("x", 0)), levels, draws, eta=eta)
    questions: list[Question] = []
    try:
        x, sigma = next(coroutine)
        while True:
            questions.append(Question(sigma=sigma, x=x))
            x, sigma = coroutine.send(Form.of(("denoised", len(questions) - 1)))
    except StopIteration as end:
        result: Form = end.value
    return Trace(questions=tuple(questions), draws=tuple(draws.made), result=result)


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Stands for any latents where only the questions matter; also draws its like."""

    def __add__(self, _other: Self) -> Self:
        return self

    def __sub__(self, _other: Self) -> Self:
        return self

    def __mul__(self, _factor: float) -> Self:
        return self

    def __call__(self) -> Self:
        return self

    def between(self, _sigma: float, _sigma_next: float, /) -> Self:
        return self


def asked_levels(start: Start, levels: Levels) -> tuple[float, ...]:
    """Return the noise level of every evaluation, in order."""
    nothing = _Nothing()
    coroutine = start(nothing, levels, nothing)
    asked: list[float] = []
    try:
        _, sigma = next(coroutine)
        while True:
            asked.append(sigma)
            _, sigma = coroutine.send(nothing)
    except StopIteration:
        return tuple(asked)
