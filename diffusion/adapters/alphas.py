"""The alphas that newer diffusers files keep in the head of the file instead of in tensors.

Promises: reads JSON as data and treats a pattern as a plain ending of a name, never as a regular
expression: a file must not be able to stall its reader.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from diffusion.errors import CheckpointError

_KEY: Final = "lora_adapter_metadata"
_NETWORKS: Final = ("unet.", "text_encoder.", "text_encoder_2.")


def metadata_alpha(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the adapter's settings from a file's metadata (empty when it has none)."""
    text = metadata.get(_KEY)
    if not text:
        return {}
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{_KEY} in the head is damaged: {error}") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{_KEY} in the head is no table")
    return settings


def alpha_for(name: str, rank: int, settings: Mapping[str, Any]) -> float | None:
    """Return the alpha of the layer that a file calls `name`, or None when the settings are silent.

    With `use_rslora` the scale is alpha / sqrt(rank) (Kalajdzievski 2023).
    """
    network = next((start for start in _NETWORKS if name.startswith(start)), None)
    if network is None:
        return None
    alpha = settings.get(f"{network}lora_alpha")
    patterns = settings.get(f"{network}alpha_pattern")
    if isinstance(patterns, dict):
        for pattern, value in patterns.items():
            if f".{name}".endswith(f".{pattern.removeprefix('^')}"):
                alpha = value
                break
    if not isinstance(alpha, int | float):
        return None
    return float(alpha) * (rank**0.5 if settings.get(f"{network}use_rslora") is True else 1.0)
