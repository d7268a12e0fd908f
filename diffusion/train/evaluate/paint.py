"""The pictures that are measured: painted by the model, and put through its autoencoder.

Promises: each picture depends on its prompt, its seed and the model alone (the machine's strict
mode), so a shorter list gives the same pictures; many prompts share each forward pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import torch
from PIL import Image

from diffusion.errors import DiffusionError
from diffusion.job import Job
from diffusion.machine import Machine
from diffusion.model import Model
from diffusion.pixels import pictures_from, tensor_from
from diffusion.train.run import native_params

# Guided pictures have two rows each.
_ROWS: Final = 32
_BATCH: Final = 32


def paint(
    model: Model,
    prompts: Sequence[str],
    *,
    images: int = 1,
    seed: int = 0,
    report: Callable[[int], None] | None = None,
) -> list[list[Image.Image]]:
    """Return `images` pictures of every prompt, made as the model likes it best.

    Picture i of prompt k has the seed `seed + k * images + i`. `report` hears how many pictures
    have just been finished. Raises what makes a job fail.
    """
    machine = Machine(max_batch=_ROWS)
    waiting = deque(enumerate(prompts))
    painted: list[list[Image.Image]] = [[] for _ in prompts]
    running: dict[Job, int] = {}
    while waiting or machine.busy:
        # Twice what fits a pass: whoever is still encoding or decoding leaves room for others.
        while waiting and images * len(running) < _ROWS:
            number, prompt = waiting.popleft()
            params = native_params(model, prompt, seed=seed + number * images, images=images)
            running[machine.add(model, params)] = number
        for job, answer in machine.tick():
            if isinstance(answer, DiffusionError):
                raise answer
            if answer.pictures is not None:
                painted[running.pop(job)] = list(answer.pictures)
                if report is not None:
                    report(images)
    return painted


@torch.inference_mode()
def reconstruct(model: Model, pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """Return what the autoencoder makes of pictures, at the model's native size."""
    width, height = model.info.native_width, model.info.native_height
    found: list[Image.Image] = []
    for start in range(0, len(pictures), _BATCH):
        part = pictures[start : start + _BATCH]
        images = torch.cat([tensor_from(each, width=width, height=height) for each in part])
        latents = model.vae.encode(images.to(model.device, model.vae_dtype))
        found += pictures_from(model.vae.decode(latents).float().cpu())
    return found
