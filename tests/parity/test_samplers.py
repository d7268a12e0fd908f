"""Samplers against diffusers, every point of the path, noise injected."""

import math
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.denoiser import input_scale
from diffusion.samplers import SAMPLERS, ddim
from diffusion.schedules import NoiseSchedule, karras, uniform, uniform_timesteps
from tests.parity.paths import Ours, draws, drive, network

# diffusers' own calls of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COUNTS = (1, 2, 3, 4, 7, 10, 20, 28, 50)
TOLERANCE = 2e-6

FAMILIES = {
    "ddpm": ("scheduling_ddpm", "DDPMScheduler", {"clip_sample": False}),
    "ddim": ("scheduling_ddim", "DDIMScheduler", {"clip_sample": False}),
    "euler": ("scheduling_euler_discrete", "EulerDiscreteScheduler", {}),
    "euler_a": ("scheduling_euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("scheduling_dpmsolver_multistep", "DPMSolverMultistepScheduler", {}),
}


class Peer:
    """The same run by diffusers, its noise taken from our draws."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, name: str, schedule: NoiseSchedule, **more: object
    ) -> None:
        module_name, class_name, extra = FAMILIES[name]
        self.module = import_module(f"diffusers.schedulers.{module_name}")
        self.scheduler: Any = getattr(self.module, class_name)(
            beta_start=schedule.beta_start,
            beta_end=schedule.beta_end,
            beta_schedule=schedule.beta_schedule,
            prediction_type=schedule.prediction_type,
            timestep_spacing=schedule.timestep_spacing,
            steps_offset=schedule.steps_offset,
            **extra,
            **more,
        )
        # Its table is multiplied up in float32 and up to 1e-6 off; the samplers are judged on ours.
        table = self.scheduler.alphas_cumprod
        exact = torch.tensor(schedule.alphas_cumprod, dtype=torch.float64)
        assert torch.allclose(table.double(), exact, rtol=2e-6, atol=0)
        self.scheduler.alphas_cumprod = exact
        self.monkeypatch = monkeypatch

    def run(self, noise: list[Tensor], **step: object) -> tuple[list[Tensor], Tensor]:
        remaining = iter(noise[1:])
        if hasattr(self.module, "randn_tensor"):
            self.monkeypatch.setattr(
                self.module, "randn_tensor", lambda *_, **__: next(remaining).clone()
            )
        x = noise[0] * self.scheduler.init_noise_sigma
        seen = []
        for t in self.scheduler.timesteps:
            seen.append(x)
            output = network(self.scheduler.scale_model_input(x, t), float(t))
            x = self.scheduler.step(output, t, x, **step).prev_sample
        return seen, x


def assert_same_path(
    ours: tuple[list[Tensor], Tensor], theirs: tuple[list[Tensor], Tensor]
) -> None:
    assert len(ours[0]) == len(theirs[0])
    for i, (mine, peer) in enumerate(
        zip([*ours[0], ours[1]], [*theirs[0], theirs[1]], strict=True)
    ):
        scale = float(peer.abs().max())
        error = float((mine - peer).abs().max()) / scale
        assert error <= TOLERANCE, f"point {i}: relative error {error:.2e}"


def schedule_of(spacing: str, prediction_type: str) -> NoiseSchedule:
    return NoiseSchedule(timestep_spacing=spacing, prediction_type=prediction_type)


def uniform_for(name: str, schedule: NoiseSchedule, steps: int) -> list[float]:
    sampler = SAMPLERS[name]
    return uniform(schedule, steps, multistep=sampler.multistep, whole=sampler.whole_timesteps)


every_case = pytest.mark.parametrize(
    ("spacing", "prediction_type"),
    [(s, p) for s in ("leading", "trailing", "linspace") for p in ("epsilon", "v_prediction")],
)


@every_case
@pytest.mark.parametrize("name", FAMILIES)
def test_every_point_of_the_path_is_that_of_diffusers(
    name: str, spacing: str, prediction_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = schedule_of(spacing, prediction_type)
    compared = 0
    for steps in COUNTS:
        sigmas = uniform_for(name, schedule, steps)
        peer = Peer(monkeypatch, name, schedule)
        peer.scheduler.set_timesteps(steps)
        if not comparable(name, spacing, steps, peer.scheduler.timesteps):
            continue
        noise = draws(steps, steps + 1)
        assert_same_path(Ours(schedule).run(name, sigmas, noise), peer.run(noise))
        compared += 1
    # DDIM over linspace is led by the hand in a test of its own.
    assert compared >= (0 if (name, spacing) == ("ddim", "linspace") else 3)


def comparable(name: str, spacing: str, steps: int, timesteps: Tensor) -> bool:
    """Tell where diffusers follows its own timesteps at all."""
    if spacing == "linspace" and name != "dpmpp_2m" and steps == 1:
        return False  # one point at 0 there: it starts where nothing is left to do
    if name == "ddim":
        # It steps to t - 1000 // N, which is not always its own next timestep.
        expected = [int(t) - 1000 // steps for t in timesteps[:-1]]
        return expected == timesteps[1:].tolist() and int(timesteps[-1]) - 1000 // steps < 0
    if spacing == "linspace" and name in ("euler", "euler_a"):
        # Between timesteps it interpolates sigma, ours log sigma: see the next test but one.
        return all(float(t).is_integer() for t in timesteps)
    return True


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_ddim_where_diffusers_strays_from_its_own_timesteps(
    spacing: str, prediction_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lead it from timestep to timestep by asking for the matching number of steps each time."""
    schedule = schedule_of(spacing, prediction_type)
    for steps in COUNTS[2:]:
        peer = Peer(monkeypatch, "ddim", schedule)
        points = [int(t) for t in uniform_timesteps(schedule, steps, multistep=False, whole=True)]
        noise = draws(steps, 1)
        x, seen = noise[0], []
        for t, t_next in pairwise([*points, -1]):
            seen.append(x)
            # diffusers goes from t to t - num_train_timesteps // num_inference_steps.
            peer.scheduler.num_inference_steps = Fraction(t - t_next)
            x = peer.scheduler.step(network(x, t), t, x).prev_sample
        ours = Ours(schedule).run("ddim", uniform_for("ddim", schedule, steps), noise)
        assert_same_path(ours, (seen, x))


class Fraction(int):
    """A step count by which 1000 divides to a wanted stride."""

    def __rfloordiv__(self, other: int) -> int:
        return int(self)


@every_case
@pytest.mark.parametrize("name", ["euler", "euler_a"])
def test_fractional_timesteps_of_linspace(
    name: str, spacing: str, prediction_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the same levels the paths agree; the levels themselves differ in interpolation only."""
    schedule = schedule_of(spacing, prediction_type)
    for steps in COUNTS:
        sigmas = uniform_for(name, schedule, steps)
        peer = Peer(monkeypatch, name, schedule)
        peer.scheduler.set_timesteps(steps)
        theirs = [float(s) for s in peer.scheduler.sigmas]
        timesteps = [float(t) for t in peer.scheduler.timesteps]
        if steps > 1:
            assert theirs == pytest.approx(sigmas, rel=2e-3)
        noise = draws(steps, steps + 1)
        ours = Ours(schedule, timesteps=list(timesteps)).run(name, theirs, noise)
        if spacing == "linspace" and steps == 1:
            continue
        assert_same_path(ours, peer.run(noise))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", COUNTS[1:])
def test_dpmpp_2m_karras(steps: int, prediction_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers rounds the timesteps; shown the same ones, the paths agree."""
    schedule = schedule_of("leading", prediction_type)
    sigmas = karras(schedule, steps)
    peer = Peer(monkeypatch, "dpmpp_2m", schedule, use_karras_sigmas=True)
    peer.scheduler.set_timesteps(steps)
    timesteps = [float(t) for t in peer.scheduler.timesteps]
    assert timesteps == [round(schedule.timestep(s)) for s in sigmas[:-1]]
    noise = draws(steps, 1)
    ours = Ours(schedule, timesteps=timesteps).run("dpmpp_2m", sigmas, noise)
    assert_same_path(ours, peer.run(noise))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", COUNTS[1:])
def test_euler_karras(steps: int, prediction_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linspace makes diffusers' Euler see the whole table too; it keeps fractional timesteps."""
    schedule = schedule_of("linspace", prediction_type)
    sigmas = karras(schedule, steps)
    peer = Peer(monkeypatch, "euler", schedule, use_karras_sigmas=True)
    peer.scheduler.set_timesteps(steps)
    noise = draws(steps, 1)
    assert_same_path(Ours(schedule).run("euler", sigmas, noise), peer.run(noise))


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_with_noise(eta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = NoiseSchedule()
    for steps in (2, 5, 20):
        noise = draws(steps, steps + 1)
        peer = Peer(monkeypatch, "ddim", schedule)
        peer.scheduler.set_timesteps(steps)
        theirs = peer.run(noise, eta=eta)
        sigmas, remaining = uniform(schedule, steps, multistep=False), iter(noise[1:])
        start = noise[0] * math.sqrt(1 + sigmas[0] ** 2)
        coroutine = ddim(start, sigmas, lambda left=remaining: next(left), eta=eta)  # type: ignore[misc]
        asked, end = drive(coroutine, Ours(schedule).denoise)
        scaled = [x * input_scale(s) for x, s in zip(asked, sigmas, strict=False)]
        assert_same_path((scaled, end), theirs)
