"""A model small enough for every test: real networks with random weights, written and loaded like
the shipped one.
"""

import atexit
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from diffusion.job import Job
from diffusion.loading import load_model
from diffusion.machine import Machine
from diffusion.model import Model
from diffusion.networks.vae import AutoencoderKL
from diffusion.tiles import finish
from diffusion.train import emoji
from diffusion.train.captions import train_tokenizer
from diffusion.train.presets import TINY
from tests.parity.twins import fill

CAPTIONS = ["a red heart", "a blue fish, 3d style", "cat face on a green background"] * 3
PRESET = replace(TINY, pixels=32)


def write_tiny(folder: Path, *, seed: int = 1) -> Path:
    """Write a whole model folder: config.json, tokenizer.json, model.safetensors."""
    tokenizer = train_tokenizer(CAPTIONS, 600)
    text, unet = emoji.build_networks(PRESET, tokenizer, seed)
    vae = AutoencoderKL(PRESET.vae.config)
    for number, network in enumerate((unet, vae, text.model)):
        fill(network, seed=seed + number)
    weights = {f"unet.{n}": p for n, p in unet.named_parameters()}
    weights |= {f"text.{n}": p for n, p in text.model.named_parameters()}
    patch = PRESET.vae.config.downscale
    generator = torch.Generator().manual_seed(seed)
    projection = torch.randn(3 * patch**2, 4, 3, 3, generator=generator) * 0.1
    emoji.export(
        folder,
        PRESET,
        vae=vae,
        text=text,
        weights=weights,
        preview=(projection, torch.zeros(3 * patch**2)),
        training={},
    )
    return folder


@cache
def tiny_folder() -> Path:
    """The folder of one tiny model, written once a test run."""
    folder = Path(mkdtemp(prefix="easel-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_tiny(folder)


@cache
def tiny_model() -> Model:
    """That model, loaded once a test run; it is immutable."""
    return load_model(tiny_folder())


def prepared(machine: Machine, *args: Any, **kwargs: Any) -> Job:  # noqa: ANN401
    """Add a job and prepare it now, not between two passes."""
    job = machine.add(*args, **kwargs)
    assert job.work is not None
    with torch.inference_mode():
        finish(job.work)
    job.work = None
    return job
