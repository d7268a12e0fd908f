"""What a recipe works with: one running job, the files it names, and the brush.

Promises that a recipe sees no queue, no message and no device: it asks for paintings and gives
back the files to keep. Cancelling, "keep only", progress and withheld pictures happen behind
`Making.paint`. Which kind of job has which recipe stands in `bot.recipes`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot import jobs
from bot.config import Config
from bot.engine_port import EnginePort
from bot.jobs import details_of
from diffusion import ModelInfo, Params
from storage import Job, NewJob, NewPicture, StorageError, Store

if TYPE_CHECKING:
    from PIL.Image import Image


class SourceGoneError(Exception):
    """A picture that a job starts from is not kept any more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Painted:
    """What one painting gave.

    `images` are the numbers (from 0) of the pictures, in order: all of them, unless somebody chose
    to keep only some. `state` is what a painting that was stopped early goes on from. `frames` are
    a preview of each step, where a film was asked for.
    """

    pictures: "tuple[Image, ...]"
    images: tuple[int, ...]
    state: bytes | None = None
    frames: "tuple[Image, ...]" = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """One painting to make: part `part` of `parts` that the job is made of, counted from 1."""

    params: Params
    init_image: "Image | None" = None
    mask: "Image | None" = None
    hints: "tuple[Image, ...]" = ()
    state: bytes | None = None
    part: int = 1
    parts: int = 1
    film: bool = False


Brush = Callable[[Order], Awaitable[Painted]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Making:
    """A running job, as its recipe sees it."""

    job: Job
    params: Params
    model: ModelInfo | None
    store: Store
    engine: EnginePort
    settings: Config
    brush: Brush

    @property
    def details(self) -> Mapping[str, Any]:
        """What the job says beyond its params."""
        return details_of(self.job)

    async def paint(
        self,
        params: Params,
        *,
        init_image: "Image | None" = None,
        mask: "Image | None" = None,
        state: bytes | None = None,
        part: int = 1,
        parts: int = 1,
        film: bool = False,
    ) -> Painted:
        """Paint on the device. May be called several times, as part 1, 2, … of so many parts."""
        hints = [await self.picture(control.image) for control in params.controls]
        order = Order(
            params=params,
            init_image=init_image,
            mask=mask,
            hints=tuple(hints),
            state=state,
            part=part,
            parts=parts,
            film=film,
        )
        return await self.brush(order)

    async def file(self, sha256: str) -> bytes:
        """Return a kept file; SourceGoneError when it is not there any more."""
        try:
            return await self.store.read_file(sha256)
        except StorageError as error:
            raise SourceGoneError(f"job {self.job.id} needs a file that is gone") from error

    async def picture(self, sha256: str) -> "Image":
        """Return a kept picture, RGB; SourceGoneError when it is not there any more."""
        return await asyncio.to_thread(jobs.own_picture, await self.file(sha256))

    async def sources(self, params: Params) -> "tuple[Image | None, Image | None]":
        """Return what params start from, and where they repaint."""
        init, mask = params.init_image, params.mask
        return (
            None if init is None else await self.picture(init),
            None if mask is None else await self.picture(mask),
        )


Make = Callable[[Making], Awaitable[list[NewPicture]]]


def never(job: NewJob) -> bool:
    """Say of any job that it needs the device, and so takes its turn in the queue."""
    del job
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the pictures of one kind of job are made.

    `make` returns what is kept: index 0 is what is posted, 1 and up its single pictures.
    `express` says which jobs need no device, and so pass the queue; their `make` never paints.
    `heavy` ones of them are made one after another, since they keep the processor busy.
    """

    make: Make
    express: Callable[[NewJob], bool] = never
    heavy: bool = False
