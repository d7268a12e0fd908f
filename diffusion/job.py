"""One submission inside the machine: its paintings and what it has told so far."""

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from diffusion.addons import Styles
from diffusion.conditions import Guide
from diffusion.fairness import Account
from diffusion.model import Model
from diffusion.networks.controlnet import ControlNet
from diffusion.params import Control, Params
from diffusion.pictures import make_grid
from diffusion.pixels import pictures_from
from diffusion.plan import Plan
from diffusion.saved import pack
from diffusion.slot_painting import AnyPainting, Pools
from diffusion.step import Step


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hint:
    """One ControlNet of a job. picture: 1 x 3 x H x W in [0, 1], at the size of each pass, where
    and how precisely the network computes.
    """

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
    """One pass over the noise levels, with a guide for every picture; a job has a second one where
    it paints larger.
    """

    params: Params
    plan: Plan
    guides: tuple[Guide, ...]
    hints: tuple[Hint, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A job and its pictures.

    `plans` are those of its one or two passes, known before its prompts are encoded; `passes` and
    `paintings` are there once it is prepared. `work` is what goes on beside the forward passes:
    preparing it, or decoding one of its pictures. `images` are the numbers of the pictures still
    wanted, in order. `pools`: where its latents live while samplers run as tables; None where they
    run as coroutines.
    """

    model: Model
    params: Params
    plans: tuple[Plan, ...]
    styles: Styles
    account: Account
    pools: Pools | None = None
    passes: tuple[Pass, ...] = ()
    paintings: list[AnyPainting] = field(default_factory=list)
    work: Generator[None, None, None] | None = None
    paused: bool = False
    images: list[int] = field(default_factory=list)
    stages: list[int] = field(default_factory=list)
    pictures: list[Image.Image | None] = field(default_factory=list)
    told: int = 0

    def begin(self, passes: Sequence[Pass], paintings: list[AnyPainting]) -> None:
        """Take what was prepared."""
        self.passes, self.paintings = tuple(passes), paintings
        self.stages = [0] * len(paintings)
        self.pictures = [None] * len(paintings)
        self.keep(self.images)
        # What an earlier go told is not told again.
        self.told = min([self.total - 1, *(self.steps_done(i) for i in self.images)])

    @property
    def total(self) -> int:
        """Steps of all passes."""
        return sum(plan.run_steps for plan in self.plans)

    @property
    def left(self) -> int:
        """Evaluations of single pictures that are still wanted."""
        done = [painting.answered for painting in self.paintings] or [0]
        each = sum(plan.evaluations for plan in self.plans) - min(done)
        return max(0, each) * len(self.images)

    def pass_of(self, painting: AnyPainting) -> Pass:
        """Return the pass that a painting is in."""
        return next(each for each in self.passes if each.plan is painting.plan)

    def keep(self, images: Iterable[int]) -> None:
        """Go on with these pictures (numbers from 0) alone; the others' rows are gone."""
        wanted = set(images)
        self.images = [i for i in self.images if i in wanted]
        for i, painting in enumerate(self.paintings):
            if i not in wanted:
                painting.close()

    def waiting(self) -> list[AnyPainting]:
        """Return the paintings that want an estimate."""
        if self.paused or not self.paintings:
            return []
        found = [self.paintings[i] for i in self.images]
        return [painting for painting in found if painting.waits]

    def undecoded(self) -> int | None:
        """Return the number of a finished painting that is not a picture yet."""
        for i in self.images if self.paintings else ():
            if self.paintings[i].finished is not None and self.pictures[i] is None:
                return i
        return None

    def next_pass(self, index: int) -> Pass | None:
        """Return the pass that follows for a picture, or None when it is done."""
        stage = self.stages[index] + 1
        return self.passes[stage] if stage < len(self.passes) else None

    def steps_done(self, index: int) -> int:
        """Return how many steps of all passes a picture has behind it."""
        before = sum(plan.run_steps for plan in self.plans[: self.stages[index]])
        return before + self.paintings[index].steps_done

    def close(self) -> None:
        """End everything, wherever it is."""
        if self.work is not None:
            self.work.close()
        for painting in self.paintings:
            painting.close()

    def step(self) -> Step | None:
        """Return the next step to tell: the slowest painting's, or the end with the pictures."""
        if not self.paintings:
            return None
        done = min(self.steps_done(i) for i in self.images)
        pictures = tuple(p for p in (self.pictures[i] for i in self.images) if p is not None)
        ended = len(pictures) == len(self.images)
        index = self.total if ended else min(done, self.total - 1)
        if index <= self.told:
            return None
        self.told = index
        return Step(
            index=index,
            total=self.total,
            pictures=pictures if ended else None,
            images=tuple(self.images),
            flagged=self.model.flagged(pictures) if ended else (),
            state=self._state() if ended else None,
            draw_preview=_preview_of(self.model, [self.paintings[i].denoised for i in self.images]),
        )

    def _state(self) -> bytes | None:
        """Return what a job that was stopped early goes on from."""
        if not self.plans[0].stopped or len(self.images) < self.params.images:
            return None
        return pack(self.params, [painting.answers for painting in self.paintings])


def _preview_of(model: Model, estimates: Sequence[Tensor | None]) -> Callable[[], Image.Image]:
    known = [estimate for estimate in estimates if estimate is not None]
    # Pictures of a job may be in different passes, and so of different sizes, for a while.
    same = [estimate for estimate in known if estimate.shape == known[0].shape]

    def draw() -> Image.Image:
        with torch.inference_mode():
            images = model.preview.images(torch.stack(same).float().cpu())
        return make_grid(pictures_from(images), columns=math.ceil(math.sqrt(len(same))))

    return draw
