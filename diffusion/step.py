"""`Step`: what a consumer of the engine hears after each sampler step.

Promises: steps count from 1 to `total`; only the last one carries pictures; `preview` is cheap
enough for progress messages but is still work, so call it in a thread. Never imports torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of one job. `draw_preview` paints the grid of the denoised estimates (RGB).

    `images` are the numbers (from 0) of the job's pictures that are still painted, in order.
    `flagged` says for every picture of the last step whether the checkpoint's own safety checker
    objects to it; empty where the checkpoint has none. `state` is what a job that was stopped early
    goes on from (`Engine.submit`), None for others and before the end.
    """

    index: int
    total: int
    pictures: tuple[Image.Image, ...] | None = None
    images: tuple[int, ...] = ()
    flagged: tuple[bool, ...] = ()
    state: bytes | None = field(default=None, repr=False)
    draw_preview: Callable[[], Image.Image] = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.total:
            raise ValueError(f"step {self.index} is outside 1..{self.total}")
        if self.pictures is not None and self.index != self.total:
            raise ValueError(f"pictures belong to step {self.total}, not to step {self.index}")

    def preview(self) -> Image.Image:
        """Return a grid of the present estimate of every image, small and RGB, near a square."""
        return self.draw_preview()
