"""From `Params` to what a sampler needs: which levels, from where, until when."""

from dataclasses import dataclass

from diffusion.errors import ParamsError
from diffusion.model import Model
from diffusion.params import Params
from diffusion.samplers import SAMPLERS, Sampler
from diffusion.schedules import NoiseSchedule, karras, uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One job's way through the noise levels.

    sigmas: decreasing, ends with 0. start_scale: factor of the starting noise. evaluations: how
    often the network is asked; `stopped` says that this is before the end, so the last estimate is
    the picture.
    """

    noise_schedule: NoiseSchedule
    sampler: Sampler
    sigmas: tuple[float, ...]
    start_scale: float
    guidance_scale: float
    evaluations: int
    stopped: bool


def plan_for(model: Model, params: Params, *, has_image: bool) -> Plan:
    """Work out the plan of a job; ParamsError when params, model and picture do not fit."""
    if (params.init_image is not None) and not has_image:
        raise ParamsError("init_image", params.init_image, "its picture was not handed over")
    multiple = model.vae.config.downscale
    for name in ("width", "height"):
        if getattr(params, name) % multiple:
            raise ParamsError(
                name, getattr(params, name), f"this model paints multiples of {multiple}"
            )
    schedule, sampler = model.noise_schedule, SAMPLERS[params.sampler]
    if params.schedule == "karras":
        sigmas = karras(schedule, params.steps)
    else:
        sigmas = uniform(
            schedule, params.steps, multistep=sampler.multistep, whole=sampler.whole_timesteps
        )
    if has_image:
        # At strength s the last int(N s) steps run, as in diffusers; one at least.
        run = max(1, min(int(params.steps * params.strength), params.steps))
        sigmas = sigmas[params.steps - run :]
    steps = len(sigmas) - 1
    evaluations = max(1, round(steps * params.stop / 100))
    return Plan(
        noise_schedule=schedule,
        sampler=sampler,
        sigmas=tuple(sigmas),
        start_scale=schedule.initial_scale(
            sigmas[0], variance_preserving=sampler.variance_preserving
        ),
        guidance_scale=params.guidance_scale,
        evaluations=evaluations,
        stopped=evaluations < steps,
    )
