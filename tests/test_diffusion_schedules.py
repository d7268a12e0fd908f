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
from diffusion.names import SCHEDULES
from diffusion.samplers import SAMPLERS
from diffusion.schedules import (
    BETA_SCHEDULES,
    SPACINGS,
    Levels,
    NoiseSchedule,
    exponential,
    karras,
    levels_for,
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
    assert levels == pytest.approx([schedule.sigma(t) for t in expected] + [0.0], rel=1e-12)


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
        ("variance_type", "learned"),
        ("final_sigmas_type", "last"),
        ("clip_sample", 1),
        ("clip_sample_range", 0),
        ("set_alpha_to_one", None),
        ("trained_betas", [0.1, 2.0]),
        ("trained_betas", [0.1, 0.2]),
        ("original_inference_steps", 0),
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


def test_clipped_cosine_trained_betas_and_no_terminal_signal_are_those_of_diffusers() -> None:
    def table(**more: object) -> np.ndarray:
        # Its own tables are float32; the DDIM class keeps an exact zero at the end.
        return np.asarray(diffusers.DDIMScheduler(**more).alphas_cumprod)

    cosine = NoiseSchedule(beta_schedule="squaredcos_cap_v2")
    theirs = table(beta_schedule="squaredcos_cap_v2")
    np.testing.assert_allclose(cosine.alphas_cumprod, theirs, rtol=5e-5)
    betas = [0.001 * (t + 1) for t in range(20)]
    trained = NoiseSchedule(num_train_timesteps=20, trained_betas=tuple(betas))
    theirs = table(num_train_timesteps=20, trained_betas=betas)
    np.testing.assert_allclose(trained.alphas_cumprod, theirs, rtol=2e-6)
    rescaled = NoiseSchedule(rescale_betas_zero_snr=True)
    theirs = table(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        rescale_betas_zero_snr=True,
    )
    np.testing.assert_allclose(rescaled.alphas_cumprod[:-1], theirs[:-1], rtol=1e-3)
    np.testing.assert_allclose(rescaled.alphas_cumprod[:900], theirs[:900], rtol=2e-5)
    assert rescaled.alphas_cumprod[-1] == 2**-24
    assert rescaled.sigmas[-1] == pytest.approx(4096, rel=1e-6)


@pytest.mark.parametrize("spacing", SCHEDULES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_goes_by_every_spacing(name: str, spacing: str) -> None:
    sampler = SAMPLERS[name]
    for steps in (1, 2, 10, 23, 50):
        levels = levels_for(SD, sampler, steps, spacing)
        assert levels.steps == len(levels.timesteps) == steps
        assert all(high > low for high, low in pairwise(levels.sigmas[:-1]))
        assert levels.sigmas[-2] >= levels.sigmas[-1] >= 0
        assert all(high >= low for high, low in pairwise(levels.timesteps))
        assert 0 <= levels.timesteps[-1] <= levels.timesteps[0] <= 999
        # Levels and timesteps belong together, but for rounding and interpolation.
        for sigma, t in zip(levels.sigmas, levels.timesteps, strict=False):
            assert SD.timestep(sigma) == pytest.approx(t, abs=1.01)


def test_whose_timesteps_are_whole() -> None:
    def fractions(name: str, spacing: str) -> bool:
        return any(t % 1 for t in levels_for(SD, SAMPLERS[name], 20, spacing).timesteps)

    for name in ("dpmpp_2m", "dpmpp_2m_sde", "unipc", "deis"):
        assert not fractions(name, "karras")
        assert not fractions(name, "exponential")
        assert fractions(name, "sgm_uniform")
    for name in ("dpm2", "dpm2_a"):
        assert not fractions(name, "karras")
        assert fractions(name, "exponential")
    for name in ("euler", "heun", "lms", "dpmpp_2s_a", "dpmpp_sde"):
        assert fractions(name, "karras")
        assert fractions(name, "exponential")
    # The shipped model's schedule is nobody else's: nothing is rounded for it.
    shipped = levels_for(SHIPPED, SAMPLERS["dpmpp_2m"], 20, "karras")
    assert shipped.timesteps == tuple(SHIPPED.timestep(s) for s in shipped.sigmas[:-1])


def test_exponential_simple_and_sgm_uniform_by_their_definitions() -> None:
    # k-diffusion's get_sigmas_exponential; ComfyUI's simple and sgm_uniform.
    expected = np.exp(np.linspace(math.log(SD.sigmas[-1]), math.log(SD.sigmas[0]), 7))
    np.testing.assert_allclose(exponential(SD, 7), [*expected, 0], rtol=1e-9)
    assert exponential(SD, 1) == [SD.sigmas[-1], 0.0]
    levels = levels_for(SD, SAMPLERS["euler"], 7, "simple")
    wanted = [999 - int(i * (1000 / 7)) for i in range(7)]
    assert list(levels.timesteps) == wanted
    assert list(levels.sigmas) == [*(SD.sigmas[t] for t in wanted), 0]
    levels = levels_for(SD, SAMPLERS["euler"], 7, "sgm_uniform")
    np.testing.assert_allclose(levels.timesteps, np.linspace(999, 0, 8)[:-1], atol=1e-6)


def test_align_your_steps_is_the_published_list_and_log_linear_between() -> None:
    listed = {
        "sd1": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24],
        "sdxl": [999, 845, 730, 587, 443, 310, 193, 116, 53, 13],
    }
    for family, timesteps in listed.items():
        levels = levels_for(SD, SAMPLERS["euler"], 10, "ays", family=family)
        assert list(levels.timesteps) == timesteps
        assert levels.sigmas == (*(SD.sigmas[t] for t in timesteps), 0.0)
    # The published levels of Stable Diffusion 1.5, the last of them the lowest.
    published = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
    ten = levels_for(SD, SAMPLERS["euler"], 10, "ays")
    assert list(ten.sigmas[:-1]) == pytest.approx(published[:-1], rel=2e-2)
    for steps in (4, 25):
        xs = np.linspace(0, 1, steps + 1)
        logs = np.log([*ten.sigmas[:-1], SD.sigmas[0]])
        expected = np.exp(np.interp(xs, np.linspace(0, 1, 11), logs))
        found = levels_for(SD, SAMPLERS["euler"], steps, "ays").sigmas
        np.testing.assert_allclose(found[:-1], expected[:-1], rtol=1e-9)
    few = NoiseSchedule(num_train_timesteps=100)
    with pytest.raises(ParamsError, match="1000"):
        levels_for(few, SAMPLERS["euler"], 4, "ays")


def test_consistency_models_go_by_their_own_grid() -> None:
    lcm = SAMPLERS["lcm"]
    assert levels_for(SD, lcm, 4, "uniform").timesteps == (999, 759, 499, 259)
    assert levels_for(SD, lcm, 50, "uniform").timesteps[-2:] == (39, 19)
    with pytest.raises(ParamsError, match="50"):
        levels_for(SD, lcm, 51, "uniform")
    assert levels_for(SD, lcm, 4, "trailing").timesteps == (999, 749, 499, 249)


def test_where_samplers_end() -> None:
    low = SD.sigmas[0]
    stable = NoiseSchedule(set_alpha_to_one=False)
    minimum = NoiseSchedule(final_sigmas_type="sigma_min")
    for name in SAMPLERS:
        ends = [
            levels_for(one, SAMPLERS[name], 5, "uniform").sigmas[-1]
            for one in (SD, stable, minimum)
        ]
        always, alpha = name in ("deis", "tcd"), name in ("ddim", "plms")
        sigma = name in ("euler", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "unipc")
        assert ends == [low if always or own else 0.0 for own in (False, alpha, sigma)], name


def test_a_checkpoint_may_want_karras_levels_itself() -> None:
    wants = NoiseSchedule(use_karras_sigmas=True)
    also = NoiseSchedule(use_exponential_sigmas=True)
    for name in ("euler", "dpmpp_2m", "unipc"):
        own = levels_for(wants, SAMPLERS[name], 8, "uniform")
        assert own.sigmas == levels_for(SD, SAMPLERS[name], 8, "karras").sigmas
        own = levels_for(also, SAMPLERS[name], 8, "uniform")
        assert own.sigmas == levels_for(SD, SAMPLERS[name], 8, "exponential").sigmas
    for name in ("ddim", "euler_a", "lcm"):
        own = levels_for(wants, SAMPLERS[name], 8, "uniform")
        assert own.sigmas == levels_for(SD, SAMPLERS[name], 8, "uniform").sigmas


def test_the_end_of_a_run_keeps_its_plan() -> None:
    whole = levels_for(SD, SAMPLERS["tcd"], 10, "uniform")
    part = whole.end(3)
    assert (part.steps, part.planned, part.table) == (3, 10, SD.sigmas)
    assert part.sigmas == whole.sigmas[-4:]
    assert part.timesteps == whole.timesteps[-3:]
    assert part.timestep(part.sigmas[1]) == part.timesteps[1]
    assert part.timestep(whole.sigmas[0]) is None
    for steps in (0, 11):
        with pytest.raises(ValueError, match="of 10 steps"):
            whole.end(steps)
    with pytest.raises(ValueError, match="one more"):
        Levels(sigmas=(1.0,), timesteps=(1.0,))


def test_an_unknown_spacing_is_refused_with_the_known() -> None:
    with pytest.raises(ParamsError, match=r"karras.*ays"):
        levels_for(SD, SAMPLERS["euler"], 4, "normal")
    for spacing in ("simple", "sgm_uniform", "ays", "exponential"):
        with pytest.raises(ParamsError):
            levels_for(SD, SAMPLERS["euler"], 0, spacing)


def test_the_spacing_asked_for_decides_the_starting_scale() -> None:
    assert SD.initial_scale(3.0, variance_preserving=False) == math.sqrt(10)
    assert SD.initial_scale(3.0, variance_preserving=False, spacing="karras") == math.sqrt(10)
    assert SD.initial_scale(3.0, variance_preserving=False, spacing="trailing") == 3.0
