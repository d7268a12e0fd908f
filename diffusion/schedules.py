"""Noise levels: the table a model was trained with, and the levels a sampler visits.

A model is trained on x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps (Ho et al. 2020, equation 4).
Samplers here work on x = x_t / sqrt(abar_t) = x0 + sigma eps with sigma = sqrt((1 - abar) / abar)
(Karras et al. 2022, table 1), so the level is all they need. Promises: float64 on the host; no
tensors, so no device is ever waited for; levels decrease strictly and end with 0.

## Whose conventions
At the timesteps of the table the levels are those of diffusers, family by family: its DDPM, DDIM
and Euler divide "leading" by N, its DPM++ by N + 1; its DDPM and DDIM round "linspace", its Euler
does not, its DPM++ rounds N + 1 points and drops the last. Between timesteps (fractional
"linspace", Karras) log sigma is interpolated and the network is asked at the fractional timestep,
as in k-diffusion; diffusers rounds the timesteps of Karras levels for DPM++ and interpolates sigma
linearly for Euler. Karras levels span the whole table for every sampler (diffusers' Euler spans
only what its spacing visits). The end is always 0, which in diffusers is `set_alpha_to_one=True`
for DDIM and `final_sigmas_type="zero"` elsewhere.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from diffusion.errors import CheckpointError, ParamsError

BETA_SCHEDULES: Final = ("linear", "scaled_linear", "cosine")
SPACINGS: Final = ("leading", "trailing", "linspace")
PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSchedule:
    """A checkpoint's noise schedule; the defaults are Stable Diffusion 1.

    beta_schedule: "linear" from beta_start to beta_end (Ho et al. 2020); "scaled_linear", linear in
    sqrt(beta) (Rombach et al. 2022); "cosine" (Nichol & Dhariwal 2021, equation 17) with
    `cosine_end` e keeping the far end finite: abar(t) = f(t) / f(0),
    f(t) = cos^2((t/T + s) / (1 + s + e) pi/2). Entry t of the tables is the level after t + 1 steps
    of noising, as in all of the field's code. sigmas increase.
    """

    beta_schedule: str = "scaled_linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    cosine_s: float = 0.008
    cosine_end: float = 0.008
    num_train_timesteps: int = 1000
    prediction_type: str = "epsilon"
    timestep_spacing: str = "leading"
    steps_offset: int = 1
    alphas_cumprod: tuple[float, ...] = field(init=False, repr=False, compare=False)
    sigmas: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _logs: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)
        alphas = tuple(_alphas_cumprod(self))
        if not all(0 < alpha < 1 for alpha in alphas):
            raise CheckpointError("noise schedule: its levels leave the range of numbers")
        sigmas = tuple(math.sqrt((1 - a) / a) for a in alphas)
        object.__setattr__(self, "alphas_cumprod", alphas)
        object.__setattr__(self, "sigmas", sigmas)
        object.__setattr__(self, "_logs", tuple(math.log(s) for s in sigmas))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read a schedule from a model's configuration; CheckpointError for what is not known."""
        if not isinstance(config, Mapping):
            raise CheckpointError(f"noise schedule: {config!r:.80} must be an object")
        known = {f.name for f in fields(cls) if f.init}
        unknown = set(config) - known
        if unknown:
            raise CheckpointError(
                f"noise schedule: unknown fields {', '.join(sorted(map(str, unknown)))}; "
                f"known are {', '.join(sorted(known))}"
            )
        return cls(**config)

    def timestep(self, sigma: float) -> float:
        """Return the (fractional) timestep of a noise level, clamped to the table."""
        log = math.log(max(sigma, 1e-10))
        if log <= self._logs[0]:
            return 0.0
        if log >= self._logs[-1]:
            return float(len(self._logs) - 1)
        above = bisect_left(self._logs, log)
        low, high = self._logs[above - 1], self._logs[above]
        return above - 1 + (log - low) / (high - low)

    def sigma(self, timestep: float) -> float:
        """Return the noise level of a (fractional) timestep; the inverse of `timestep`."""
        below = min(max(math.floor(timestep), 0), len(self._logs) - 2)
        part = timestep - below
        return math.exp((1 - part) * self._logs[below] + part * self._logs[below + 1])

    def initial_scale(self, sigma: float, *, variance_preserving: bool) -> float:
        """Return what standard normal noise is multiplied with to start at `sigma`.

        x_t at the start is taken as pure noise by samplers that come from x_t itself (DDPM, DDIM,
        DPM++), and by the Euler family under leading spacing: x = x_t sqrt(1 + sigma^2). Else it is
        the noise of x0 + sigma eps with x0 = 0.
        """
        if variance_preserving or self.timestep_spacing == "leading":
            return math.sqrt(1 + sigma**2)
        return sigma


def uniform_timesteps(
    schedule: NoiseSchedule, steps: int, *, multistep: bool, whole: bool = False
) -> list[float]:
    """Return `steps` decreasing timesteps by the checkpoint's own spacing.

    `multistep` chooses the variants of DPM++: leading and linspace divide by one more step, since
    the last of their points is the end itself. `whole` rounds linspace (DDPM, DDIM).
    """
    last = schedule.num_train_timesteps - 1
    if not 1 <= steps <= last + 1:
        raise ParamsError("steps", steps, f"this model has {last + 1} noise levels to visit")
    if schedule.timestep_spacing == "trailing":
        # Ties are rounded as by numpy's arange, whose increment is this one.
        increment = (last + 1 - (last + 1) / steps) - (last + 1)
        return [float(round(last + 1 + i * increment) - 1) for i in range(steps)]
    if schedule.timestep_spacing == "leading":
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
    return [schedule.sigma(t) for t in points] + [0.0]


def karras(schedule: NoiseSchedule, steps: int, rho: float = 7.0) -> list[float]:
    """Return `steps` + 1 levels over the table's range, the last one 0.

    Karras et al. 2022, equation 5.
    """
    if steps < 1:
        raise ParamsError("steps", steps, "at least one is needed")
    low, high = schedule.sigmas[0] ** (1 / rho), schedule.sigmas[-1] ** (1 / rho)
    if steps == 1:
        return [schedule.sigmas[-1], 0.0]
    return [(high + i / (steps - 1) * (low - high)) ** rho for i in range(steps)] + [0.0]


def _leading(schedule: NoiseSchedule, steps: int, *, multistep: bool) -> list[float]:
    last = schedule.num_train_timesteps - 1
    ratio = max(1, (last + 1) // (steps + 1 if multistep else steps))
    first = ratio if multistep else 0
    # With nearly as many steps as levels the offset would lead beyond the table.
    offset = min(first + schedule.steps_offset, last - (steps - 1) * ratio)
    return [float(i * ratio + offset) for i in reversed(range(steps))]


def _alphas_cumprod(schedule: NoiseSchedule) -> list[float]:
    count = schedule.num_train_timesteps
    if schedule.beta_schedule == "cosine":
        whole = 1 + schedule.cosine_s + schedule.cosine_end

        def f(t: int) -> float:
            return math.cos((t / count + schedule.cosine_s) / whole * math.pi / 2) ** 2

        return [f(t + 1) / f(0) for t in range(count)]
    start, end = schedule.beta_start, schedule.beta_end
    if schedule.beta_schedule == "scaled_linear":
        start, end = math.sqrt(start), math.sqrt(end)
    betas = [start + (end - start) * t / (count - 1) for t in range(count)]
    if schedule.beta_schedule == "scaled_linear":
        betas = [beta**2 for beta in betas]
    product, alphas = 1.0, []
    for beta in betas:
        product *= 1 - beta
        alphas.append(product)
    return alphas


def _check(schedule: NoiseSchedule) -> None:
    for name, known in (
        ("beta_schedule", BETA_SCHEDULES),
        ("timestep_spacing", SPACINGS),
        ("prediction_type", PREDICTION_TYPES),
    ):
        value = getattr(schedule, name)
        if value not in known:
            raise _refuse(name, value, f"one of {', '.join(known)}")
    for name, low, high in (("num_train_timesteps", 2, 100_000), ("steps_offset", 0, 1)):
        value = getattr(schedule, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _refuse(name, value, f"a whole number from {low} to {high}")
    for name in ("beta_start", "beta_end", "cosine_s", "cosine_end"):
        value = getattr(schedule, name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            raise _refuse(name, value, "a number from 0 to below 1")
    if not 0 < schedule.beta_start <= schedule.beta_end:
        raise _refuse("beta_start", schedule.beta_start, "above 0 and at most beta_end")


def _refuse(name: str, value: object, wanted: str) -> CheckpointError:
    return CheckpointError(f"noise schedule: {name} is {value!r:.80}, must be {wanted}")
