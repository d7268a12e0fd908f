"""One running job at the device: its steps, told to whoever watches, until there are pictures.

Promises that the device time is noted where it is used, that pictures which the checkpoint objects
to are black where the settings say so, that pictures dropped on the way are gone for good, and that
whoever stops waiting here frees the device. Stores nothing and sends nothing.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bot.engine_port import EnginePort, Steps
from bot.estimates import Estimator, work_of
from bot.judged import check_verdicts, flagged_of
from bot.making import Order, Painted
from bot.poster import CrashPoint
from bot.progress import Progress
from bot.queue import share_of
from diffusion import Step
from diffusion.pictures import withhold
from storage import Job

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(slots=True, kw_only=True, eq=False)
class Running:
    """A job that is being worked on, as /info shows it.

    `images` are the numbers (from 0) of its pictures that are still painted, `flagged` those (from
    1) that the checkpoint objects to; `judged` says whether it had a word on the last painting.
    """

    job: Job
    task: "asyncio.Task[None] | None" = None
    progress: Progress | None = None
    steps: Steps | None = None
    images: tuple[int, ...] = ()
    steps_left: int | None = None
    device_seconds: float = 0.0
    flagged: set[int] = field(default_factory=set)
    judged: bool = False

    def keep(self, number: int) -> bool:
        """Go on with one picture (from 0) alone; False when it is not being painted."""
        if self.steps is None or number not in self.images:
            return False
        self.steps.keep({number})
        self.images = (number,)
        return True


class Brush:
    """Makes the paintings of one running job."""

    def __init__(
        self,
        running: Running,
        *,
        engine: EnginePort,
        estimates: Estimator,
        withheld: Callable[[], bool],
        must_judge: Callable[[], bool],
        company: Callable[[], int],
        crash: CrashPoint,
    ) -> None:
        self._running = running
        self._engine = engine
        self._estimates = estimates
        self._withheld = withheld
        self._must_judge = must_judge
        self._company = company
        self._crash = crash

    async def __call__(self, order: Order) -> Painted:
        """Paint; cancelling gives the device back."""
        running, share = self._running, share_of(self._running.job.details)
        frames: list[Image] = []
        last: Step | None = None
        running.images = tuple(range(order.params.images))
        running.steps = self._engine.submit(
            order.params,
            init_image=order.init_image,
            mask=order.mask,
            hints=order.hints,
            share=share,
            state=order.state,
        )
        self._estimates.began(running.job.id, work_of(order.params, share))
        try:
            before = time.monotonic()
            async with aclosing(running.steps) as steps:
                async for step in steps:
                    now = time.monotonic()
                    # The device is shared: each job pays its part of the time.
                    running.device_seconds += (now - before) / max(1, self._company())
                    before, last = now, step
                    self._crash("step")
                    self._tell(order, step)
                    if order.film:
                        frames.append(await asyncio.to_thread(step.preview))
        finally:
            running.steps = None
        if last is None or last.pictures is None:
            raise RuntimeError(f"the engine ended job {running.job.id} without pictures")
        return self._painted(last, tuple(frames))

    def _tell(self, order: Order, step: Step) -> None:
        running = self._running
        running.images = step.images or running.images
        before = (order.part - 1) * step.total
        total = order.parts * step.total
        running.steps_left = total - before - step.index
        self._estimates.stepped(running.job.id, step.total - step.index)
        if running.progress is None or (step.pictures is not None and order.part == order.parts):
            return
        # What is shown is how far the job is, not one of its parts.
        running.progress.update(
            replace(step, index=before + step.index, total=total, pictures=None)
        )

    def _painted(self, step: Step, frames: "tuple[Image, ...]") -> Painted:
        pictures = step.pictures or ()
        check_verdicts(step, expected=self._must_judge())
        self._running.judged = bool(step.flagged)
        self._running.flagged |= flagged_of(step)
        if self._withheld() and any(step.flagged):
            pictures = withhold(pictures, step.flagged)
            # A film shows how the black ones came about.
            frames = ()
        images = step.images or tuple(range(len(pictures)))
        return Painted(pictures=pictures, images=images, state=step.state, frames=frames)
