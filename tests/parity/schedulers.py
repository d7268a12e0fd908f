"""The reference's samplers by our names."""

import warnings
from collections.abc import Mapping
from typing import Any

import diffusers
import torch

# Our name, diffusers' class, and what it must be told to be that sampler.
CLASSES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    "plms": ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
MULTISTEP = ("dpmpp_2m", "dpmpp_2m_sde", "unipc", "deis")
SPACINGS = ("leading", "trailing", "linspace")
# Spacings by sigma; the reference's Euler family spans the whole table only under linspace.
BY_SIGMA = ("karras", "exponential")


def scheduler(
    sampler: str,
    *,
    spacing: str = "leading",
    prediction_type: str = "epsilon",
    **more: object,
) -> Any:  # noqa: ANN401 - a foreign class
    """Return diffusers' scheduler for Stable Diffusion's table of noise."""
    name, extra = CLASSES[sampler]
    told: dict[str, object] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "steps_offset": 1,
        "timestep_spacing": "linspace" if spacing in BY_SIGMA else spacing,
        "prediction_type": prediction_type,
        **extra,
    }
    if spacing in BY_SIGMA:
        told[f"use_{spacing}_sigmas"] = True
    with warnings.catch_warnings():
        # Its own calls of numpy.
        warnings.simplefilter("ignore")
        made = getattr(diffusers, name)(**{**told, **more})
    if spacing == "exponential" and sampler in MULTISTEP:
        return _exactly_cut(made)
    return made


def _exactly_cut(made: Any) -> Any:  # noqa: ANN401 - a foreign class
    """Cutting timesteps to whole ones, float32 takes the last one, 999 exactly, for 998.99."""
    set_timesteps = made.set_timesteps

    def exactly(steps: int, device: object = None) -> None:
        set_timesteps(steps, device=device)
        assert int(made.timesteps[0]) == made.config.num_train_timesteps - 2
        made.timesteps[0] += 1

    made.set_timesteps = exactly
    return made


def lead_plms(pipe: Any) -> None:  # noqa: ANN401 - a foreign class
    """Let PLMS begin in the middle as it begins at the top: the second timestep is asked twice.

    diffusers cuts its list with the doubled timestep, so that what is left has none.
    """

    def get_timesteps(steps: int, strength: float, device: object) -> tuple[torch.Tensor, int]:
        del device
        run = min(int(steps * strength), steps)
        whole = pipe.scheduler.timesteps
        cut = torch.cat([whole[:1], whole[2:]])[steps - run :]
        return torch.cat([cut[:2], cut[1:]]), run

    pipe.get_timesteps = get_timesteps


def lead_lms(pipe: Any) -> None:  # noqa: ANN401 - a foreign class
    """Let LMS begin in the middle as it begins at the top: of the order of what it remembers.

    diffusers takes the coefficients of the step's number and leaves out what it does not have.
    """
    scheduler, step = pipe.scheduler, pipe.scheduler.step

    def of_order(output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, *,
                 return_dict: bool) -> Any:  # fmt: skip  # noqa: ANN401
        order = min(4, len(scheduler.derivatives) + 1)
        return step(output, timestep, sample, order=order, return_dict=return_dict)

    scheduler.step = of_order


def spacings(sampler: str) -> tuple[str, ...]:
    """Return the spacings that both sides have."""
    if sampler in ("lcm", "tcd"):
        return ("leading",)
    if sampler in ("ddim", "plms"):
        # Over the others it does not follow its own timesteps.
        return ("leading",)
    if sampler in ("ddpm", "euler_a"):
        return SPACINGS
    return (*SPACINGS, *BY_SIGMA)


def predictions(sampler: str) -> tuple[str, ...]:
    """Return the predictions that both sides understand in the same way."""
    if sampler == "plms":
        # Its v is combined before it becomes eps; ours is of eps, as in the paper and CompVis.
        return ("epsilon",)
    if sampler in ("euler_a", "dpm2", "dpm2_a"):
        return ("epsilon", "v_prediction")
    return ("epsilon", "v_prediction", "sample")
