"""Noise levels against published anchors and against diffusers' own timesteps."""

import math
from itertools import pairwise

import diffusers
import numpy as np
import pytest
from diffusers import SchedulerMixin
from hypothesis import given
from hypothesis import strategies as st

from diffusion.errors import CheckpointError, ParamsError
from diffusion.schedules import (
    BETA_SCHEDULES,
    SPACINGS,
    NoiseSchedule,
    karras,
    uniform,
    uniform_timesteps,
)

# diffusers' own calls of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SD = NoiseSchedule()
SHIPPED = NoiseSchedule.from_config(
    {
        "beta_schedule": "cosine",
        "cosine_s": 0.008,
        "cosine_end": 0.008,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "steps_offset": 0,
    }
)


def test_stable_diffusion_s_anchors() -> None:
    assert SD.alphas_cumprod[0] == pytest.approx(0.99915, rel=1e-9)
    assert SD.alphas_cumprod[1] == pytest.approx(0.998296, abs=5e-7)
    assert SD.alphas_cumprod[500] == pytest.approx(0.2763325, rel=1e-6)
    assert SD.alphas_cumprod[999] == pytest.approx(0.0046600985, abs=5e-11)
    assert SD.sigmas[0] == pytest.approx(0.0291672, abs=5e-8)
    assert SD.sigmas[-1] == pytest.approx(14.614641, abs=5e-7)


def test_ddpm_s_linear_betas() -> None:
    ddpm = NoiseSchedule(beta_schedule="linear", beta_start=1e-4, beta_end=0.02)
    betas = np.linspace(1e-4, 0.02, 1000)
    np.testing.assert_allclose(ddpm.alphas_cumprod, np.cumprod(1 - betas), rtol=1e-12)


def test_cosine_is_nichol_and_dhariwal_with_a_finite_end() -> None:
    f = [math.cos((t / 1000 + 0.008) / 1.016 * math.pi / 2) ** 2 for t in range(1001)]
    np.testing.assert_allclose(
        SHIPPED.alphas_cumprod, [f[t + 1] / f[0] for t in range(1000)], rtol=1e-12
    )
    assert SHIPPED.sigmas[-1] == pytest.approx(80, rel=0.05)
    assert SHIPPED.sigmas[0] == pytest.approx(0.0065, rel=0.05)


@pytest.mark.parametrize("beta_schedule", BETA_SCHEDULES)
def test_levels_rise_and_timesteps_invert_them(beta_schedule: str) -> None:
    schedule = NoiseSchedule(beta_schedule=beta_schedule)
    assert all(low < high for low, high in pairwise(schedule.sigmas))
    for t in (0, 1, 0.5, 333.25, 998, 998.75, 999):
        assert schedule.timestep(schedule.sigma(t)) == pytest.approx(t, abs=1e-9)
    for t in (0, 17, 999):
        assert schedule.sigma(t) == pytest.approx(schedule.sigmas[t], rel=1e-12)
    assert schedule.timestep(0.0) == 0
    assert schedule.timestep(1e9) == 999


def test_half_way_between_timesteps_is_the_geometric_mean() -> None:
    assert SD.sigma(10.5) == pytest.approx(math.sqrt(SD.sigmas[10] * SD.sigmas[11]), rel=1e-12)


@pytest.mark.parametrize(
    ("spacing", "offset", "multistep", "expected"),
    [
        ("leading", 0, False, [900, 800, 700, 600, 500, 400, 300, 200, 100, 0]),
        ("leading", 1, False, [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]),
        ("leading", 0, True, [900, 810, 720, 630, 540, 450, 360, 270, 180, 90]),
        ("leading", 1, True, [901, 811, 721, 631, 541, 451, 361, 271, 181, 91]),
        ("trailing", 1, False, [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]),
        ("trailing", 1, True, [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]),
        ("linspace", 1, False, [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]),
        ("linspace", 1, True, [999, 899, 799, 699, 599, 500, 400, 300, 200, 100]),
    ],
)
def test_ten_timesteps_of_every_spacing(
    spacing: str, offset: int, multistep: bool, expected: list[int]
) -> None:
    schedule = NoiseSchedule(timestep_spacing=spacing, steps_offset=offset)
    assert uniform_timesteps(schedule, 10, multistep=multistep) == expected
    levels = uniform(schedule, 10, multistep=multistep)
    assert levels == [schedule.sigma(t) for t in expected] + [0.0]


def test_karras_anchors() -> None:
    expected = [14.6146, 9.1029, 5.4784, 3.1686, 1.7494, 0.9141, 0.4469, 0.2014, 0.0819, 0.0292, 0]
    assert karras(SD, 10) == pytest.approx(expected, abs=5e-5)
    assert karras(SD, 1) == [SD.sigmas[-1], 0.0]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("multistep", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_any_number_of_steps_falls_strictly_to_zero(
    spacing: str, offset: int, multistep: bool, whole: bool
) -> None:
    schedule = NoiseSchedule(timestep_spacing=spacing, steps_offset=offset)
    for steps in (*range(1, 60), 99, 250, 333, 499, 500, 501, 997, 998, 999, 1000):
        points = uniform_timesteps(schedule, steps, multistep=multistep, whole=whole)
        assert len(points) == steps
        assert points[-1] >= 0
        assert points[0] <= 999
        levels = uniform(schedule, steps, multistep=multistep, whole=whole)
        assert all(high > low for high, low in pairwise(levels)), steps
        assert levels[-1] == 0


@given(steps=st.integers(1, 1000))
def test_karras_falls_strictly_to_zero(steps: int) -> None:
    levels = karras(SHIPPED, steps)
    assert len(levels) == steps + 1
    assert all(high > low for high, low in pairwise(levels))
    assert levels[0] == pytest.approx(SHIPPED.sigmas[-1])
    assert levels[-1] == 0


def peer(family: str, spacing: str, offset: int) -> SchedulerMixin:
    return getattr(diffusers, family)(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing=spacing,
        steps_offset=offset,
    )


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize(
    ("family", "multistep", "whole"),
    [
        ("DDPMScheduler", False, True),
        ("DDIMScheduler", False, True),
        ("EulerDiscreteScheduler", False, False),
        ("EulerAncestralDiscreteScheduler", False, False),
        ("DPMSolverMultistepScheduler", True, False),
    ],
)
def test_timesteps_are_those_of_diffusers(
    family: str, multistep: bool, whole: bool, spacing: str, offset: int
) -> None:
    theirs = peer(family, spacing, offset)
    ours = NoiseSchedule(timestep_spacing=spacing, steps_offset=offset)
    # Beyond about half the table diffusers repeats timesteps or leaves the table; ours does not.
    for steps in (*range(2 if spacing == "linspace" else 1, 64), 100, 250, 333, 499):
        theirs.set_timesteps(steps)
        points = uniform_timesteps(ours, steps, multistep=multistep, whole=whole)
        # Trailing, it runs one step too many now and then, at timestep -1.
        theirs_points = theirs.timesteps.numpy()[:steps]
        np.testing.assert_allclose(theirs_points, points, atol=1e-4, err_msg=str(steps))


def test_the_starting_scale_is_that_of_diffusers() -> None:
    for spacing in SPACINGS:
        theirs = peer("EulerDiscreteScheduler", spacing, 1)
        theirs.set_timesteps(10)
        ours = NoiseSchedule(timestep_spacing=spacing)
        first = uniform(ours, 10, multistep=False)[0]
        scale = ours.initial_scale(first, variance_preserving=False)
        assert scale == pytest.approx(float(theirs.init_noise_sigma), rel=2e-6)
        assert ours.initial_scale(first, variance_preserving=True) == math.sqrt(1 + first**2)
    assert SD.initial_scale(
        uniform(SD, 10, multistep=False)[0], variance_preserving=False
    ) == pytest.approx(8.4501, abs=5e-5)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_step_counts_are_refused(steps: int) -> None:
    with pytest.raises(ParamsError, match="1000 noise levels") as caught:
        uniform(SD, steps, multistep=False)
    assert caught.value.field == "steps"
    if steps < 1:
        with pytest.raises(ParamsError):
            karras(SD, steps)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beta_schedule", "squared"),
        ("beta_schedule", ["linear"]),
        ("timestep_spacing", None),
        ("prediction_type", "flow"),
        ("num_train_timesteps", 1),
        ("num_train_timesteps", 10**9),
        ("num_train_timesteps", True),
        ("num_train_timesteps", 1000.0),
        ("steps_offset", -1),
        ("steps_offset", 2),
        ("beta_start", 0),
        ("beta_start", 0.5),
        ("beta_end", 1.0),
        ("beta_end", float("nan")),
        ("cosine_s", "0.008"),
        ("cosine_end", -0.1),
    ],
)
def test_bad_configurations_are_named(field: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=field):
        NoiseSchedule.from_config({field: value})


def test_unknown_fields_are_named() -> None:
    with pytest.raises(CheckpointError, match=r"beta_shedule.*known are"):
        NoiseSchedule.from_config({"beta_shedule": "linear"})
    with pytest.raises(CheckpointError, match="object"):
        NoiseSchedule.from_config([])  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="range"):
        NoiseSchedule(num_train_timesteps=100_000, beta_end=0.9)


def test_schedules_compare_by_what_was_configured() -> None:
    assert NoiseSchedule() == SD
    assert NoiseSchedule(steps_offset=0) != SD
    assert "alphas_cumprod" not in repr(SD)
