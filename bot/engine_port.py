"""What the bot needs of an engine, and nothing more.

Promises that the bot never learns how pictures are made: `diffusion.Engine` fits this, and so does
the engine of the tests, which needs no torch.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from PIL import Image

from diffusion import Params, Step


class Steps(Protocol):
    """The steps of one job; `aclose` (or `contextlib.aclosing`) cancels it."""

    def __aiter__(self) -> AsyncIterator[Step]:
        """Return an iterator over the steps."""

    async def aclose(self) -> None:
        """Give the job up; its rows leave the device."""


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
    ) -> Steps:
        """Return the steps of a job; the last has the pictures. Closing them frees the device."""
