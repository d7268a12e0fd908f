"""Easel's latent diffusion: parameters in, pictures out.

Promises: importing this package is light (no torch, no weights, no device query); whatever needs
torch is loaded at its first use. Never knows Discord, users or a database.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from diffusion.errors import (
    AbilityError,
    CheckpointError,
    DiffusionError,
    EngineClosedError,
    EngineDeadError,
    NumericalError,
    OutOfMemoryError,
    ParamsError,
    PictureError,
    UnknownModelError,
)
from diffusion.info import ModelDefaults, ModelInfo, describe_model, shipped_models
from diffusion.names import SAMPLERS, SCHEDULES
from diffusion.params import Control, Params
from diffusion.step import Step
from diffusion.words import Influence, TokenCount

if TYPE_CHECKING:
    from diffusion.engine import Engine
    from diffusion.generation import generate
    from diffusion.loading import load_model
    from diffusion.model import Model

__all__ = [
    "SAMPLERS",
    "SCHEDULES",
    "AbilityError",
    "CheckpointError",
    "Control",
    "DiffusionError",
    "Engine",
    "EngineClosedError",
    "EngineDeadError",
    "Influence",
    "Model",
    "ModelDefaults",
    "ModelInfo",
    "NumericalError",
    "OutOfMemoryError",
    "Params",
    "ParamsError",
    "PictureError",
    "Step",
    "TokenCount",
    "UnknownModelError",
    "describe_model",
    "generate",
    "load_model",
    "shipped_models",
]


def __getattr__(name: str) -> object:
    """Load what needs torch when it is first asked for."""
    match name:
        case "Engine":
            module = "diffusion.engine"
        case "generate":
            module = "diffusion.generation"
        case "Model":
            module = "diffusion.model"
        case "load_model":
            module = "diffusion.loading"
        case _:
            raise AttributeError(f"module 'diffusion' has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
