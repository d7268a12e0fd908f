"""One submission inside the machine: its paintings and what it has told so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from diffusion.addons import Styles
from diffusion.conditions import Guide
from diffusion.model import Model
from diffusion.networks.controlnet import ControlNet
from diffusion.painting import Painting
from diffusion.params import Control, Params
from diffusion.pictures import make_grid
from diffusion.pixels import pictures_from
from diffusion.plan import Plan
from diffusion.step import Step


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hint:
    """One ControlNet of a job. picture: 1 x 3 x H x W in [0, 1], at the size of each pass."""

    control: Control
    network: ControlNet
    picture: Tensor

    def works_at(self, evaluation: int, total: int) -> bool:
        """Whether it steers an evaluation (from 0) that lies wholly between its start and end."""
        return self.control.start <= evaluation / total and (
            (evaluation + 1) / total <= self.control.end
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """One pass over the noise levels; a job has a second one where it paints larger."""

    params: Params
    plan: Plan
    guide: Guide
    hints: tuple[Hint, ...]


class Job:
    """A job and its pictures. `passes` are one or two; `styles` are its LoRAs."""

    def __init__(
        self, model: Model, params: Params, passes: Sequence[Pass], styles: Styles,
        paintings: list[Painting],
    ) -> None:  # fmt: skip
        self.model = model
        self.params = params
        self.passes = tuple(passes)
        self.styles = styles
        self.paintings = paintings
        self.stages = [0] * len(paintings)
        self.told = 0
        self.pictures: list[Image.Image | None] = [None] * len(paintings)
        self.total = sum(each.plan.run_steps for each in self.passes)

    def pass_of(self, painting: Painting) -> Pass:
        """Return the pass that a painting is in."""
        return next(each for each in self.passes if each.plan is painting.plan)

    def undecoded(self) -> int | None:
        """Return the index of a finished painting that is not a picture yet."""
        for i, painting in enumerate(self.paintings):
            if painting.finished is not None and self.pictures[i] is None:
                return i
        return None

    def next_pass(self, index: int) -> Pass | None:
        """Return the pass that follows for a picture, or None when it is done."""
        stage = self.stages[index] + 1
        return self.passes[stage] if stage < len(self.passes) else None

    def steps_done(self, index: int) -> int:
        """Return how many steps of all passes a picture has behind it."""
        before = sum(each.plan.run_steps for each in self.passes[: self.stages[index]])
        return before + self.paintings[index].steps_done

    def step(self) -> Step | None:
        """Return the next step to tell: the slowest painting's, or the end with the pictures."""
        done = min(self.steps_done(i) for i in range(len(self.paintings)))
        pictures = tuple(picture for picture in self.pictures if picture is not None)
        ended = len(pictures) == len(self.paintings)
        index = self.total if ended else min(done, self.total - 1)
        if index <= self.told:
            return None
        self.told = index
        return Step(
            index=index,
            total=self.total,
            pictures=pictures if ended else None,
            flagged=self.model.flagged(pictures) if ended else (),
            draw_preview=_preview_of(self.model, [p.denoised for p in self.paintings]),
        )


def _preview_of(model: Model, estimates: Sequence[Tensor | None]) -> Callable[[], Image.Image]:
    known = [estimate for estimate in estimates if estimate is not None]
    # Pictures of a job may be in different passes, and so of different sizes, for a while.
    same = [estimate for estimate in known if estimate.shape == known[0].shape]

    def draw() -> Image.Image:
        with torch.inference_mode():
            images = model.preview.images(torch.stack(same).float().cpu())
        return make_grid(pictures_from(images))

    return draw
