"""A hub's scheduler_config.json: the schedule's fields, and the sampler it was saved for.

Promises: absent keys mean what the named class takes for them (diffusers 0.42); a setting that
would change the picture and is not built is refused. Never builds the table.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from diffusion.errors import CheckpointError

_PLAIN: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "num_train_timesteps": 1000,
        "beta_schedule": "linear",
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "prediction_type": "epsilon",
        "timestep_spacing": "linspace",
        "steps_offset": 0,
    }
)
_STABLE: Final = MappingProxyType({"beta_start": 0.00085, "beta_end": 0.012})
_LEADING: Final = MappingProxyType({"timestep_spacing": "leading"})
_CLIPPED: Final = MappingProxyType({**_LEADING, "clip_sample": True})
_DISTILLED: Final = MappingProxyType({**_STABLE, **_LEADING, "beta_schedule": "scaled_linear"})
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})

# Each class with our sampler's name and the defaults in which it differs from the most.
_CLASSES: Final[Mapping[str, tuple[str | None, Mapping[str, Any]]]] = MappingProxyType(
    {
        "DDPMScheduler": ("ddpm", _CLIPPED),
        "DDPMParallelScheduler": ("ddpm", _CLIPPED),
        "DDIMScheduler": ("ddim", _CLIPPED),
        "DDIMParallelScheduler": ("ddim", _CLIPPED),
        "PNDMScheduler": (
            "plms",
            MappingProxyType({**_LEADING, "set_alpha_to_one": False}),
        ),
        "EulerDiscreteScheduler": ("euler", _NONE),
        "EulerAncestralDiscreteScheduler": ("euler_a", _NONE),
        "HeunDiscreteScheduler": ("heun", _STABLE),
        "LMSDiscreteScheduler": ("lms", _NONE),
        "KDPM2DiscreteScheduler": ("dpm2", _STABLE),
        "KDPM2AncestralDiscreteScheduler": ("dpm2_a", _STABLE),
        "DPMSolverSDEScheduler": ("dpmpp_sde", _STABLE),
        "DPMSolverMultistepScheduler": ("dpmpp_2m", _NONE),
        "DPMSolverSinglestepScheduler": (None, _NONE),
        "UniPCMultistepScheduler": ("unipc", _NONE),
        "DEISMultistepScheduler": ("deis", _NONE),
        "LCMScheduler": ("lcm", _DISTILLED),
        "TCDScheduler": ("tcd", _DISTILLED),
    }
)
_READ: Final = (
    *_PLAIN,
    "trained_betas",
    "rescale_betas_zero_snr",
    "set_alpha_to_one",
    "final_sigmas_type",
    "clip_sample",
    "clip_sample_range",
    "variance_type",
    "original_inference_steps",
    "use_karras_sigmas",
    "use_exponential_sigmas",
)
# Settings that would paint another picture, with what they must be where they are present.
_FIXED: Final[Mapping[str, tuple[Any, ...]]] = MappingProxyType(
    {
        "thresholding": (False, None),
        "use_beta_sigmas": (False, None),
        "use_lu_lambdas": (False, None),
        "use_flow_sigmas": (False, None),
        "interpolation_type": ("linear", None),
        "timestep_type": ("discrete", None),
        "timestep_scaling": (10, None),
        "sigma_min": (None,),
        "sigma_max": (None,),
    }
)


def fields_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a NoiseSchedule; CheckpointError for what is not known."""
    defaults = _entry(config)[1]
    for name, allowed in _FIXED.items():
        if name in config and config[name] not in allowed:
            raise CheckpointError(
                f"scheduler config: {name} is {config[name]!r:.80}, which is not supported; "
                f"supported is {allowed[0]!r}"
            )
    found = {name: config[name] for name in _READ if config.get(name) is not None}
    fields = {**_PLAIN, **defaults, **found}
    variance = fields.get("variance_type")
    if config["_class_name"] not in ("DDPMScheduler", "DDPMParallelScheduler"):
        fields.pop("variance_type", None)
    elif variance == "fixed_small_log":
        # The logarithm is only how it is computed.
        fields["variance_type"] = "fixed_small"
    if fields.get("trained_betas"):
        fields["num_train_timesteps"] = len(fields["trained_betas"])
        fields["beta_schedule"] = "linear"
    return fields


def sampler_of(config: Mapping[str, Any]) -> str | None:
    """Return our name of the sampler a config was saved for; None where we have none."""
    name = _entry(config)[0]
    if config["_class_name"] != "DPMSolverMultistepScheduler":
        return name
    kind = config.get("algorithm_type", "dpmsolver++"), config.get("solver_order", 2)
    return {
        ("dpmsolver++", 2): "dpmpp_2m",
        ("sde-dpmsolver++", 2): "dpmpp_2m_sde",
        ("sde-dpmsolver++", 3): "dpmpp_3m_sde",
    }.get(kind)


def _entry(config: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    if not isinstance(config, Mapping):
        raise CheckpointError(f"scheduler config: {config!r:.80} must be an object")
    name = config.get("_class_name")
    if not isinstance(name, str) or name not in _CLASSES:
        raise CheckpointError(
            f"scheduler config: _class_name is {name!r:.80}; known are {', '.join(_CLASSES)}"
        )
    return _CLASSES[name]
