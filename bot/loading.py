"""From the configuration to what a start needs: models described, weights loaded, token found.

Promises that everything that can be wrong with a start is an `Exit` with a sentence. Imports torch
only when weights are loaded.
"""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bot.config import Config, ConfigError, load_config
from bot.engine_port import EnginePort
from bot.exits import Exit
from bot.secrets import TokenError, find_token, token_problem
from bot.trusted import check, held
from bot.trusted_addons import vouched
from diffusion import DiffusionError, ModelInfo, describe_model

if TYPE_CHECKING:
    from diffusion import Engine, Model
    from diffusion.device import Device

log = logging.getLogger(__name__)


def read_config(path: Path) -> Config:
    """Read config.toml or end with what is wrong where."""
    try:
        return load_config(path)
    except ConfigError as error:
        raise Exit(str(error)) from error


def read_token(config: Config, environment: Mapping[str, str]) -> str:
    """Return the bot's token or end with what to do about it."""
    try:
        token = find_token(environment, config.discord.token_file)
    except TokenError as error:
        raise Exit(str(error)) from error
    problem = token_problem(token)
    if problem is not None:
        raise Exit(problem)
    return token


def describe_models(config: Config) -> dict[str, ModelInfo]:
    """Describe every configured model without loading it."""
    found: dict[str, ModelInfo] = {}
    for alias, model in config.models.items():
        try:
            found[alias] = describe_model(model.path)
        except DiffusionError as error:
            raise Exit(f"[models.{alias}] path: {error}") from error
    return found


def load_configured(
    config: Config, alias: str, device: "Device", *, offload: bool = False
) -> "Model":
    """Load the weights of one configured model, with `offload` into host memory until somebody
    asks for it; DiffusionError when they cannot be, or are not those that were trusted.
    """
    from diffusion import CheckpointError, load_model

    model = config.models[alias]
    try:
        with held(config, alias):
            return load_model(
                model.path,
                device=device.device,
                dtype=device.dtype,
                prediction_type=model.prediction or None,
                vae=model.vae,
                preview=model.preview,
                loras=model.loras,
                controls=model.controls,
                embeddings=model.embeddings,
                offload=offload,
                vouch=partial(vouched, config, alias),
            )
    except OSError as error:
        # This may be the device's own thread, which outlives no stranger's error.
        raise CheckpointError(f"{model.path} cannot be read: {error}.") from error


def load_engine(config: Config) -> "Engine":
    """Load the weights of every configured model into an engine. Seconds: call it in a thread."""
    from diffusion import Engine
    from diffusion.device import choose_devices

    settings = config.engine
    try:
        # All of them, before the first is loaded.
        check(config)
        devices = choose_devices(settings.device, settings.dtype)
        # A replica for every device: each takes the jobs of whoever has the least to do. Several
        # models may be more than a GPU holds: the engine brings what fits, and changes the rest.
        offload = len(config.models) > 1 and devices[0].device != "cpu"
        models = {
            alias: [load_configured(config, alias, device, offload=offload) for device in devices]
            for alias in config.models
        }
    except (DiffusionError, OSError) as error:
        raise Exit(f"A model cannot be loaded: {error}") from error
    # Zero means all cores, which is what torch does when it is told nothing.
    return Engine(
        models,
        max_batch=max(2, settings.max_batch),
        threads=settings.threads or None,
        deterministic=settings.deterministic,
        memory=round(settings.memory_gib * 2**30) or None,
        loaders={alias: partial(_load_again, config, alias, devices) for alias in config.models},
    )


def _load_again(config: Config, alias: str, devices: Sequence["Device"], name: str) -> "Model":
    """Load a model onto the device of this name, as it was loaded at the start."""
    return load_configured(config, alias, next(d for d in devices if d.device == name))


def look_again(engine: EnginePort, config: Config, changed: Collection[Path]) -> None:
    """Let an engine know the add-ons that lie in its models' folders now. Reads folders."""
    names = {path.stem for path in changed}
    for alias, model in config.models.items():
        if model.loras is not None or model.embeddings is not None:
            try:
                engine.look_again(alias, model.loras, model.embeddings, names)
            except (DiffusionError, OSError) as error:
                log.warning("[models.%s] its folders cannot be read: %s", alias, error)


def environment() -> Mapping[str, str]:
    """Return the process's environment; the only place that looks at it."""
    return os.environ
