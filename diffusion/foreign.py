"""What somebody else's checkpoint is for the bot: its sizes, and the settings it looks best with.

Promises: never imports torch. The settings are those its makers publish for the family; a folder's
own scheduler configuration wins where it tells of few-step models.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from diffusion.checkpoints.hub_fields import read_object
from diffusion.checkpoints.opening import open_checkpoint
from diffusion.checkpoints.parts import Checkpoint
from diffusion.errors import CheckpointError
from diffusion.info import ModelDefaults, ModelInfo
from diffusion.networks.configs import DDPMConfig, UNetConfig, VAEConfig

_SIDES: Final[Mapping[str, int]] = {
    "sd1": 512,
    "sd2": 768,
    "sdxl": 1024,
    "sdxl_refiner": 1024,
    "ldm": 256,
    "ldm_class": 256,
    "ldm_uncond": 256,
}
_DEFAULTS: Final[Mapping[str, ModelDefaults]] = {
    family: ModelDefaults(steps=steps, guidance_scale=scale, sampler=sampler, schedule=schedule)
    for family, steps, scale, sampler, schedule in (
        ("sd1", 25, 7.5, "dpmpp_2m", "karras"),
        ("sd2", 25, 7.5, "dpmpp_2m", "karras"),
        ("sdxl", 30, 6.0, "dpmpp_2m", "karras"),
        ("sdxl_refiner", 30, 6.0, "dpmpp_2m", "karras"),
        ("ldm", 50, 5.0, "ddim", "uniform"),
        ("ldm_class", 50, 3.0, "ddim", "uniform"),
        ("ldm_uncond", 50, 1.0, "ddim", "uniform"),
        ("ddpm", 100, 1.0, "ddim", "uniform"),
    )
}
# Distilled models come with the sampler they were made for.
_FEW_STEPS: Final[Mapping[str, ModelDefaults]] = {
    "LCMScheduler": ModelDefaults(steps=4, guidance_scale=1.0, sampler="lcm", schedule="uniform"),
    "TCDScheduler": ModelDefaults(steps=4, guidance_scale=1.0, sampler="tcd", schedule="uniform"),
    "EulerDiscreteScheduler": ModelDefaults(
        steps=4, guidance_scale=1.0, sampler="euler", schedule="uniform"
    ),
    "EulerAncestralDiscreteScheduler": ModelDefaults(
        steps=4, guidance_scale=1.0, sampler="euler_a", schedule="uniform"
    ),
}


def describe_checkpoint(path: Path) -> ModelInfo:
    """Describe a folder of components or a single file; CheckpointError when it is no model."""
    return info_of(open_checkpoint(path))


def info_of(found: Checkpoint) -> ModelInfo:
    """Return what the bot knows of a checkpoint; CheckpointError when it is no model."""
    found.require("model")
    path = found.path
    family = found.family
    if family is None or family not in _DEFAULTS or "unet" not in found.parts:
        raise CheckpointError(f"{path} is a model of a family that cannot be painted with here.")
    side, multiple = _side(found, family), _multiple(found)
    return ModelInfo(
        name=_name(path),
        family=family,
        path=str(path),
        native_width=side,
        native_height=side,
        size_multiple=multiple,
        display_scale=max(1, 256 // side) if family == "ddpm" else 1,
        defaults=_defaults(found, family),
        sha256=None,
    )


def _side(found: Checkpoint, family: str) -> int:
    """Return the side the network was trained at, in pixels."""
    config = found.parts["unet"].config
    if isinstance(config, DDPMConfig):
        return config.resolution
    own = _sample_size(found.path) if found.layout == "folder" else None
    if own is not None:
        return own * _downscale(found)
    if family == "sd2" and found.prediction_type == "epsilon":
        return 512
    return _SIDES[family]


def _sample_size(folder: Path) -> int | None:
    """Return the latent side that a folder says its network was trained at."""
    given = read_object(folder / "unet" / "config.json").get("sample_size")
    return given if isinstance(given, int) and 1 <= given <= 512 else None


def _downscale(found: Checkpoint) -> int:
    part = found.parts.get("vae")
    if part is None or not isinstance(part.config, VAEConfig):
        return 1
    return part.config.downscale


def _multiple(found: Checkpoint) -> int:
    """Return the pixels that sides are multiples of, so that every level of the network is even."""
    config = found.parts["unet"].config
    levels = len(config.channel_mult) if isinstance(config, UNetConfig | DDPMConfig) else 1
    return max(8, _downscale(found) << (levels - 1))


def _defaults(found: Checkpoint, family: str) -> ModelDefaults:
    schedule = found.schedule
    made_for = str(schedule.get("_class_name", ""))
    config = found.parts["unet"].config
    if isinstance(config, UNetConfig) and config.guidance_dim:
        own = _FEW_STEPS["LCMScheduler"]
        return ModelDefaults(
            steps=own.steps, guidance_scale=8.0, sampler=own.sampler, schedule=own.schedule
        )
    if made_for in ("LCMScheduler", "TCDScheduler"):
        return _FEW_STEPS[made_for]
    trailing = schedule.get("timestep_spacing") == "trailing"
    if trailing and schedule.get("prediction_type", "epsilon") == "epsilon":
        # Only the turbo models are published with trailing steps of predicted noise.
        return _FEW_STEPS.get(made_for, _FEW_STEPS["EulerDiscreteScheduler"])
    if schedule.get("rescale_betas_zero_snr"):
        own = _DEFAULTS[family]
        return ModelDefaults(
            steps=own.steps, guidance_scale=own.guidance_scale, sampler="euler", schedule="trailing"
        )
    return _DEFAULTS[family]


def _name(path: Path) -> str:
    """Return a short name from the file's, as it goes into metadata."""
    stem = path.resolve().name if path.is_dir() else path.stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:64] or "model"
