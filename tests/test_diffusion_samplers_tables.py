"""Tables against the coroutines they were made from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from diffusion.denoiser import input_scale, to_denoised
from diffusion.names import SAMPLERS as NAMES
from diffusion.noise import PictureNoise
from diffusion.samplers import SAMPLERS, Noise, Sampling, Table, TableError, compile_table, trace
from diffusion.samplers.coroutine import X
from diffusion.samplers.tables import CELLS, REGISTERS
from diffusion.schedules import Levels, NoiseSchedule, levels_for
from diffusion.slots import Slots
from tests.parity.paths import COUNTS, SHAPE, TOLERANCE, difference
from tests.thinning import thinned

SPACINGS = (
    "uniform",
    "karras",
    "exponential",
    "leading",
    "trailing",
    "linspace",
    "sgm_uniform",
    "simple",
    "ays",
)
ZERO_SNR = NoiseSchedule(
    rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing"
)
SCHEDULES = (
    NoiseSchedule(),
    NoiseSchedule(prediction_type="v_prediction"),
    NoiseSchedule(prediction_type="sample"),
    ZERO_SNR,
)
STIRRED = tuple(name for name in NAMES if SAMPLERS[name].stirred is not None)
WINDOWS = {"plms": 3, "lms": 3, "unipc": 2, "dpmpp_3m_sde": 2, "deis": 1, "heun": 1, "dpm2": 1}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run; `strength` is the part of the steps that image to image runs."""

    sampler: str
    schedule: NoiseSchedule
    spacing: str
    steps: int
    eta: float | None = None
    strength: float = 1.0
    seed: int = 3

    @property
    def levels(self) -> Levels:
        return levels_of(self.schedule, self.sampler, self.spacing, self.steps, self.strength)

    @property
    def table(self) -> Table:
        return table_of(self.sampler, self.levels, self.eta)

    def start(self) -> Tensor:
        noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(self.seed + 1))
        sampler, sigma = SAMPLERS[self.sampler], self.levels.sigmas[0]
        if self.strength < 1:
            return noise.roll(1).tanh() + noise * sigma
        return noise * self.schedule.initial_scale(
            sigma, variance_preserving=sampler.variance_preserving, spacing=self.spacing
        )

    def timestep(self, sigma: float) -> float:
        own = self.levels.timestep(sigma)
        return self.schedule.timestep(sigma) if own is None else own


@cache
def levels_of(
    schedule: NoiseSchedule, name: str, spacing: str, steps: int, strength: float
) -> Levels:
    levels = levels_for(schedule, SAMPLERS[name], steps, spacing)
    return levels.end(max(1, int(steps * strength)))


@cache
def table_of(name: str, levels: Levels, eta: float | None) -> Table:
    return compile_table(trace(SAMPLERS[name], levels, eta=eta))


class Quick(PictureNoise):
    """Fresh draws for Brownian ones too, and in any precision; keeps what was asked for."""

    def __init__(self, shape: Sequence[int], *, seed: int, dtype: torch.dtype) -> None:
        super().__init__(shape, seed=seed)
        self.dtype = dtype
        self.asked: list[tuple[float, float] | None] = []

    def __call__(self) -> Tensor:
        self.asked.append(None)
        return super().__call__().to(self.dtype)

    def between(self, sigma: float, sigma_next: float, /) -> Tensor:
        drawn = self()
        self.asked[-1] = (sigma, sigma_next)
        return drawn


def answers(cases: Sequence[Case], xs: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Stand in for a network on many pictures: not linear, mixes positions, knows the timestep."""
    column = torch.tensor(
        [[input_scale(s), c.timestep(s)] for c, s in zip(cases, sigmas, strict=True)]
    ).double()
    scale, t = (column[:, i, None, None, None].to(xs) for i in range(2))
    x_t = xs * scale
    mixed = x_t + 0.3 * x_t.roll(1, dims=-1) - 0.2 * x_t.flip(1)
    outputs = torch.tanh(mixed * (0.6 + 0.4 * torch.sin(t / 150))) + 0.3 * torch.cos(t / 90) * x_t
    return torch.stack(
        [
            to_denoised(case.schedule.prediction_type, x, output, sigma)
            for case, x, output, sigma in zip(cases, xs, outputs, sigmas, strict=True)
        ]
    )


@dataclass
class Run:
    """What was asked of the network, and the result."""

    asked: list[Tensor]
    draws: list[tuple[float, float] | None]
    end: Tensor


def by_coroutine(cases: Sequence[Case], dtype: torch.dtype) -> list[Run]:
    noises = [Quick(SHAPE, seed=case.seed, dtype=dtype) for case in cases]
    paths = [Run([], noise.asked, torch.zeros(SHAPE)) for noise in noises]
    coroutines = [
        SAMPLERS[case.sampler].start(case.start().to(dtype), case.levels, noise, eta=case.eta)
        for case, noise in zip(cases, noises, strict=True)
    ]
    waiting = {i: next(coroutine) for i, coroutine in enumerate(coroutines)}
    while waiting:
        xs = torch.stack([x for x, _ in waiting.values()])
        found = answers([cases[i] for i in waiting], xs, [sigma for _, sigma in waiting.values()])
        for i, denoised in zip(tuple(waiting), found, strict=True):
            paths[i].asked.append(waiting.pop(i)[0])
            try:
                waiting[i] = coroutines[i].send(denoised)
            except StopIteration as end:
                paths[i].end = end.value
    return paths


def by_table(
    cases: Sequence[Case],
    *,
    tables: Sequence[Table] | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[Run]:
    noises = [Quick(SHAPE, seed=case.seed, dtype=dtype) for case in cases]
    paths = [Run([], noise.asked, torch.zeros(SHAPE)) for noise in noises]
    pool = Slots(len(cases), SHAPE, dtype=dtype)
    for case, table, noise in zip(
        cases, tables or [case.table for case in cases], noises, strict=True
    ):
        pool.admit(table, case.start(), noise)
    while waiting := [i for i in range(len(cases)) if pool.sigma(i) is not None]:
        xs = pool.latents(waiting)
        for i, x in zip(waiting, xs, strict=True):
            paths[i].asked.append(x)
        sigmas = [pool.sigma(i) or 0.0 for i in waiting]
        pool.answer(waiting, answers([cases[i] for i in waiting], xs, sigmas))
    for path, end in zip(paths, pool.latents(range(len(cases))), strict=True):
        path.end = end
    return paths


def furthest(one: Run, other: Run) -> float:
    """Return the largest difference of two runs, relative to the largest value of each point."""
    pairs = zip([*one.asked, one.end], [*other.asked, other.end], strict=True)
    return max(difference(a.to(b.dtype), b) for a, b in pairs)


def problems(cases: Sequence[Case], tables: Sequence[Table] | None = None) -> list[str]:
    """Say which tables leave their coroutines.

    Every question and the result within 2e-6 of the largest value, or else no further than that,
    or than twice what float32 does to the coroutine, from the coroutine run in float64. The second
    is for corners where float32 itself gives less: from sigma = 4096 a single Euler step
    x + (x - D) / sigma (0 - sigma) loses 1e-3 of D, which the table, knowing it is D, gets right.
    """
    found = []
    ours, theirs = by_table(cases, tables=tables), by_coroutine(cases, torch.float32)
    assert [run.draws for run in ours] == [run.draws for run in theirs]
    far = [i for i in range(len(cases)) if not furthest(ours[i], theirs[i]) <= TOLERANCE]
    exact = by_coroutine([cases[i] for i in far], torch.float64)
    for i, truth in zip(far, exact, strict=True):
        own, other = furthest(ours[i], truth), furthest(theirs[i], truth)
        if not own <= max(TOLERANCE, 2 * other):
            found.append(f"{cases[i]}: off by {own:.1e}, the coroutine by {other:.1e}")
    return found


@pytest.mark.parametrize("name", thinned(NAMES, every=2))
def test_a_table_paints_what_the_coroutine_paints(name: str) -> None:
    """Every spacing, prediction and number of steps, all of them in one company."""
    cases = [
        Case(sampler=name, schedule=schedule, spacing=spacing, steps=steps)
        for schedule, spacing, steps in product(SCHEDULES, SPACINGS, COUNTS)
    ]
    assert problems(cases) == []
    assert max(case.table.cells for case in cases) <= WINDOWS.get(name, 1)


@pytest.mark.parametrize("name", STIRRED)
def test_any_amount_of_fresh_noise(name: str) -> None:
    cases = [
        Case(sampler=name, schedule=schedule, spacing="uniform", steps=steps, eta=eta)
        for schedule, steps, eta in product(SCHEDULES, COUNTS, (0.0, 0.4, 1.0))
    ]
    assert problems(cases) == []


def test_image_to_image_starts_in_the_middle() -> None:
    cases = [
        Case(sampler=name, schedule=SCHEDULES[0], spacing=spacing, steps=20, strength=strength)
        for name, spacing, strength in product(NAMES, ("uniform", "karras"), (0.1, 0.35, 0.8))
    ]
    assert problems(cases) == []


@pytest.mark.parametrize("name", ("plms", "heun", "dpmpp_3m_sde", "unipc"))
def test_a_wrong_coefficient_shows(name: str) -> None:
    """Every coefficient of a row, one thousandth off, is another picture."""
    case = Case(sampler=name, schedule=SCHEDULES[0], spacing="karras", steps=20)
    places = [
        (r, k) for r in (6, 7) for k in range(REGISTERS) if case.table.rows[r].coefficients[k]
    ]
    for r, k in places:
        rows = list(case.table.rows)
        changed = [c * (1.001 if i == k else 1) for i, c in enumerate(rows[r].coefficients)]
        rows[r] = replace(rows[r], coefficients=tuple(changed))
        assert problems([case], [replace(case.table, rows=tuple(rows))]), (r, k)


@given(
    name=st.sampled_from(NAMES),
    start=st.floats(0.1, 1000),
    ratios=st.lists(st.floats(1.01, 20), min_size=1, max_size=12),
    ends=st.booleans(),
    eta=st.sampled_from((None, 0.0, 0.7)),
)
@settings(max_examples=60, deadline=None)
def test_random_levels(
    name: str, start: float, ratios: list[float], ends: bool, eta: float | None
) -> None:
    """In float64 the table is the coroutine but for rounding, whatever the levels."""
    sigmas = [start]
    for ratio in ratios:
        sigmas.append(sigmas[-1] / ratio)
    steps = len(ratios)
    if ends:
        sigmas[-1] = 0.0
    timesteps = tuple(float(steps - i) for i in range(steps))
    levels = Levels(sigmas=tuple(sigmas), timesteps=timesteps, table=(0.001,) * (steps + 1))
    table = compile_table(trace(SAMPLERS[name], levels, eta=eta))
    noises = [Quick(SHAPE, seed=1, dtype=torch.float64) for _ in range(2)]
    first = torch.full(SHAPE, start, dtype=torch.float64)
    coroutine = SAMPLERS[name].start(first, levels, noises[0], eta=eta)
    pool = Slots(1, SHAPE, dtype=torch.float64)
    slot = pool.admit(table, first, noises[1])
    x, _ = next(coroutine)
    with pytest.raises(StopIteration) as end:
        while True:
            assert difference(pool.latents([slot])[0], x) < 1e-9
            denoised = torch.tanh(x + x.roll(1))
            pool.answer([slot], denoised[None])
            x, _ = coroutine.send(denoised)
    assert difference(pool.latents([slot])[0], end.value.value) < 1e-9
    assert pool.sigma(slot) is None
    assert noises[0].asked == noises[1].asked


@dataclass(frozen=True)
class Made:
    """A sampler for tests: how many noises each of its steps adds, and what it remembers."""

    remembers: int = 1
    draws: int = 0
    before: bool = False
    late: bool = False

    def start(
        self, x: X, levels: Levels, noise: Noise[X], *, eta: float | None = None
    ) -> Sampling[X]:
        del eta
        past: list[X] = []
        kept: list[X] = []
        if self.before:
            x = x + noise()
        for i, (sigma, sigma_next) in enumerate(pairwise(levels.sigmas)):
            past = [(yield x, sigma), *past[: self.remembers - 1]]
            x = x * (sigma_next / sigma)
            for k, denoised in enumerate(past):
                x = x + denoised * math.sin(1.0 + i * k + k)
            for _ in range(self.draws):
                kept.append(noise())
                x = x + (kept[0] if self.late else kept[-1]) * (0.5 + i / 7)
        return x


LEVELS = Levels(sigmas=tuple(float(9 - i) for i in range(9)), timesteps=(0.0,) * 8)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (Made(remembers=99), "not a sum of what the last 5 leave"),
        (Made(remembers=5), "needs a cell beyond the 3"),
        (Made(draws=2), "two draws at once"),
        (Made(draws=1, late=True), "not a sum"),
        (Made(before=True), "changes it first"),
    ],
)
def test_samplers_no_table_can_run(sampler: Made, message: str) -> None:
    with pytest.raises(TableError, match=message):
        compile_table(trace(sampler, LEVELS))


def test_a_cell_is_free_again_after_its_last_use() -> None:
    table = compile_table(trace(Made(remembers=4, draws=1), LEVELS))
    assert [row.cell for row in table.rows] == [*(CELLS * 3)[:7], None]
    assert [row.noise for row in table.rows] == list(range(8))
    assert table.sigmas == LEVELS.sigmas[:-1]
    assert table.fingerprint == compile_table(trace(Made(remembers=4, draws=1), LEVELS)).fingerprint
    assert table.fingerprint != compile_table(trace(Made(remembers=3, draws=1), LEVELS)).fingerprint
