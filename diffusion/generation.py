"""One job, synchronously: the same row machine as the engine's, driven by the caller's own loop."""

from collections.abc import Generator

from PIL import Image
from torch import Tensor

from diffusion.errors import DiffusionError
from diffusion.machine import Machine
from diffusion.model import Model
from diffusion.params import Params
from diffusion.step import Step

# A guided picture has two rows; sixteen pictures of one job still share a pass.
_ROWS = 32


def generate(
    model: Model,
    params: Params,
    latents: Tensor | None = None,
    *,
    init_image: Image.Image | None = None,
) -> Generator[Step, None, None]:
    """Paint one job and yield its steps; the last one carries the pictures.

    `latents` (images x C x h x w, standard normal) replaces the noise drawn from the seeds;
    `init_image` makes it image to image. Closing the generator abandons the job.
    """
    machine = Machine(max_batch=_ROWS)
    machine.add(model, params, init_image, latents)
    while machine.busy:
        for _, answer in machine.tick():
            if isinstance(answer, DiffusionError):
                raise answer
            yield answer
