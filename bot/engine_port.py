"""What the bot needs of an engine, and nothing more.

Promises that the bot never learns how pictures are made: `diffusion.Engine` fits this, and so does
the engine of the tests, which needs no torch.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from diffusion import Influence, Params, Step, TokenCount
from diffusion.fairness import Share


class Steps(Protocol):
    """The steps of one job; `aclose` (or `contextlib.aclosing`) cancels it."""

    def __aiter__(self) -> AsyncIterator[Step]:
        """Return an iterator over the steps."""

    def keep(self, images: Iterable[int]) -> None:
        """Go on with these pictures (numbers from 0) alone."""

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
        share: Share = "fast",
        state: bytes | None = None,
    ) -> Steps:
        """Return the steps of a job; the last has the pictures. Closing them frees the device.

        `share` is its part of the device beside others; `state` is what a job that was stopped
        early left in its last step, to go on from.
        """

    def look_again(
        self, alias: str, loras: Path | None, embeddings: Path | None, changed: Collection[str]
    ) -> None:
        """Take in a model's add-ons as they lie in their folders now; `changed` are read anew.

        Blocks. DiffusionError when a folder cannot be read.
        """

    async def describe(self, model: str, picture: Image.Image, *, count: int = 4) -> list[str]:
        """Return prompts for a picture, the best first; AbilityError where a model has no way."""

    async def count_tokens(self, params: Params) -> TokenCount | None:
        """Count the tokens of a prompt; None for a model without a tokenizer."""

    async def influence(self, model: str, prompt: str) -> tuple[Influence, ...]:
        """Return how much each word of a prompt counts, in order."""

    async def blend(
        self,
        model: str,
        pictures: Sequence[Image.Image],
        weights: Sequence[float] | None = None,
    ) -> Image.Image:
        """Mix two to five pictures into one of the first one's size."""
