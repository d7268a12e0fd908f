"""Samplers against the papers' own coordinates, against each other, and on symbols."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import pytest
import torch
from torch import Tensor

from diffusion.names import SAMPLERS as NAMES
from diffusion.samplers import SAMPLERS, Linear, Start, ddim, ddpm, dpmpp_2m, euler, euler_a
from diffusion.schedules import NoiseSchedule, karras, uniform
from tests.parity.paths import SHAPE, Ours, draws, drive, network


def test_all_thousand_steps_of_ddpm_are_algorithm_2() -> None:
    """Ho et al. 2020, Algorithm 2, in their own coordinates, with the smaller variance."""
    schedule = NoiseSchedule(beta_schedule="linear", beta_start=1e-4, beta_end=0.02, steps_offset=0)
    noise = draws(11, 1000)
    abar = [1.0, *schedule.alphas_cumprod]
    x = noise[0]
    for t in range(1000, 0, -1):
        alpha = abar[t] / abar[t - 1]
        beta = 1 - alpha
        eps = network(x, t - 1)
        z = noise[1001 - t] if t > 1 else torch.zeros(SHAPE)
        variance = beta * (1 - abar[t - 1]) / (1 - abar[t])
        mean = (x - beta / math.sqrt(1 - abar[t]) * eps) / math.sqrt(alpha)
        x = mean + math.sqrt(variance) * z
    sigmas = uniform(schedule, 1000, multistep=False, whole=True)
    _, end = Ours(schedule).run("ddpm", sigmas, noise)
    torch.testing.assert_close(end, x, rtol=1e-8, atol=1e-8)


def test_ancestral_euler_and_noisy_ddim_and_ddpm_are_one() -> None:
    schedule = NoiseSchedule()
    sigmas = karras(schedule, 9)
    ends = []
    for sampler, extra in ((euler_a, {}), (ddpm, {}), (ddim, {"eta": 1.0})):
        noise = iter(draws(5, 10))
        start = next(noise) * sigmas[0]
        coroutine = sampler(start, sigmas, noise.__next__, **extra)
        ends.append(drive(coroutine, Ours(schedule).denoise)[1])
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-10, atol=1e-10)


def test_euler_and_ddim_without_noise_are_one() -> None:
    schedule = NoiseSchedule()
    sigmas = karras(schedule, 9)
    start = draws(6, 1)[0] * sigmas[0]
    ends = [
        drive(sampler(start, sigmas, silence), Ours(schedule).denoise)[1]
        for sampler in (euler, ddim)
    ]
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-10, atol=1e-10)


def silence() -> Tensor:
    raise AssertionError("this sampler must not draw")


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_knows_the_picture_gets_it(name: str) -> None:
    picture = draws(8, 1)[0]
    noise = iter(draws(9, 40))
    start = next(noise) * 14.6
    coroutine = SAMPLERS[name].start(start, karras(NoiseSchedule(), 20), noise.__next__)
    _, end = drive(coroutine, lambda _x, _sigma: picture)
    torch.testing.assert_close(end, picture, rtol=1e-9, atol=1e-9)


def test_convergence_is_of_the_promised_order() -> None:
    """On an ODE with a known solution, twice the steps halve Euler's error and quarter 2M's.

    A Gaussian of deviation 1: D = x / (1 + sigma^2), and x(sigma) grows as sqrt(1 + sigma^2).
    """

    def error(sampler: Start, steps: int) -> float:
        sigmas = [10 * (1 - i / steps) ** 3 for i in range(steps)] + [0.0]
        start = torch.full((1,), math.sqrt(101.0), dtype=torch.float64)
        _, end = drive(sampler(start, sigmas, silence), lambda x, s: x / (1 + s**2))
        return abs(float(end) - 1)

    assert error(euler, 100) / error(euler, 200) == pytest.approx(2, rel=0.1)
    assert error(dpmpp_2m, 100) / error(dpmpp_2m, 200) > 3.5


@dataclass(frozen=True)
class Symbol:
    """A linear combination of named things: all that a sampler may ask of latents."""

    parts: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: Self) -> Self:
        names = self.parts.keys() | other.parts.keys()
        return type(self)({n: self.parts.get(n, 0) + other.parts.get(n, 0) for n in names})

    def __sub__(self, other: Self) -> Self:
        return self + other * -1.0

    def __mul__(self, factor: float) -> Self:
        return type(self)({name: value * factor for name, value in self.parts.items()})

    def value(self, known: dict[str, Tensor]) -> Tensor:
        total = torch.zeros(SHAPE, dtype=torch.float64)
        for name, weight in self.parts.items():
            total = total + known[name] * weight
        return total


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_samplers_run_on_symbols(name: str, steps: int) -> None:
    """The table of coefficients that falls out gives the same picture as the tensors."""
    sigmas = karras(NoiseSchedule(), steps)
    sampler = SAMPLERS[name]
    estimates, fresh = iter(f"D{i}" for i in range(steps)), iter(f"z{i}" for i in range(steps))
    asked, end = drive(
        sampler.start(Symbol({"x": 1.0}), sigmas, lambda: Symbol({next(fresh): 1.0})),
        lambda _x, _sigma: Symbol({next(estimates): 1.0}),
    )
    tensors = dict(zip((f"D{i}" for i in range(steps)), draws(1, steps), strict=True))
    tensors |= dict(zip((f"z{i}" for i in range(steps)), draws(2, steps), strict=True))
    tensors["x"] = draws(3, 1)[0]
    answers, noise = iter(draws(1, steps)), iter(draws(2, steps))
    asked_x, end_x = drive(
        sampler.start(tensors["x"], sigmas, noise.__next__), lambda _x, _sigma: next(answers)
    )
    for symbol, x in zip([*asked, end], [*asked_x, end_x], strict=True):
        torch.testing.assert_close(symbol.value(tensors), x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_asks_once_a_step_and_draws_only_if_it_says_so(name: str) -> None:
    sampler, drawn = SAMPLERS[name], draws(1, 9)
    left = list(drawn)
    levels: list[float] = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return x * 0.5

    def noise() -> Tensor:
        return left.pop()

    sigmas = karras(NoiseSchedule(), 9)
    drive(sampler.start(drawn[0], sigmas, noise), denoise)
    assert levels == sigmas[:-1]
    assert len(drawn) - len(left) == (8 if sampler.needs_noise else 0)
    assert sampler.name == name


def test_every_name_has_a_sampler_and_the_table_is_closed() -> None:
    assert tuple(SAMPLERS) == NAMES
    with pytest.raises(TypeError):
        SAMPLERS["euler"] = SAMPLERS["ddim"]  # type: ignore[index]


def test_a_sampler_can_be_left_at_any_time() -> None:
    noise = iter(draws(1, 9))
    coroutine = SAMPLERS["euler_a"].start(draws(2, 1)[0], [3.0, 2.0, 1.0, 0.0], noise.__next__)
    x, _ = next(coroutine)
    coroutine.send(x)
    coroutine.close()
    with pytest.raises(StopIteration):
        next(coroutine)


def levels_of(sigmas: Sequence[float]) -> Linear:
    """Tensors satisfy what samplers ask of latents (a check for the type checker)."""
    return torch.tensor(sigmas)
