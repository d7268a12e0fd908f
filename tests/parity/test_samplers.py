"""Samplers against diffusers: every point of the path, its timestep, the end; noise injected."""

from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusion.samplers import SAMPLERS
from diffusion.schedules import Levels, NoiseSchedule, levels_for
from tests.parity.paths import COUNTS, Ours, Run, assert_same_path, draws, network
from tests.thinning import thinned

# diffusers' own calls of numpy.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",
)

PEERS: dict[str, tuple[str, str, dict[str, object]]] = {
    "ddpm": ("scheduling_ddpm", "DDPMScheduler", {"clip_sample": False}),
    "ddim": ("scheduling_ddim", "DDIMScheduler", {"clip_sample": False}),
    "plms": ("scheduling_pndm", "PNDMScheduler", {"skip_prk_steps": True}),
    "euler": ("scheduling_euler_discrete", "EulerDiscreteScheduler", {}),
    "euler_a": ("scheduling_euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", {}),
    "heun": ("scheduling_heun_discrete", "HeunDiscreteScheduler", {}),
    "lms": ("scheduling_lms_discrete", "LMSDiscreteScheduler", {}),
    "dpm2": ("scheduling_k_dpm_2_discrete", "KDPM2DiscreteScheduler", {}),
    "dpm2_a": ("scheduling_k_dpm_2_ancestral_discrete", "KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("scheduling_dpmsolver_multistep", "DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": (
        "scheduling_dpmsolver_multistep",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++"},
    ),
    "unipc": ("scheduling_unipc_multistep", "UniPCMultistepScheduler", {}),
    "deis": ("scheduling_deis_multistep", "DEISMultistepScheduler", {}),
    "lcm": ("scheduling_lcm", "LCMScheduler", {}),
    "tcd": ("scheduling_tcd", "TCDScheduler", {}),
}
SPACINGS = ("leading", "trailing", "linspace")
BY_SIGMA = ("karras", "exponential")
ENDS = {"ddim": "set_alpha_to_one", "plms": "set_alpha_to_one"}


class Peer:
    """The same run by diffusers, its noise taken from our draws."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, name: str, schedule: NoiseSchedule, **more: object
    ) -> None:
        module_name, class_name, extra = PEERS[name]
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
        # A shifted square root near 0 loses digits in float32.
        close = 1e-3 if schedule.rescale_betas_zero_snr else 2e-6
        assert torch.allclose(table.double(), exact, rtol=close, atol=0)
        self.scheduler.alphas_cumprod = exact
        if not self.scheduler.config.get("set_alpha_to_one", True):
            self.scheduler.final_alpha_cumprod = exact[0]
        self.monkeypatch = monkeypatch

    def set_timesteps(self, steps: int) -> None:
        with self.monkeypatch.context() as patch:
            # Levels in float64, lest differences of close ones be judged.
            patch.setattr(np, "float32", np.float64)
            self.scheduler.set_timesteps(steps)

    def run(self, noise: list[Tensor], **step: object) -> Run:
        remaining = iter(noise[1:])
        if hasattr(self.module, "randn_tensor"):
            self.monkeypatch.setattr(
                self.module, "randn_tensor", lambda *_, **__: next(remaining).clone()
            )
        x = noise[0] * self.scheduler.init_noise_sigma
        run = Run()
        for t in self.scheduler.timesteps:
            seen = self.scheduler.scale_model_input(x, t)
            run.points.append(seen.clone())
            run.timesteps.append(float(t))
            x = self.scheduler.step(network(seen, float(t)), t, x, **step).prev_sample
        run.end = x
        return run


def cases() -> Iterator[Any]:
    for name in PEERS:
        spacings: tuple[str, ...] = (*SPACINGS, *BY_SIGMA)
        if name in ("ddpm", "ddim", "plms", "euler_a"):
            spacings = SPACINGS
        elif name in ("lcm", "tcd"):
            spacings = ("uniform",)
        for i, spacing in enumerate(spacings):
            for prediction_type in predictions(name):
                usual = ("epsilon", "v_prediction", "sample")[i % 3] == prediction_type
                marks = [] if usual or prediction_type == "epsilon" else [pytest.mark.slow]
                yield pytest.param(name, spacing, prediction_type, marks=marks)


def predictions(name: str) -> tuple[str, ...]:
    if name == "plms":
        # Its v is combined before it becomes eps; ours is of eps, as in the paper and CompVis.
        return ("epsilon",)
    if name in ("euler_a", "dpm2", "dpm2_a"):
        # Not implemented there.
        return ("epsilon", "v_prediction")
    return ("epsilon", "v_prediction", "sample")


@pytest.mark.parametrize(("name", "spacing", "prediction_type"), thinned(cases(), every=3))
def test_every_point_of_the_path_is_that_of_diffusers(
    name: str, spacing: str, prediction_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Linspace makes the levels of its Euler family span the whole table.
    own = spacing if spacing in SPACINGS else "linspace"
    schedule = NoiseSchedule(
        timestep_spacing=own,
        prediction_type=prediction_type,
        set_alpha_to_one=name not in ENDS,
    )
    extra: dict[str, object] = {ENDS[name]: False} if name in ENDS else {}
    if spacing in BY_SIGMA:
        extra[f"use_{spacing}_sigmas"] = True
    compared = 0
    for steps in COUNTS:
        levels = levels_for(schedule, SAMPLERS[name], steps, spacing)
        peer = Peer(monkeypatch, name, schedule, **extra)
        peer.set_timesteps(steps)
        if not comparable(name, own, steps, peer.scheduler.timesteps, levels):
            continue
        noise = draws(steps, 2 * steps + 2)
        assert_same_path(Ours(schedule, levels).run(SAMPLERS[name], noise), peer.run(noise))
        compared += 1
    # DDIM over linspace is led by the hand in a test of its own.
    assert compared >= (0 if name in ("ddim", "plms") and spacing == "linspace" else 3)


def comparable(name: str, spacing: str, steps: int, timesteps: Tensor, levels: Levels) -> bool:
    """Tell where diffusers follows its own timesteps at all."""
    if spacing == "linspace" and not SAMPLERS[name].multistep and steps == 1:
        return name in ("lcm", "tcd")  # else one point at 0: it starts where nothing is left to do
    if name in ("ddim", "plms"):
        # They step to t - 1000 // N, which is not always their own next timestep.
        expected = [t - 1000 // steps for t in levels.timesteps[:-1]]
        ends = levels.timesteps[-1] - 1000 // steps < 0
        return expected == list(levels.timesteps[1:]) and ends
    # Trailing, it runs one step too many now and then, at timestep -1.
    return float(timesteps[-1]) >= 0


class Fraction(int):
    """A step count by which 1000 divides to a wanted stride."""

    def __rfloordiv__(self, other: int) -> int:
        return int(self)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_ddim_where_diffusers_strays_from_its_own_timesteps(
    spacing: str, prediction_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lead it from timestep to timestep by asking for the matching number of steps each time."""
    schedule = NoiseSchedule(timestep_spacing=spacing, prediction_type=prediction_type)
    for steps in COUNTS[2:]:
        peer = Peer(monkeypatch, "ddim", schedule)
        levels = levels_for(schedule, SAMPLERS["ddim"], steps, "uniform")
        noise = draws(steps, 1)
        run, x = Run(), noise[0]
        for t, t_next in pairwise([*map(int, levels.timesteps), -1]):
            run.points.append(x)
            run.timesteps.append(t)
            # diffusers goes from t to t - num_train_timesteps // num_inference_steps.
            peer.scheduler.num_inference_steps = Fraction(t - t_next)
            x = peer.scheduler.step(network(x, t), t, x).prev_sample
        run.end = x
        assert_same_path(Ours(schedule, levels).run(SAMPLERS["ddim"], noise), run)


@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("one", [True, False])
def test_ddim_with_noise(*, one: bool, eta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = NoiseSchedule(set_alpha_to_one=one)
    for steps in (2, 5, 20):
        noise = draws(steps, steps + 2)
        peer = Peer(monkeypatch, "ddim", schedule, set_alpha_to_one=one)
        peer.set_timesteps(steps)
        levels = levels_for(schedule, SAMPLERS["ddim"], steps, "uniform")
        ours = Ours(schedule, levels).run(SAMPLERS["ddim"], noise, eta=eta)
        assert_same_path(ours, peer.run(noise, eta=eta))


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_tcd_with_other_gammas(eta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = NoiseSchedule()
    for steps in (1, 2, 4, 20):
        noise = draws(steps, steps + 1)
        peer = Peer(monkeypatch, "tcd", schedule)
        peer.set_timesteps(steps)
        levels = levels_for(schedule, SAMPLERS["tcd"], steps, "uniform")
        ours = Ours(schedule, levels).run(SAMPLERS["tcd"], noise, eta=eta)
        assert_same_path(ours, peer.run(noise, eta=eta))


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "dpmpp_2m_sde", "unipc"])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "karras"])
def test_ends_above_zero(name: str, spacing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = spacing if spacing in SPACINGS else "linspace"
    schedule = NoiseSchedule(timestep_spacing=own, final_sigmas_type="sigma_min")
    karras: dict[str, object] = {"use_karras_sigmas": True} if spacing == "karras" else {}
    for steps in (2, 3, 7, 14, 15, 20):
        peer = Peer(monkeypatch, name, schedule, final_sigmas_type="sigma_min", **karras)
        peer.set_timesteps(steps)
        levels = levels_for(schedule, SAMPLERS[name], steps, spacing)
        assert levels.sigmas[-1] == pytest.approx(schedule.sigmas[0], rel=1e-12)
        noise = draws(steps, steps + 1)
        theirs = peer.run(noise)
        if name == "euler":
            # It works on x itself.
            theirs.end = theirs.end / (1 + levels.sigmas[-1] ** 2) ** 0.5
        assert_same_path(Ours(schedule, levels).run(SAMPLERS[name], noise), theirs)


@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large"])
def test_both_variances_of_ddpm(variance_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = NoiseSchedule(
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        steps_offset=0,
        variance_type=variance_type,
    )
    for steps in (4, 20):
        peer = Peer(monkeypatch, "ddpm", schedule, variance_type=variance_type)
        peer.set_timesteps(steps)
        levels = levels_for(schedule, SAMPLERS["ddpm"], steps, "uniform")
        noise = draws(steps, steps + 1)
        assert_same_path(Ours(schedule, levels).run(SAMPLERS["ddpm"], noise), peer.run(noise))


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "unipc"])
def test_a_table_without_terminal_signal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = NoiseSchedule(
        timestep_spacing="trailing", prediction_type="v_prediction", rescale_betas_zero_snr=True
    )
    for steps in (2, 4, 20):
        peer = Peer(monkeypatch, name, schedule, rescale_betas_zero_snr=True)
        with monkeypatch.context() as patch:
            # In float32, going from sigma = 4096 to 20 leaves it five digits.
            patch.setattr(torch, "float32", torch.float64)
            peer.set_timesteps(steps)
            noise = draws(steps, steps + 1)
            theirs = peer.run(noise)
        levels = levels_for(schedule, SAMPLERS[name], steps, "uniform")
        assert_same_path(Ours(schedule, levels).run(SAMPLERS[name], noise), theirs)
