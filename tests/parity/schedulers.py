"""The reference's samplers by our names."""

import sys
import warnings
from collections.abc import Mapping
from functools import cache, wraps
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from unittest.mock import patch

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
    "dpmpp_sde": ("DPMSolverSDEScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_3m_sde": (
        "DPMSolverMultistepScheduler",
        {
            "algorithm_type": "sde-dpmsolver++",
            "solver_order": 3,
            "solver_type": "heun",
            "lower_order_final": False,
        },
    ),
    "unipc": ("UniPCMultistepScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
MULTISTEP = ("dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "unipc", "deis")
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
        made = _class(name)(**{**told, **more})
    if spacing == "exponential" and sampler in MULTISTEP:
        made = _exactly_cut(made)
    if sampler == "dpmpp_3m_sde":
        made = _third_order_mended(made)
    if sampler == "plms" and prediction_type == "v_prediction":
        made = _of_eps(made)
    return made


@cache
def _class(name: str) -> Any:  # noqa: ANN401 - a foreign class
    if name != "DPMSolverSDEScheduler" or find_spec("torchsde") is not None:
        return getattr(diffusers, name)
    # It needs that package for its tree alone, which never grows here: it draws from our paths.
    with patch.dict(sys.modules, {"torchsde": ModuleType("torchsde")}):
        return getattr(import_module("diffusers.schedulers.scheduling_dpmsolver_sde"), name)


def _exactly_cut(made: Any) -> Any:  # noqa: ANN401 - a foreign class
    """Cutting timesteps to whole ones, float32 takes the last one, 999 exactly, for 998.99."""
    set_timesteps = made.set_timesteps

    def exactly(steps: int, device: object = None) -> None:
        set_timesteps(steps, device=device)
        assert int(made.timesteps[0]) == made.config.num_train_timesteps - 2
        made.timesteps[0] += 1

    made.set_timesteps = exactly
    return made


def _third_order_mended(made: Any) -> Any:  # noqa: ANN401 - a foreign class
    """Give the last term of its third-order SDE step the sign it has in its own ODE step.

    With k = 2h, diffusers multiplies D2 by (1 - e^-k - k) / k^2 - 1/2, which goes to -1 and not to
    0 with k; + 1/2 is phi-3's (and k-diffusion's), so that alpha D2 is missing.
    """
    update = made.multistep_dpm_solver_third_order_update

    def mended(outputs: Any, *, sample: Any, noise: Any) -> Any:  # noqa: ANN401
        at = made.step_index
        alphas, sigmas = zip(
            *(made._sigma_to_alpha_sigma_t(made.sigmas[i]) for i in range(at + 1, at - 3, -1)),
            strict=True,
        )
        after, now, before, earlier = (
            torch.log(a / s) for a, s in zip(alphas, sigmas, strict=True)
        )
        r0, r1 = (now - before) / (after - now), (before - earlier) / (after - now)
        m0, m1, m2 = outputs[-1], outputs[-2], outputs[-3]
        d2 = ((m0 - m1) / r0 - (m1 - m2) / r1) / (r0 + r1)
        return update(outputs, sample=sample, noise=noise) + alphas[0] * d2

    made.multistep_dpm_solver_third_order_update = mended
    return made


def _of_eps(made: Any) -> Any:  # noqa: ANN401 - a foreign class
    """Let PLMS turn v into eps before it combines four of them, as ours does, not afterwards."""
    step = made.step

    @wraps(step)
    def led(output: Any, timestep: Any, sample: Any, **more: Any) -> Any:  # noqa: ANN401
        alpha = made.alphas_cumprod[timestep]
        made.register_to_config(prediction_type="epsilon")
        eps = alpha**0.5 * output + (1 - alpha) ** 0.5 * sample
        try:
            return step(eps, timestep, sample, **more)
        finally:
            made.register_to_config(prediction_type="v_prediction")

    made.step = led
    return made


class Stride(int):
    """A number of steps by which any table's length divides to the stride that is wanted."""

    def __rfloordiv__(self, other: int) -> int:
        return int(self)


def on_its_own_timesteps(made: Any) -> Any:  # noqa: ANN401 - a foreign class
    """Let DDIM and PLMS step from each of their timesteps to the next.

    diffusers goes from t to t - T // N always. Over linspace, and where T / N is not whole, that is
    another level than the one which the network is told next: for 4 steps of linspace it visits
    999, 666, 333, 0 with latents that it noised for 999, 749, 416, 83.
    """
    step = made.step

    @wraps(step)
    def led(output: Any, timestep: Any, sample: Any, **more: Any) -> Any:  # noqa: ANN401
        visited = [-1, *made.timesteps.unique().tolist()]
        at = visited.index(int(timestep))
        # Asked at the end of its first step, PLMS takes that step again.
        again = getattr(made, "counter", 0) == 1
        made.num_inference_steps = Stride(visited[at + again] - visited[at + again - 1])
        return step(output, timestep, sample, **more)

    made.step = led
    return made


def strays(sampler: str, spacing: str, steps: int) -> bool:
    """Tell where diffusers does not step to its own next timestep."""
    uneven = spacing == "linspace" or (spacing == "trailing" and 1000 % steps != 0)
    return sampler in ("ddim", "plms") and uneven


def noised_in_the_middle(made: Any) -> Any:  # noqa: ANN401 - a foreign class
    """Where its network is asked in the middle of a step, noise what a mask keeps to that level.

    diffusers takes the level of the step's end there, and scales it by the middle's.
    """
    add_noise = made.add_noise

    def led(original: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        if made.sample is None:
            return torch.as_tensor(add_noise(original, noise, timesteps))
        levels = getattr(made, "sigmas_interpol", None)
        level = made.mid_point_sigma if levels is None else levels[made.step_index]
        return original + noise * float(level)

    made.add_noise = led
    return made


def lead_plms(pipe: Any) -> None:  # noqa: ANN401 - a foreign class
    """Let PLMS begin in the middle as it begins at the top: the second timestep is asked twice.

    diffusers cuts its list with the doubled timestep, so that what is left has none.
    """

    def get_timesteps(
        num_inference_steps: int, strength: float, device: object, **_: object
    ) -> tuple[torch.Tensor, int]:
        del device
        run = min(int(num_inference_steps * strength), num_inference_steps)
        whole = pipe.scheduler.timesteps
        cut = torch.cat([whole[:1], whole[2:]])[num_inference_steps - run :]
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
    if sampler in ("ddpm", "ddim", "plms", "euler_a"):
        return SPACINGS
    return (*SPACINGS, *BY_SIGMA)


def predictions(sampler: str) -> tuple[str, ...]:
    """Return the predictions that both sides understand in the same way."""
    if sampler in ("plms", "euler_a", "dpm2", "dpm2_a", "dpmpp_sde"):
        return ("epsilon", "v_prediction")
    return ("epsilon", "v_prediction", "sample")
