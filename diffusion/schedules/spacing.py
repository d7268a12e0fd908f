"""The noise levels a sampler visits, by the name of a spacing.

Promises: float64 on the host; levels decrease strictly, except that DEIS repeats the last of its
Karras levels as its reference does. One place decides every timestep the network is asked at.

## Whose conventions
Where diffusers has a sampler with a spacing, its levels and timesteps, family by family: its DDPM,
DDIM, PNDM and Euler divide "leading" by N, its DPM++ by N + 1; its DDPM and DDIM round "linspace",
its Euler interpolates sigma there, its DPM++ rounds N + 1 points and drops the last. Of Karras
levels its DPM++, UniPC, DEIS and KDPM2 round the timesteps, of exponential ones its DPM++, UniPC
and DEIS cut them; everybody else keeps fractions, found between the table's entries in log sigma,
as k-diffusion does. Karras and exponential levels span the whole table for every sampler
(diffusers' Euler spans only what its spacing visits). DDIM, DDPM and PNDM step to their own next
timestep, where diffusers' DDIM and PNDM step by 1000 // N. "sgm_uniform" and "simple" are ComfyUI's
and A1111's; "ays" are the lists of Sabour et al. 2024, log-linear in between, with the table's
lowest level as their last point.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from diffusion.errors import ParamsError
from diffusion.schedules.levels import Levels
from diffusion.schedules.table import SPACINGS, NoiseSchedule

if TYPE_CHECKING:
    from diffusion.samplers import Sampler

AYS_TIMESTEPS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "sd1": (999, 850, 736, 645, 545, 455, 343, 233, 124, 24),
        "sdxl": (999, 845, 730, 587, 443, 310, 193, 116, 53, 13),
    }
)
AYS_TABLE: Final = 1000


def levels_for(
    schedule: NoiseSchedule, sampler: "Sampler", steps: int, spacing: str, *, family: str = "sd1"
) -> Levels:
    """Return the levels of `steps` steps; ParamsError for a spacing or a number it has not.

    spacing: "uniform" is the checkpoint's own. family: which list "ays" takes.
    """
    spacing = _own(schedule, sampler, spacing)
    if sampler.consistency and spacing == "uniform":
        timesteps = _distilled(schedule, steps)
        sigmas = [_sigma(schedule, t) for t in timesteps]
    elif spacing == "uniform" or spacing in SPACINGS:
        timesteps = uniform_timesteps(
            schedule,
            steps,
            multistep=sampler.multistep,
            whole=sampler.whole_timesteps,
            spacing="" if spacing == "uniform" else spacing,
        )
        sigmas = [_sigma(schedule, t) for t in timesteps]
    elif spacing == "ays":
        sigmas = _align_your_steps(schedule, steps, family)
        timesteps = [_near_whole(schedule.timestep(sigma)) for sigma in sigmas]
    elif spacing in _BY_SIGMA:
        sigmas = _BY_SIGMA[spacing](schedule, steps)
        timesteps = [_asked(schedule, sampler, spacing, sigma) for sigma in sigmas]
    else:
        known = ", ".join(("uniform", *SPACINGS, *_BY_SIGMA, "ays"))
        raise ParamsError("schedule", spacing, f"known are {known}")
    return Levels(
        sigmas=(*sigmas, _end(schedule, sampler, spacing, sigmas)),
        timesteps=tuple(timesteps),
        table=schedule.sigmas,
        fixed_large=schedule.variance_type == "fixed_large",
    )


def uniform_timesteps(
    schedule: NoiseSchedule,
    steps: int,
    *,
    multistep: bool,
    whole: bool = False,
    spacing: str = "",
) -> list[float]:
    """Return `steps` decreasing timesteps by the checkpoint's own spacing, or `spacing`.

    `multistep` chooses the variants of DPM++: leading and linspace divide by one more step, since
    the last of their points is the end itself. `whole` rounds linspace (DDPM, DDIM).
    """
    last = schedule.num_train_timesteps - 1
    if not 1 <= steps <= last + 1:
        raise ParamsError("steps", steps, f"this model has {last + 1} noise levels to visit")
    spacing = spacing or schedule.timestep_spacing
    if spacing == "trailing":
        # Ties are rounded as by numpy's arange, whose increment is this one.
        increment = (last + 1 - (last + 1) / steps) - (last + 1)
        return [float(round(last + 1 + i * increment) - 1) for i in range(steps)]
    if spacing == "leading":
        return _leading(schedule, steps, multistep=multistep)
    if steps == 1:
        # The one point of a linspace is its start, where there is nothing to remove.
        return [float(last)]
    if multistep:
        points = [min(i * (last / steps), float(last)) for i in range(steps, 0, -1)]
        # Rounded, points closer than one would meet.
        return [float(round(t)) for t in points] if 2 * steps <= last else points
    points = [min(i * (last / (steps - 1)), float(last)) for i in reversed(range(steps))]
    return [float(round(t)) for t in points] if whole else points


def uniform(
    schedule: NoiseSchedule, steps: int, *, multistep: bool, whole: bool = False
) -> list[float]:
    """Return `steps` + 1 noise levels by the checkpoint's own spacing, the last one 0."""
    points = uniform_timesteps(schedule, steps, multistep=multistep, whole=whole)
    return [_sigma(schedule, t) for t in points] + [0.0]


def karras(schedule: NoiseSchedule, steps: int, rho: float = 7.0) -> list[float]:
    """Return `steps` + 1 levels over the table's range, the last one 0.

    Karras et al. 2022, equation 5.
    """
    _at_least_one(steps)
    low, high = schedule.sigmas[0] ** (1 / rho), schedule.sigmas[-1] ** (1 / rho)
    if steps == 1:
        return [schedule.sigmas[-1], 0.0]
    return [(high + i / (steps - 1) * (low - high)) ** rho for i in range(steps)] + [0.0]


def exponential(schedule: NoiseSchedule, steps: int) -> list[float]:
    """Return `steps` + 1 levels over the table's range, even in log sigma, the last one 0."""
    _at_least_one(steps)
    low, high = math.log(schedule.sigmas[0]), math.log(schedule.sigmas[-1])
    inner = [math.exp(high + i / (steps - 1) * (low - high)) for i in range(1, steps)]
    return [schedule.sigmas[-1], *inner, 0.0]


def _leading(schedule: NoiseSchedule, steps: int, *, multistep: bool) -> list[float]:
    last = schedule.num_train_timesteps - 1
    ratio = max(1, (last + 1) // (steps + 1 if multistep else steps))
    first = ratio if multistep else 0
    # With nearly as many steps as levels the offset would lead beyond the table.
    offset = min(first + schedule.steps_offset, last - (steps - 1) * ratio)
    return [float(i * ratio + offset) for i in reversed(range(steps))]


def _own(schedule: NoiseSchedule, sampler: "Sampler", spacing: str) -> str:
    """Resolve what the checkpoint itself wants."""
    if spacing == "uniform" and sampler.own_levels:
        if schedule.use_karras_sigmas:
            return "karras"
        if schedule.use_exponential_sigmas:
            return "exponential"
    return spacing


def _sigma(schedule: NoiseSchedule, timestep: float) -> float:
    """Return the level of a timestep; between two, sigma itself is interpolated (diffusers)."""
    below = min(math.floor(timestep), schedule.num_train_timesteps - 2)
    part = timestep - below
    return schedule.sigmas[below] * (1 - part) + schedule.sigmas[below + 1] * part


def _distilled(schedule: NoiseSchedule, steps: int) -> list[float]:
    """Pick from the grid of consistency models (Luo et al. 2023): every k-th of T / grid."""
    grid = min(schedule.original_inference_steps, schedule.num_train_timesteps)
    if not 1 <= steps <= grid:
        raise ParamsError("steps", steps, f"this sampler goes by a grid of {grid} timesteps")
    stride = schedule.num_train_timesteps // grid
    return [float((grid - i * grid // steps) * stride - 1) for i in range(steps)]


def _sgm_uniform(schedule: NoiseSchedule, steps: int) -> list[float]:
    _at_least_one(steps)
    last = schedule.num_train_timesteps - 1
    return [schedule.sigma(last * (steps - i) / steps) for i in range(steps)]


def _simple(schedule: NoiseSchedule, steps: int) -> list[float]:
    count = schedule.num_train_timesteps
    if not 1 <= steps <= count:
        raise ParamsError("steps", steps, f"this model has {count} noise levels to visit")
    return [schedule.sigmas[count - 1 - int(i * (count / steps))] for i in range(steps)]


_BY_SIGMA: Final[Mapping[str, Callable[[NoiseSchedule, int], list[float]]]] = MappingProxyType(
    {
        "karras": lambda schedule, steps: karras(schedule, steps)[:-1],
        "exponential": lambda schedule, steps: exponential(schedule, steps)[:-1],
        "sgm_uniform": _sgm_uniform,
        "simple": _simple,
    }
)


def _align_your_steps(schedule: NoiseSchedule, steps: int, family: str) -> list[float]:
    _at_least_one(steps)
    if schedule.num_train_timesteps != AYS_TABLE:
        raise ParamsError("schedule", "ays", "its lists are for models of 1000 noise levels")
    listed = AYS_TIMESTEPS["sdxl" if family.startswith("sdxl") else "sd1"]
    logs = [math.log(schedule.sigmas[t]) for t in (*listed, 0)]
    if steps == len(listed):
        return [schedule.sigmas[t] for t in listed]
    found = []
    for i in range(steps):
        place = i * (len(logs) - 1) / steps
        below = math.floor(place)
        found.append(math.exp(logs[below] + (place - below) * (logs[below + 1] - logs[below])))
    return found


def _near_whole(timestep: float) -> float:
    """Undo the rounding of a table entry's way through its logarithm."""
    whole = float(round(timestep))
    return whole if abs(timestep - whole) < 1e-9 else timestep


def _asked(schedule: NoiseSchedule, sampler: "Sampler", spacing: str, sigma: float) -> float:
    timestep = _near_whole(schedule.timestep(sigma))
    if schedule.beta_schedule == "cosine" and not schedule.trained_betas:
        # A schedule of ours, which no reference rounds for.
        return timestep
    # diffusers does not round where that table's ends lie too close together, but cuts.
    cut = spacing in sampler.truncated or (
        sampler.multistep and spacing == "karras" and schedule.beta_schedule == "squaredcos_cap_v2"
    )
    if cut:
        return float(math.floor(timestep))
    return float(round(timestep)) if spacing in sampler.rounded else timestep


def _end(
    schedule: NoiseSchedule, sampler: "Sampler", spacing: str, sigmas: Sequence[float]
) -> float:
    # Karras and exponential levels reach the lowest by themselves; it is then repeated to the bit.
    lowest = sigmas[-1] if spacing in ("karras", "exponential") else schedule.sigmas[0]
    if sampler.end == "table":
        return lowest
    if sampler.end == "alpha" and not schedule.set_alpha_to_one:
        return lowest
    if sampler.end == "sigma" and schedule.final_sigmas_type == "sigma_min":
        return lowest
    return 0.0


def _at_least_one(steps: int) -> None:
    if steps < 1:
        raise ParamsError("steps", steps, "at least one is needed")
