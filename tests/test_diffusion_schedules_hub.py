"""A hub's scheduler_config.json, with each class's own defaults."""

from collections.abc import Mapping

import diffusers
import pytest

from diffusion.errors import CheckpointError
from diffusion.samplers import SAMPLERS
from diffusion.schedules import NoiseSchedule, sampler_of

CLASSES = {
    "DDPMScheduler": "ddpm",
    "DDIMScheduler": "ddim",
    "PNDMScheduler": "plms",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_a",
    "HeunDiscreteScheduler": "heun",
    "LMSDiscreteScheduler": "lms",
    "KDPM2DiscreteScheduler": "dpm2",
    "KDPM2AncestralDiscreteScheduler": "dpm2_a",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "UniPCMultistepScheduler": "unipc",
    "DEISMultistepScheduler": "deis",
    "LCMScheduler": "lcm",
    "TCDScheduler": "tcd",
}
# diffusers' own calls of numpy.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",
)
SAME = (
    "num_train_timesteps",
    "beta_schedule",
    "beta_start",
    "beta_end",
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
    "set_alpha_to_one",
    "final_sigmas_type",
    "clip_sample",
    "clip_sample_range",
    "rescale_betas_zero_snr",
    "original_inference_steps",
)


@pytest.mark.parametrize("name", CLASSES)
def test_absent_keys_mean_what_the_class_means(name: str) -> None:
    theirs = getattr(diffusers, name)().config
    schedule = NoiseSchedule.from_diffusers({"_class_name": name})
    for key in SAME:
        if key in theirs:
            assert getattr(schedule, key) == theirs[key], key
    assert sampler_of({"_class_name": name}) == CLASSES[name]
    # And a whole config, as the class writes it, means the same.
    whole = {**theirs, "_class_name": name, "_diffusers_version": "0.42.1"}
    assert NoiseSchedule.from_diffusers(whole) == schedule
    assert sampler_of(whole) in SAMPLERS


def test_stable_diffusion_s_own_config() -> None:
    config = {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
        "clip_sample": False,
    }
    assert NoiseSchedule.from_diffusers(config) == NoiseSchedule(set_alpha_to_one=False)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "dpmpp_2m"),
        ({"algorithm_type": "sde-dpmsolver++"}, "dpmpp_2m_sde"),
        ({"algorithm_type": "sde-dpmsolver++", "solver_order": 3}, "dpmpp_3m_sde"),
        ({"solver_order": 3}, None),
        ({"algorithm_type": "dpmsolver"}, None),
    ],
)
def test_which_dpm_solver_it_was(more: dict[str, object], expected: str | None) -> None:
    assert sampler_of({"_class_name": "DPMSolverMultistepScheduler", **more}) == expected


def test_details_of_a_class() -> None:
    ddpm = {"_class_name": "DDPMScheduler", "variance_type": "fixed_large"}
    assert NoiseSchedule.from_diffusers(ddpm).variance_type == "fixed_large"
    assert NoiseSchedule.from_diffusers(ddpm).clip_range == 1.0
    log = {"_class_name": "DDPMScheduler", "variance_type": "fixed_small_log"}
    assert NoiseSchedule.from_diffusers(log).variance_type == "fixed_small"
    # Elsewhere the key is about the network's outputs.
    multi = {"_class_name": "DPMSolverMultistepScheduler", "variance_type": "learned_range"}
    assert NoiseSchedule.from_diffusers(multi).variance_type == "fixed_small"
    assert NoiseSchedule.from_diffusers(multi).clip_range is None
    betas = [0.001 * (i + 1) for i in range(10)]
    trained = {"_class_name": "DDIMScheduler", "trained_betas": betas, "beta_schedule": "odd"}
    schedule = NoiseSchedule.from_diffusers(trained)
    assert schedule.num_train_timesteps == 10
    assert schedule.alphas_cumprod[0] == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_class_name": "DDIMScheduler", "beta_schedule": "sigmoid"}, "beta_schedule"),
        ({"_class_name": "DDIMScheduler", "prediction_type": "flow"}, "prediction_type"),
        ({"_class_name": "DDIMScheduler", "thresholding": True}, "thresholding"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"}, "continuous"),
        ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "use_flow_sigmas"),
        ({"_class_name": "DDPMScheduler", "variance_type": "learned"}, "variance_type"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatch.*known are"),
        ({"_class_name": ["DDIMScheduler"]}, "_class_name"),
        ({}, "_class_name is None"),
        ([], "object"),
    ],
)
def test_what_is_not_known_is_refused(config: Mapping[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        NoiseSchedule.from_diffusers(config)
