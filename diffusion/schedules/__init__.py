"""Noise schedules: the table a model was trained with, and the levels a sampler visits.

Promises: float64 on the host and no tensors, so no device is ever waited for.
"""

from diffusion.schedules.hub import sampler_of
from diffusion.schedules.levels import Levels
from diffusion.schedules.spacing import (
    exponential,
    karras,
    levels_for,
    uniform,
    uniform_timesteps,
)
from diffusion.schedules.table import BETA_SCHEDULES, PREDICTION_TYPES, SPACINGS, NoiseSchedule

__all__ = [
    "BETA_SCHEDULES",
    "PREDICTION_TYPES",
    "SPACINGS",
    "Levels",
    "NoiseSchedule",
    "exponential",
    "karras",
    "levels_for",
    "sampler_of",
    "uniform",
    "uniform_timesteps",
]
