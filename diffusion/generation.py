"""One job, synchronously: the same row machine as the engine's, driven by the caller's own loop."""

from collections.abc import Generator, Sequence

from PIL import Image
from torch import Tensor

from diffusion.errors import DiffusionError
from diffusion.exact import Deterministic
from diffusion.inputs import Inputs
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
    mask: Image.Image | None = None,
    hints: Sequence[Image.Image] = (),
    state: bytes | None = None,
    deterministic: Deterministic = "strict",
) -> Generator[Step, None, None]:
    """Paint one job and yield its steps; the last one carries the pictures.

    `latents` (images x C x h x w, standard normal) replaces the noise drawn from the seeds;
    `init_image` makes it image to image, `mask` (white where it is repainted) inpainting; `hints`
    are the pictures of the ControlNets in `params.controls`; `state` is what an earlier job that
    was stopped early left (`Step.state`); `deterministic` is as for `Engine`. Closing the generator
    abandons the job.
    """
    machine = Machine(max_batch=_ROWS, deterministic=deterministic)
    inputs = Inputs(init_image=init_image, mask=mask, hints=tuple(hints))
    machine.add(model, params, inputs, latents, state=state)
    while machine.busy:
        for _, answer in machine.tick():
            if isinstance(answer, DiffusionError):
                raise answer
            yield answer
