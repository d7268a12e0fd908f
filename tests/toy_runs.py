"""Jobs for the toy model, painted to the end."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image
from torch import Tensor

from diffusion import Params, Step
from diffusion.inputs import Inputs
from diffusion.job import Job
from diffusion.machine import Machine, Tail
from diffusion.model import Model
from diffusion.painting import Painting
from diffusion.slot_painting import SlotPainting
from tests.companies import source

PARAMS = Params(
    prompt="a red heart",
    negative_prompt="blurred",
    seed=3,
    steps=4,
    width=32,
    height=32,
    images=1,
    guidance_scale=7.5,
)
HALF = Image.new("L", (32, 32))
HALF.paste(255, (0, 0, 16, 32))
PICTURE = Inputs(init_image=source((32, 32)))
MASKED = replace(PICTURE, mask=HALF)
FROM_PICTURE: Mapping[str, Any] = {"init_image": "0" * 64}
REPAINTED: Mapping[str, Any] = {**FROM_PICTURE, "mask": "1" * 64}
TAILS: tuple[Tail, Tail] = ("tables", "coroutines")


def paint(machine: Machine, jobs: Sequence[Job] = ()) -> list[tuple[Job, Step]]:
    """Run a machine until it is idle; return what it told, raise what failed."""
    told = []
    while machine.busy:
        for job, answer in machine.tick():
            if not isinstance(answer, Step):
                raise answer
            told.append((job, answer))
    assert machine.pools.taken == machine.pools.bytes == 0
    assert all(job.paintings for job in jobs)
    return told


def latents(
    model: Model, many: Sequence[Params], tail: Tail, inputs: Inputs | None = None
) -> list[Tensor]:
    """Paint jobs side by side; return the latents that each one's pictures were decoded from."""
    machine = Machine(max_batch=32, tail=tail)
    jobs = [machine.add(model, params, inputs) for params in many]
    paint(machine, jobs)
    kind = SlotPainting if tail == "tables" else Painting
    assert all(isinstance(p, kind) for job in jobs for p in job.paintings)
    found = [p.finished for job in jobs for p in job.paintings]
    return [end for end in found if end is not None]


def difference(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max() / other.abs().max())
