"""What the bot needs of an engine, and nothing more.

Promises that the bot never learns how pictures are made: `diffusion.Engine` fits this, and so does
the engine of the tests, which needs no torch.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from PIL import Image

from diffusion import Params, Step


class EnginePort(Protocol):
    """Paints many jobs at once."""

    @property
    def device(self) -> str:
        """Say in a few words where and how precisely the engine computes."""

    @property
    def seconds_per_step(self) -> float | None:
        """Return the mean seconds of one pass over the device; None before the first."""

    def submit(
        self,
        params: Params,
        *,
        init_image: Image.Image | None = None,
        mask: Image.Image | None = None,
        hints: Sequence[Image.Image] = (),
    ) -> AsyncGenerator[Step, None]:
        """Yield the steps of a job; the last carries the pictures. Closing it frees the device."""
