"""The noise table a model was trained with.

A model is trained on x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps (Ho et al. 2020, equation 4).
Samplers here work on x = x_t / sqrt(abar_t) = x0 + sigma eps with sigma = sqrt((1 - abar) / abar)
(Karras et al. 2022, table 1), so the level is all they need. Promises: float64 on the host; no
tensors, so no device is ever waited for. Never chooses which levels are visited.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from diffusion.errors import CheckpointError
from diffusion.schedules.hub import fields_of

BETA_SCHEDULES: Final = ("linear", "scaled_linear", "cosine", "squaredcos_cap_v2")
SPACINGS: Final = ("leading", "trailing", "linspace")
PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample")
VARIANCE_TYPES: Final = ("fixed_small", "fixed_large")
FINAL_SIGMAS: Final = ("zero", "sigma_min")
# The level of a table without a last signal is infinite; this abar keeps it at sigma = 4096.
LEAST_ALPHA: Final = 2.0**-24
LARGEST_BETA: Final = 0.999
_SWITCHES: Final = (
    "rescale_betas_zero_snr",
    "set_alpha_to_one",
    "clip_sample",
    "use_karras_sigmas",
    "use_exponential_sigmas",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSchedule:
    """A checkpoint's noise schedule; the defaults are Stable Diffusion 1.

    beta_schedule: "linear" from beta_start to beta_end (Ho et al. 2020); "scaled_linear", linear in
    sqrt(beta) (Rombach et al. 2022); "cosine" (Nichol & Dhariwal 2021, equation 17) with
    `cosine_end` e keeping the far end finite: abar(t) = f(t) / f(0),
    f(t) = cos^2((t/T + s) / (1 + s + e) pi/2); "squaredcos_cap_v2", the same with s = 0.008, e = 0
    and betas of at most 0.999 (diffusers). trained_betas, where not empty, are the betas instead.
    rescale_betas_zero_snr: sqrt(abar) is shifted to end at 0 and scaled to keep its start (Lin et
    al. 2024, Algorithm 1). set_alpha_to_one, final_sigmas_type: whether DDIM and PLMS, and the
    Euler and DPM++ families, end at 0 or at the table's lowest level. clip_sample: the estimate of
    x0 is clipped to +-clip_sample_range. variance_type: DDPM's. original_inference_steps: the grid
    LCM and TCD were distilled on. use_karras_sigmas, use_exponential_sigmas: the checkpoint's own
    spacing is that. Entry t of the tables is the level after t + 1 steps
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
    trained_betas: tuple[float, ...] = field(default=(), repr=False)
    rescale_betas_zero_snr: bool = False
    set_alpha_to_one: bool = True
    final_sigmas_type: str = "zero"
    clip_sample: bool = False
    clip_sample_range: float = 1.0
    variance_type: str = "fixed_small"
    original_inference_steps: int = 50
    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
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
        return cls(**_with_tuple(config))

    @classmethod
    def from_diffusers(cls, config: Mapping[str, Any]) -> Self:
        """Read a hub's scheduler_config.json, with the defaults of the class it names.

        CheckpointError for a class, beta schedule, prediction or setting that is not known here.
        """
        return cls(**_with_tuple(fields_of(config)))

    @property
    def clip_range(self) -> float | None:
        """What the estimate of x0 is clipped to, +- this; None where it is not."""
        return self.clip_sample_range if self.clip_sample else None

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

    def initial_scale(
        self, sigma: float, *, variance_preserving: bool, spacing: str = "uniform"
    ) -> float:
        """Return what standard normal noise is multiplied with to start at `sigma`.

        x_t at the start is taken as pure noise by samplers that come from x_t itself (DDPM, DDIM,
        DPM++), and by the Euler family under leading spacing: x = x_t sqrt(1 + sigma^2). Else it is
        the noise of x0 + sigma eps with x0 = 0. `spacing` is what the job asks for; only the names
        of SPACINGS replace the checkpoint's own.
        """
        own = spacing if spacing in SPACINGS else self.timestep_spacing
        if variance_preserving or own == "leading":
            return math.sqrt(1 + sigma**2)
        return sigma


def _with_tuple(config: Mapping[str, Any]) -> dict[str, Any]:
    betas = config.get("trained_betas")
    if betas is None or isinstance(betas, list):
        return {**config, "trained_betas": tuple(betas or ())}
    return dict(config)


def _alphas_cumprod(schedule: NoiseSchedule) -> list[float]:
    if schedule.beta_schedule == "cosine" and not schedule.trained_betas:
        count = schedule.num_train_timesteps
        whole = 1 + schedule.cosine_s + schedule.cosine_end

        def f(t: int) -> float:
            return math.cos((t / count + schedule.cosine_s) / whole * math.pi / 2) ** 2

        alphas = [f(t + 1) / f(0) for t in range(count)]
    else:
        product, alphas = 1.0, []
        for beta in schedule.trained_betas or _betas(schedule):
            product *= 1 - beta
            alphas.append(product)
    return _rescaled(alphas) if schedule.rescale_betas_zero_snr else alphas


def _betas(schedule: NoiseSchedule) -> list[float]:
    count = schedule.num_train_timesteps
    if schedule.beta_schedule == "squaredcos_cap_v2":

        def f(t: int) -> float:
            return math.cos((t / count + 0.008) / 1.008 * math.pi / 2) ** 2

        return [min(1 - f(t + 1) / f(t), LARGEST_BETA) for t in range(count)]
    start, end = schedule.beta_start, schedule.beta_end
    if schedule.beta_schedule == "scaled_linear":
        start, end = math.sqrt(start), math.sqrt(end)
    betas = [start + (end - start) * t / (count - 1) for t in range(count)]
    return [beta**2 for beta in betas] if schedule.beta_schedule == "scaled_linear" else betas


def _rescaled(alphas: list[float]) -> list[float]:
    roots = [math.sqrt(alpha) for alpha in alphas]
    first, last = roots[0], roots[-1]
    scale = first / (first - last)
    return [*(((root - last) * scale) ** 2 for root in roots[:-1]), LEAST_ALPHA]


def _check(schedule: NoiseSchedule) -> None:
    for name, known in (
        ("beta_schedule", BETA_SCHEDULES),
        ("timestep_spacing", SPACINGS),
        ("prediction_type", PREDICTION_TYPES),
        ("variance_type", VARIANCE_TYPES),
        ("final_sigmas_type", FINAL_SIGMAS),
    ):
        value = getattr(schedule, name)
        if value not in known:
            raise _refuse(name, value, f"one of {', '.join(known)}")
    for name, low, high in (
        ("num_train_timesteps", 2, 100_000),
        ("steps_offset", 0, 1),
        ("original_inference_steps", 1, 100_000),
    ):
        value = getattr(schedule, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _refuse(name, value, f"a whole number from {low} to {high}")
    for name in ("beta_start", "beta_end", "cosine_s", "cosine_end"):
        value = getattr(schedule, name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            raise _refuse(name, value, "a number from 0 to below 1")
    for name in _SWITCHES:
        if not isinstance(getattr(schedule, name), bool):
            raise _refuse(name, getattr(schedule, name), "true or false")
    _check_numbers(schedule)
    if not 0 < schedule.beta_start <= schedule.beta_end:
        raise _refuse("beta_start", schedule.beta_start, "above 0 and at most beta_end")


def _check_numbers(schedule: NoiseSchedule) -> None:
    limit = schedule.clip_sample_range
    if not isinstance(limit, int | float) or isinstance(limit, bool) or not 0 < limit < math.inf:
        raise _refuse("clip_sample_range", limit, "a number above 0")
    betas = schedule.trained_betas
    if not isinstance(betas, tuple) or not all(
        isinstance(beta, int | float) and 0 < beta < 1 for beta in betas
    ):
        raise _refuse("trained_betas", betas, "numbers between 0 and 1")
    if betas and len(betas) != schedule.num_train_timesteps:
        raise CheckpointError(
            f"noise schedule: {len(betas)} trained_betas for "
            f"{schedule.num_train_timesteps} num_train_timesteps"
        )


def _refuse(name: str, value: object, wanted: str) -> CheckpointError:
    return CheckpointError(f"noise schedule: {name} is {value!r:.80}, must be {wanted}")
