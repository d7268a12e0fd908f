"""Samplers as tables: a few coefficients for each answer, instead of a coroutine.

A trace gives every question in terms of all that came before. Here it becomes a recurrence over six
registers, found from the trace alone: the x just asked, the estimate D it got, the noise drawn then
and three cells with what later questions still need of earlier ones. Promises: deterministic (only
elementwise float64 on the host, no tensors); every row gives back the trace to RESIDUAL, or
TableError says which does not. Never runs a picture (`diffusion.slots` does).

## Why cells and not a shifting history
What an earlier question leaves behind stays in one cell until nothing needs it (a compiler's
register allocation), so nothing is moved, and Heun's saved x, DPM++'s last D and the slopes of PLMS
are one thing. A whole table keeps one kind of thing: x, D or x - D.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diffusion.errors import DiffusionError
from diffusion.samplers.tracing import Form, Trace

# The registers in order; the cells come last.
X: Final = 0
DENOISED: Final = 1
NOISE: Final = 2
CELLS: Final = (3, 4, 5)
REGISTERS: Final = 6
# What a table may keep of a question, as the factors of (x, D).
KEEPS: Final = ((1.0, 0.0), (0.0, 1.0), (1.0, -1.0))
# The first of them that amplifies rounding no more than this times the best is taken.
TOLERATED: Final = 2.0
# How many questions back a row may look, and how well it must give back the trace.
LOOKBACK: Final = 4
RESIDUAL: Final = 1e-12
# A part of a sum this small may be rounding alone, where the sum is also found without it.
SMALL: Final = 1e-6

Vector: TypeAlias = NDArray[np.float64]
# A register before it has a place: (X, e), (DENOISED, e), (NOISE, draw), (KEPT, question).
Source: TypeAlias = tuple[int, int]
KEPT: Final = -1


class TableError(DiffusionError):
    """A sampler that no table of this size can run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one answer leads to.

    sigma: the level of the question answered. coefficients: of the REGISTERS, in float64, for the x
    asked next, or the result; exactly 0 for what is not needed. cell: the register that keeps this
    question for later, after the sum is taken; None where nobody needs it. draws: the trace's draws
    to be made now, in order; noise: the one of them in the noise register, None for none.
    """

    sigma: float
    coefficients: tuple[float, ...]
    cell: int | None
    draws: tuple[int, ...]
    noise: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A sampler over given levels, one row for every evaluation.

    keeps: the factors of (x, D) that a cell keeps. draws: for each draw the (sigma, sigma') of a
    Brownian increment, or None for a fresh one. amplification: the mean, over the rows, of the size
    of all terms over that of the sum; what the rounding of registers is multiplied with.
    """

    rows: tuple[Row, ...]
    keeps: tuple[float, float]
    draws: tuple[tuple[float, float] | None, ...]
    amplification: float

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise level of every question."""
        return tuple(row.sigma for row in self.rows)

    @property
    def cells(self) -> int:
        """How many cells it needs."""
        return len({row.cell for row in self.rows if row.cell is not None})

    @property
    def fingerprint(self) -> str:
        """32 hex digits; numbers count as float32, as logarithms differ by machine."""
        rounded = [
            [float(np.float32(one)).hex() for one in (row.sigma, *row.coefficients)]
            for row in self.rows
        ]
        places = [(row.cell, row.draws, row.noise) for row in self.rows]
        text = repr((rounded, places, self.keeps, self.draws))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def compile_table(trace: Trace) -> Table:
    """Find the recurrence of a traced sampler that needs the fewest cells.

    TableError where an x is not a sum of the registers, however these are filled.
    """
    if dict(trace.questions[0].x.terms) != {("x", 0): 1.0}:
        raise TableError("a table starts from the x it is given, and this sampler changes it first")
    found: list[Table] = []
    problems: list[str] = []
    for keeps in KEEPS:
        try:
            found.append(_Compiler(trace, keeps).table())
        except TableError as error:
            problems.append(str(error))
        if found and found[-1].cells == 0:
            break
    if not found:
        raise TableError("no table runs this sampler: " + "; ".join(problems))
    cells = min(table.cells for table in found)
    found = [table for table in found if table.cells == cells]
    limit = TOLERATED * min(table.amplification for table in found)
    return next(table for table in found if table.amplification <= limit)


class _Compiler:
    """One attempt, with one kind of thing kept.

    Forms become vectors of what each term contributes at the size it has: x is about
    sqrt(1 + sigma^2), x - D sigma, estimates and noise 1.
    """

    def __init__(self, trace: Trace, keeps: tuple[float, float]) -> None:
        self.trace = trace
        self.keeps = keeps
        self.count = len(trace.questions)
        self.forms = [*(question.x for question in trace.questions), trace.result]
        self.vectors = [self._vector(form) for form in self.forms]
        self.amplification = 0.0

    def table(self) -> Table:
        draws = list(self._draws())
        sums = [self._row(e, draws[e]) for e in range(self.count)]
        cells = _allocate(sums)
        return Table(
            rows=tuple(
                Row(
                    sigma=question.sigma,
                    coefficients=_placed(factors, cells),
                    cell=cells.get(e),
                    draws=tuple(drawn),
                    noise=next((k for kind, k in factors if kind == NOISE), None),
                )
                for e, (question, factors, drawn) in enumerate(
                    zip(self.trace.questions, sums, draws, strict=True)
                )
            ),
            keeps=self.keeps,
            draws=self.trace.draws,
            amplification=self.amplification / self.count,
        )

    def _draws(self) -> Iterator[range]:
        """Yield the draws that an answer leads to; the last makes all that are left."""
        made = 0
        for form in self.forms[1:-1]:
            until = max((k + 1 for kind, k in form.terms if kind == "noise"), default=0)
            yield range(made, max(made, until))
            made = max(made, until)
        yield range(made, len(self.trace.draws))

    def _row(self, e: int, draws: range) -> dict[Source, float]:
        """Return the next x as a sum, looking back no further than needed."""
        target, error = self.vectors[e + 1], np.inf
        for back in range(min(e, LOOKBACK) + 1):
            columns = {
                source: self._column(source)
                for source in (
                    *((NOISE, k) for k in draws),
                    (DENOISED, e),
                    *((KEPT, j) for j in range(e - 1, e - 1 - back, -1)),
                    (X, e),
                )
            }
            factors = _solve(columns, target)
            error = _residual(columns, factors, target)
            if error > RESIDUAL:
                continue
            factors = _sparse(columns, factors, target)
            if sum(kind == NOISE for kind, _ in factors) > 1:
                raise TableError(f"the x after {e + 1} answers takes two draws at once")
            parts = sum(abs(factor) * self._scale(*source) for source, factor in factors.items())
            self.amplification += parts / _size(target)
            return factors
        raise TableError(
            f"keeping {('x', 'D', 'x - D')[KEEPS.index(self.keeps)]}, the x after {e + 1} answers "
            f"is not a sum of what the last {LOOKBACK + 1} leave (off by {error:.1e})"
        )

    def _column(self, source: Source) -> Vector:
        kind, k = source
        if kind == X:
            return self.vectors[k]
        if kind == KEPT:
            x, denoised = self._column((X, k)), self._column((DENOISED, k))
            return x * self.keeps[0] + denoised * self.keeps[1]
        unit = np.zeros_like(self.vectors[0])
        unit[1 + k + (self.count if kind == NOISE else 0)] = 1.0
        return unit

    def _scale(self, kind: int, k: int) -> float:
        """Return how large a register's values are."""
        sigma = self.trace.questions[k].sigma if kind != NOISE else 0.0
        x, denoised = self.keeps if kind == KEPT else (float(kind == X), 1.0)
        return float(np.hypot(x * sigma, x + denoised if kind == KEPT else 1.0))

    def _vector(self, form: Form) -> Vector:
        vector = np.zeros(1 + self.count + len(self.trace.draws))
        for (kind, k), factor in form.terms.items():
            place = {"x": 0, "denoised": 1 + k, "noise": 1 + self.count + k}[kind]
            vector[place] = factor * (self._scale(X, 0) if kind == "x" else 1.0)
        return vector


def _solve(columns: Mapping[Source, Vector], target: Vector) -> dict[Source, float]:
    """Solve sum_k a_k column_k = target by elimination, pivoting on the largest entry.

    Elementwise only: sums over many entries would round differently on another machine.
    """
    names = list(columns)
    reduced: list[Vector] = []
    pivots: list[int] = []
    factors = np.zeros((len(names), len(names)))

    def reduce(vector: Vector) -> tuple[Vector, list[float]]:
        taken = []
        for column, pivot in zip(reduced, pivots, strict=True):
            factor = vector[pivot] / column[pivot] if column[pivot] else 0.0
            vector = vector - column * factor
            taken.append(float(factor))
        return vector, taken

    for i, name in enumerate(names):
        vector, taken = reduce(columns[name])
        factors[i, :i] = taken
        reduced.append(vector)
        pivots.append(int(np.abs(vector).argmax()))
    _, taken = reduce(target)
    for k in reversed(range(len(names))):
        for i in range(k + 1, len(names)):
            taken[k] -= taken[i] * float(factors[i, k])
    return dict(zip(names, taken, strict=True))


def _sparse(
    columns: Mapping[Source, Vector], factors: Mapping[Source, float], target: Vector
) -> dict[Source, float]:
    """Solve without what only rounding put there, smallest first."""
    kept = dict(factors)
    for name in sorted(factors, key=lambda one: abs(factors[one]) * _size(columns[one])):
        if abs(factors[name]) * _size(columns[name]) > SMALL * _size(target):
            break
        without = _solve({one: columns[one] for one in kept if one != name}, target)
        if _residual(columns, without, target) <= RESIDUAL:
            kept = without
    return kept


def _residual(
    columns: Mapping[Source, Vector], factors: Mapping[Source, float], target: Vector
) -> float:
    left = target
    for name, factor in factors.items():
        left = left - columns[name] * factor
    return _size(left) / _size(target)


def _size(vector: Vector) -> float:
    return float(np.abs(vector).max())


def _allocate(sums: Sequence[Mapping[Source, float]]) -> dict[int, int]:
    """Give each question that is needed later a cell, free again after its last use."""
    last = {j: e for e, factors in enumerate(sums) for kind, j in factors if kind == KEPT}
    cells: dict[int, int] = {}
    held: dict[int, int] = {}
    for e in range(len(sums)):
        if e not in last:
            continue
        free = [cell for cell in CELLS if held.get(cell, e) <= e]
        if not free:
            raise TableError(f"question {e} needs a cell beyond the {len(CELLS)} there are")
        cells[e], held[free[0]] = free[0], last[e]
    return cells


def _placed(factors: Mapping[Source, float], cells: Mapping[int, int]) -> tuple[float, ...]:
    row = [0.0] * REGISTERS
    for (kind, j), factor in factors.items():
        row[cells[j] if kind == KEPT else kind] = factor
    return tuple(row)
