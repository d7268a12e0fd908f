"""From `Params` to what a sampler needs: which levels, from where, until when."""

import math
from dataclasses import dataclass

from diffusion.errors import ParamsError
from diffusion.model import Model
from diffusion.params import Params
from diffusion.samplers import SAMPLERS, Sampler
from diffusion.schedules import Levels, NoiseSchedule, levels_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One pass of a job through the noise levels.

    start_scale: factor of the starting noise where there is no picture to start from. evaluations:
    how often the network is asked; `stopped` says that this is before the end, so the last estimate
    is the picture. run_steps: sampler steps until then. pure_noise: it starts from noise alone.
    """

    noise_schedule: NoiseSchedule
    sampler: Sampler
    levels: Levels
    start_scale: float
    evaluations: int
    all_evaluations: int
    run_steps: int
    pure_noise: bool
    first_step: int
    eta: float | None

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise levels, decreasing."""
        return self.levels.sigmas

    @property
    def steps(self) -> int:
        """Sampler steps of this pass."""
        return self.levels.steps

    @property
    def stopped(self) -> bool:
        """Whether the pass ends before its last step."""
        return self.evaluations < self.all_evaluations

    def step(self, evaluation: int) -> int:
        """Return the step (from 0, of the whole schedule) that an evaluation belongs to."""
        return self.first_step + evaluation * self.steps // self.all_evaluations

    def timestep(self, sigma: float) -> float:
        """Return the timestep at which the network is asked for a noise level."""
        own = self.levels.timestep(sigma)
        return self.noise_schedule.timestep(sigma) if own is None else own

    @property
    def end_scale(self) -> float:
        """Factor of what the sampler returns: 1 where the levels end at 0."""
        return 1 / math.sqrt(1 + self.sigmas[-1] ** 2)


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
    # A repainted area at full strength starts as if nothing were there (diffusers' rule).
    pure = not has_image or (params.mask is not None and params.strength == 1)
    return make_plan(model, params, strength=params.strength if has_image else 1.0, pure=pure)


def second_plan(model: Model, params: Params) -> Plan:
    """Work out the second pass of a job, at `hires` times the size."""
    return make_plan(model, params, strength=params.hires_strength, pure=False)


def make_plan(model: Model, params: Params, *, strength: float, pure: bool) -> Plan:
    """Choose the levels: at strength s the last int(N s) steps run, as in diffusers; one at
    least.
    """
    schedule, sampler = model.noise_schedule, SAMPLERS[params.sampler]
    whole = levels_for(schedule, sampler, params.steps, params.schedule, family=model.family)
    steps = max(1, min(int(whole.steps * strength), whole.steps))
    levels = whole.end(steps)
    total = sampler.evaluations(levels)
    wanted = max(1, round(steps * params.stop / 100))
    return Plan(
        noise_schedule=schedule,
        sampler=sampler,
        levels=levels,
        start_scale=schedule.initial_scale(
            levels.sigmas[0],
            variance_preserving=sampler.variance_preserving,
            spacing=params.schedule,
        ),
        evaluations=sum(e * steps // total < wanted for e in range(total)),
        all_evaluations=total,
        run_steps=wanted,
        pure_noise=pure,
        first_step=whole.steps - steps,
        eta=params.eta,
    )
