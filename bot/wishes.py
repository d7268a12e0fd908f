"""What somebody wishes of a picture: the new job, from what a button or a modal said.

Promises that a wish becomes a complete job or one sentence that says why not, that nothing of a
grid's spread is inherited (seeds, chaos, quality), and that pictures are drawn and encoded in
threads. Answers nobody and enqueues nothing.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from bot import canvases, jobs, texts, texts_pictures
from bot.canvases import Canvas, Cell
from bot.config import Config
from bot.image_prompt import shaped
from bot.jobs import Asked, Draft, Origin
from bot.permissions import Action
from bot.services import Services
from diffusion import ModelInfo, Params
from storage import JobKind, NewJob, StorageError

if TYPE_CHECKING:
    from PIL.Image import Image

# Fooocus's numbers for near and far; an enlargement may only touch up what is there.
STRENGTHS: Final = MappingProxyType({"subtle": 0.5, "strong": 0.85})
CREATIVE: Final = 0.35
# New area starts from the blurred picture around it: a little of that shows the way.
NEW_AREA: Final = 0.95
REGION: Final = 0.9
MOST_PIXELS: Final = 4096 * 4096
MOST_ZOOM: Final = 2.0

Reply = NewJob | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was said. `draft` is what the new job is like, `seed` its noise.

    What was not said is None: then the button's own number holds. `mask` is the picture of a mask;
    `reshaped` says that the draft's shape was asked for by name.
    """

    draft: Draft
    seed: int
    strength: float | None = None
    factor: float | None = None
    reshaped: bool = False
    cells: frozenset[Cell] = frozenset()
    mask: "Image | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything that a wish is fulfilled with."""

    services: Services
    asked: Asked
    action: Action
    origin: Origin
    model: ModelInfo | None

    @property
    def made_by(self) -> ModelInfo:
        """The model that paints; whoever asks has checked that it is here."""
        if self.model is None:
            raise LookupError(f"the model of job {self.origin.job.id} is gone")
        return self.model

    @property
    def config(self) -> Config:
        """The settings in force."""
        return self.services.settings()

    async def tile(self) -> "Image":
        """Return the picture that was pressed."""
        data = await self.services.store.read_file(self.origin.sha256)
        return await asyncio.to_thread(jobs.own_picture, data)

    def job(self, kind: JobKind, params: Params, wish: Wish, details: Mapping[str, Any]) -> NewJob:
        """Make the new job's row."""
        return jobs.new_job(
            kind,
            params,
            self.asked,
            prompt=wish.draft.prompt,
            details={**wish.draft.details, **details},
            origin=self.origin,
        )


Fulfil = Callable[[Desk, Wish], Awaitable[Reply]]


async def fulfil(desk: Desk, wish: Wish) -> Reply:
    """Return the job that a wish asks for, or the sentence that says why there is none."""
    try:
        return await FULFILLED[desk.action](desk, wish)
    except StorageError:
        return texts.picture_gone(desk.origin.index)


async def _alone(desk: Desk, wish: Wish) -> Reply:
    del wish
    return jobs.upscale_job(desk.origin.job, desk.asked, index=desk.origin.index)


async def _vary(desk: Desk, wish: Wish) -> Reply:
    how = {Action.VARY_SUBTLE: "subtle", Action.VARY_STRONG: "strong"}.get(desk.action, "")
    strength = wish.strength or STRENGTHS.get(how, STRENGTHS["strong"])
    params = replace(
        wish.draft.params,
        init_image=await _in_shape(desk, wish, desk.origin.sha256),
        strength=strength,
        seed=wish.seed,
        images=desk.config.defaults.images,
    )
    said = next((name for name, own in STRENGTHS.items() if own == strength), None)
    return desk.job(JobKind.VARY, params, wish, {} if said is None else {"how": said})


async def _in_shape(desk: Desk, wish: Wish, sha256: str) -> str:
    """Return the picture to start from, cut to a shape that was asked for by name."""
    if not wish.reshaped:
        return sha256
    params = wish.draft.params
    return await shaped(desk.services.store, sha256, params.width, params.height)


async def _enlarge(desk: Desk, wish: Wish) -> Reply:
    factor, creative = (4 if desk.action is Action.UP_4X else 2), desk.action is Action.CREATIVE_2X
    tile = await desk.tile()
    width, height = tile.width * factor, tile.height * factor
    if width * height > MOST_PIXELS:
        return texts_pictures.too_large(width=width, height=height, limit=MOST_PIXELS)
    details: dict[str, Any] = {
        "factor": factor,
        "how": "creative" if creative else "subtle",
        "sources": [desk.origin.sha256],
    }
    if not creative:
        params = jobs.alone(Params.from_json(desk.origin.job.params), desk.origin.index)
        return desk.job(JobKind.ENLARGE, params, wish, details)
    base = wish.draft.params
    details["size"] = [base.width, base.height]
    # What is too large to paint here is painted as large as may be, and resampled from there.
    most, unit = desk.config.limits.max_pixels, desk.made_by.size_multiple
    share = min(1.0, math.sqrt(most / (width * height)))
    params = replace(
        jobs.without_second_pass(base),
        width=_rounded_down(width * share, unit),
        height=_rounded_down(height * share, unit),
        init_image=desk.origin.sha256,
        strength=wish.strength or CREATIVE,
        seed=wish.seed,
        images=1,
        stop=100,
    )
    return desk.job(JobKind.ENLARGE, params, wish, details)


def _rounded_down(side: float, unit: int) -> int:
    return max(unit, math.floor(side / unit + 1e-9) * unit)


async def _zoom(desk: Desk, wish: Wish) -> Reply:
    factor = wish.factor or {Action.ZOOM_15: 1.5}.get(desk.action, MOST_ZOOM)
    base, model = jobs.draft_of(desk.origin.job).params, desk.made_by
    tile = canvases.fitted(await desk.tile(), base.width, base.height)
    size = wish.draft.params.width, wish.draft.params.height
    if wish.reshaped and size != tile.size:
        canvas = await asyncio.to_thread(canvases.reshaped, tile, factor, size, model)
    elif factor > 1:
        canvas = await asyncio.to_thread(canvases.zoomed, tile, factor, model)
    else:
        return texts_pictures.nothing_to_paint()
    return await _outpaint(desk, wish, JobKind.ZOOM, canvas, {"factor": factor})


async def _pan(desk: Desk, wish: Wish) -> Reply:
    tile = await _painted_tile(desk)
    canvas = await asyncio.to_thread(canvases.panned, tile, desk.action, desk.made_by)
    return await _outpaint(desk, wish, JobKind.PAN, canvas, {"way": str(desk.action)})


async def _square(desk: Desk, wish: Wish) -> Reply:
    tile = await _painted_tile(desk)
    if tile.width == tile.height:
        return texts_pictures.is_square()
    canvas = await asyncio.to_thread(canvases.squared, tile, desk.made_by)
    return await _outpaint(desk, wish, JobKind.SQUARE, canvas, {})


async def _region(desk: Desk, wish: Wish) -> Reply:
    tile = await _painted_tile(desk)
    mask = wish.mask
    if mask is None and not wish.cells:
        return texts_pictures.no_region()
    if mask is None:
        mask = canvases.cells_mask(wish.cells, tile.width, tile.height)
    elif canvases.is_empty(mask):
        return texts_pictures.empty_mask()
    canvas = await asyncio.to_thread(canvases.region, tile, mask)
    wish = replace(wish, strength=wish.strength or REGION)
    return await _outpaint(desk, wish, JobKind.REGION, canvas, {})


async def _painted_tile(desk: Desk) -> "Image":
    """Return the pressed picture at the size it was painted in, also when it was enlarged."""
    base = jobs.draft_of(desk.origin.job).params
    return canvases.fitted(await desk.tile(), base.width, base.height)


async def _outpaint(
    desk: Desk, wish: Wish, kind: JobKind, canvas: Canvas, details: Mapping[str, Any]
) -> Reply:
    """Keep canvas and mask, and make the job that paints where the mask is white."""
    width, height = canvas.picture.size
    most = desk.config.limits.max_pixels
    if width * height > most:
        return texts.too_many_pixels(width=width, height=height, limit=most)
    store = desk.services.store
    picture, mask = await asyncio.to_thread(canvas.files)
    params = replace(
        jobs.without_second_pass(wish.draft.params),
        width=width,
        height=height,
        init_image=await store.keep_file(picture),
        mask=await store.keep_file(mask),
        strength=wish.strength or NEW_AREA,
        seed=wish.seed,
        images=desk.config.defaults.images,
    )
    return desk.job(kind, params, wish, details)


async def _again(desk: Desk, wish: Wish) -> Reply:
    """Paint the whole job again, with other words where they were changed."""
    job = desk.origin.job
    new = jobs.reroll_job(job, desk.asked, seed=wish.seed)
    old, params = Params.from_json(job.params), wish.draft.params
    if wish.draft == jobs.draft_of(job):
        # Nothing but the strength: chaos and quality are the job's own then.
        params = replace(old, seed=wish.seed, strength=wish.strength or old.strength)
        return replace(new, params=params.to_json())
    params = replace(params, seed=wish.seed, images=old.images)
    if old.init_image is not None:
        params = replace(
            params,
            init_image=await _again_from(desk, wish, old),
            mask=old.mask,
            strength=wish.strength or old.strength,
        )
    if old.mask is not None:
        params = replace(jobs.without_second_pass(params), width=old.width, height=old.height)
    own = {} if new.kind is JobKind.REROLL else jobs.details_of(new)
    return replace(
        new,
        params=params.to_json(),
        prompt=wish.draft.prompt,
        model=params.model,
        details=json.dumps({**own, **wish.draft.details}, sort_keys=True),
    )


async def _again_from(desk: Desk, wish: Wish, old: Params) -> str | None:
    if old.init_image is None or old.mask is not None:
        return old.init_image
    return await _in_shape(desk, wish, old.init_image)


async def _go_on(desk: Desk, wish: Wish) -> Reply:
    del wish
    if await desk.services.store.state(desk.origin.job.id) is None:
        return texts_pictures.no_state()
    return jobs.continue_job(desk.origin.job, desk.asked)


FULFILLED: Final[Mapping[Action, Fulfil]] = MappingProxyType(
    {
        Action.UPSCALE: _alone,
        Action.VARY: _vary,
        Action.VARY_SUBTLE: _vary,
        Action.VARY_STRONG: _vary,
        Action.REMIX: _vary,
        Action.REGION: _region,
        Action.SUBTLE_2X: _enlarge,
        Action.CREATIVE_2X: _enlarge,
        Action.UP_4X: _enlarge,
        Action.ZOOM_15: _zoom,
        Action.ZOOM_2: _zoom,
        Action.ZOOM_CUSTOM: _zoom,
        Action.LEFT: _pan,
        Action.RIGHT: _pan,
        Action.UP: _pan,
        Action.DOWN: _pan,
        Action.SQUARE: _square,
        Action.REROLL: _again,
        Action.CONTINUE: _go_on,
    }
)
