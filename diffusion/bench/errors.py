"""The one error of a measurement."""

from diffusion.errors import DiffusionError


class BenchError(DiffusionError):
    """What was asked cannot be measured here; the message says why, in a sentence."""
