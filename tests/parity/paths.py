"""One run of a sampler on a toy network, for comparing paths point by point."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffusion.denoiser import clip, input_scale, to_denoised
from diffusion.samplers import Sampler, Sampling, X
from diffusion.schedules import Levels, NoiseSchedule

SHAPE = (4, 3, 5)
TOLERANCE = 2e-6
COUNTS = (1, 2, 3, 4, 7, 20, 50)


def network(x_t: Tensor, t: float) -> Tensor:
    """Stand in for a U-Net: not linear, mixes positions, depends on the timestep."""
    mixed = x_t + 0.3 * x_t.roll(1, dims=-1) - 0.2 * x_t.flip(0)
    return torch.tanh(mixed * (0.6 + 0.4 * math.sin(t / 150))) + 0.3 * math.cos(t / 90) * x_t


def draws(seed: int, count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(SHAPE, generator=generator).double() for _ in range(count)]


class Injected:
    """Noise from a list, with the intervals that were asked for."""

    def __init__(self, noise: list[Tensor]) -> None:
        self.remaining: Iterator[Tensor] = iter(noise)
        self.intervals: list[tuple[float, float]] = []

    def __call__(self) -> Tensor:
        return next(self.remaining)

    def between(self, sigma: float, sigma_next: float, /) -> Tensor:
        self.intervals.append((sigma, sigma_next))
        return next(self.remaining)


def drive(
    coroutine: Sampling[X], denoise: Callable[[X, float], X]
) -> tuple[list[tuple[X, float]], X]:
    """Answer a sampler; return what it asked about, and its result."""
    asked: list[tuple[X, float]] = []
    try:
        x, sigma = next(coroutine)
        while True:
            asked.append((x, sigma))
            x, sigma = coroutine.send(denoise(x, sigma))
    except StopIteration as end:
        return asked, end.value


@dataclass
class Run:
    """The points a network was asked at, with their timesteps, and the picture."""

    points: list[Tensor] = field(default_factory=list)
    timesteps: list[float] = field(default_factory=list)
    end: Tensor = field(default_factory=lambda: torch.zeros(SHAPE))


@dataclass
class Ours:
    """One run of ours on the toy network, in the coordinates the peer works in."""

    schedule: NoiseSchedule
    levels: Levels
    clip: float | None = None

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        output = network(x * input_scale(sigma), self.timestep(sigma))
        denoised = to_denoised(self.schedule.prediction_type, x, output, sigma)
        return clip(denoised, self.clip)

    def timestep(self, sigma: float) -> float:
        found = self.levels.timestep(sigma)
        return self.schedule.timestep(sigma) if found is None else found

    def run(self, sampler: Sampler, noise: list[Tensor], *, eta: float | None = None) -> Run:
        scale = self.schedule.initial_scale(
            self.levels.sigmas[0], variance_preserving=sampler.variance_preserving
        )
        coroutine = sampler.start(noise[0] * scale, self.levels, Injected(noise[1:]), eta=eta)
        asked, end = drive(coroutine, self.denoise)
        return Run(
            points=[x * input_scale(s) for x, s in asked],
            timesteps=[self.timestep(sigma) for _, sigma in asked],
            end=end * input_scale(self.levels.sigmas[-1]),
        )


def difference(mine: Tensor, peer: Tensor) -> float:
    """Return the largest difference, relative to the peer's largest value."""
    return float((mine - peer).abs().max()) / float(peer.abs().max())


def assert_same_path(ours: Run, theirs: Run) -> None:
    assert len(ours.points) == len(theirs.points)
    for i, (mine, peer) in enumerate(zip(ours.timesteps, theirs.timesteps, strict=True)):
        assert abs(mine - peer) <= 2e-4, f"question {i}: timestep {mine}, theirs {peer}"
    pairs = zip([*ours.points, ours.end], [*theirs.points, theirs.end], strict=True)
    for i, (a, b) in enumerate(pairs):
        error = difference(a, b)
        assert error <= TOLERANCE, f"point {i}: relative error {error:.2e}"
