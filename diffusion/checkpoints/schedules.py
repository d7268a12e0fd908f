"""The noise schedule of a single file, in the fields of a hub's scheduler_config.json.

Promises: the file's own `betas` win where they are precise enough to be recognised; otherwise the
family's published ones. Never imports torch.
"""

import math
from collections.abc import Mapping
from typing import Final

from diffusion.checkpoints.header import Header, read_numbers

_SD: Final[Mapping[str, object]] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "set_alpha_to_one": False,
    "clip_sample": False,
}
_CLASSES: Final[Mapping[str, str]] = {
    "sd1": "PNDMScheduler",
    "sd2": "DDIMScheduler",
    "sdxl": "EulerDiscreteScheduler",
    "sdxl_refiner": "EulerDiscreteScheduler",
    "ddpm": "DDPMScheduler",
}
_DDPM: Final[Mapping[str, object]] = {
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "variance_type": "fixed_small",
    "clip_sample": True,
}
EDM_CLASS: Final = "EDMDPMSolverMultistepScheduler"
_EDM: Final[Mapping[str, object]] = {
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "sigma_data": 0.5,
    "prediction_type": "edm",
}
_PRECISE: Final = ("F32", "F64")
_CLOSE: Final = 1e-4


def family_schedule(family: str) -> dict[str, object]:
    """Return the published schedule of a family."""
    schedule = dict(_DDPM if family == "ddpm" else _SD)
    if family in ("ldm_class", "ldm_uncond"):
        schedule |= {"beta_start": 0.0015, "beta_end": 0.0195}
    return {"_class_name": _CLASSES.get(family, "DDIMScheduler"), **schedule}


def file_schedule(header: Header, family: str, prediction_type: str | None) -> dict[str, object]:
    """Return the schedule of a single file."""
    schedule = family_schedule(family) | _betas(header)
    if prediction_type is not None:
        schedule["prediction_type"] = prediction_type
    if prediction_type == "edm":
        return {"_class_name": EDM_CLASS, **_EDM}
    if "ztsnr" in header.tensors:
        schedule |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return schedule


def file_prediction(header: Header, family: str, in_channels: int) -> str | None:
    """Return what the network of a single file predicts, or None where only a trial can tell.

    A marker tensor or the file's metadata (the modelspec) say it; Stable Diffusion 2 comes in both
    kinds, except that its inpainting (9 channels) and depth (5) models predict noise. "edm" is the
    preconditioning of Karras et al. 2022, of which Playground 2.5 is a model.
    """
    if "edm_mean" in header.tensors:
        return "edm"
    if "v_pred" in header.tensors:
        return "v_prediction"
    said = header.metadata.get("modelspec.prediction_type", "")
    if said in ("v", "v_prediction"):
        return "v_prediction"
    if said in ("epsilon", "eps"):
        return "epsilon"
    return None if family == "sd2" and in_channels == 4 else "epsilon"


def _betas(header: Header) -> dict[str, object]:
    """Recognise the `betas` that the original code stores in a file."""
    info = header.tensors.get("betas")
    if info is None or info.dtype not in _PRECISE or len(info.shape) != 1:
        return {}
    if not 2 <= info.shape[0] <= 10_000:
        return {}
    betas = read_numbers(header.path, info)
    start, end, count = betas[0], betas[-1], len(betas)
    if not 0 < start < end < 1:
        return {}
    found: dict[str, object] = {
        "beta_start": float(f"{start:.6g}"),
        "beta_end": float(f"{end:.6g}"),
        "num_train_timesteps": count,
    }
    low, high = math.sqrt(start), math.sqrt(end)
    for name in ("scaled_linear", "linear"):
        wanted = (
            (low + (high - low) * i / (count - 1)) ** 2
            if name == "scaled_linear"
            else start + (end - start) * i / (count - 1)
            for i in range(count)
        )
        if all(abs(a - b) <= _CLOSE * b for a, b in zip(betas, wanted, strict=True)):
            return {**found, "beta_schedule": name}
    return {"num_train_timesteps": count, "trained_betas": betas}
