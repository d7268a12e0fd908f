"""One run of a sampler on a toy network, for comparing paths point by point."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.denoiser import input_scale, to_denoised
from diffusion.samplers import SAMPLERS, Sampling, X
from diffusion.schedules import NoiseSchedule

SHAPE = (4, 3, 5)


def network(x_t: Tensor, t: float) -> Tensor:
    """Stand in for a U-Net: not linear, mixes positions, depends on the timestep."""
    mixed = x_t + 0.3 * x_t.roll(1, dims=-1) - 0.2 * x_t.flip(0)
    return torch.tanh(mixed * (0.6 + 0.4 * math.sin(t / 150))) + 0.3 * math.cos(t / 90) * x_t


def draws(seed: int, count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(SHAPE, generator=generator).double() for _ in range(count)]


def drive(coroutine: Sampling[X], denoise: Callable[[X, float], X]) -> tuple[list[X], X]:
    """Answer a sampler; return what it asked about, and its result."""
    asked: list[X] = []
    try:
        x, sigma = next(coroutine)
        while True:
            asked.append(x)
            x, sigma = coroutine.send(denoise(x, sigma))
    except StopIteration as end:
        return asked, end.value


@dataclass
class Ours:
    """One run of ours on the toy network, in x_t coordinates where the peer works in those."""

    schedule: NoiseSchedule
    timesteps: list[float] | None = None

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        t = self.timesteps.pop(0) if self.timesteps is not None else self.schedule.timestep(sigma)
        output = network(x * input_scale(sigma), t)
        return to_denoised(self.schedule.prediction_type, x, output, sigma)

    def run(
        self, name: str, sigmas: list[float], noise: list[Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        sampler = SAMPLERS[name]
        scale = self.schedule.initial_scale(
            sigmas[0], variance_preserving=sampler.variance_preserving
        )
        remaining = iter(noise[1:])
        coroutine = sampler.start(noise[0] * scale, sigmas, lambda: next(remaining))
        asked, end = drive(coroutine, self.denoise)
        if sampler.variance_preserving:
            asked = [x * input_scale(s) for x, s in zip(asked, sigmas, strict=False)]
        return asked, end
