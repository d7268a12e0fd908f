"""The row machine: many people's pictures, each at its own step, in one forward pass.

A *painting* is one picture of one job: a sampler coroutine that waits for a denoised estimate. A
*row* is one latent with one context at one timestep; a guided painting needs two. Each `tick`
gathers the rows of paintings that can share a forward pass (same model, latent shape, context
length and borders), combines guidance and sends every painting its answer. Promises: one thread, no
waiting, no knowledge of users. A painting's noise comes from its own generator, so what it becomes
depends on its params and the model alone, up to the rounding of different batch sizes.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from diffusion.errors import DiffusionError, NumericalError, OutOfMemoryError
from diffusion.model import Model
from diffusion.networks.convolution import borders
from diffusion.painting import Painting, start_painting
from diffusion.params import Params
from diffusion.pictures import make_grid
from diffusion.pixels import pictures_from, tensor_from
from diffusion.plan import Plan, plan_for
from diffusion.step import Step
from diffusion.text import Conditioning

# Encoded prompts kept for the next job: the empty negative prompt is everybody's.
_CONTEXTS: Final = 256


class Job:
    """One submission inside the machine: its paintings and what it has told so far."""

    def __init__(self, model: Model, params: Params, plan: Plan, paintings: list[Painting]) -> None:
        self.model = model
        self.params = params
        self.plan = plan
        self.paintings = paintings
        self.told = 0
        self.pictures: list[Image.Image | None] = [None] * len(paintings)

    def undecoded(self) -> int | None:
        """Return the index of a finished painting that is not a picture yet."""
        for i, painting in enumerate(self.paintings):
            if painting.finished is not None and self.pictures[i] is None:
                return i
        return None

    def step(self) -> Step | None:
        """Return the next step to tell: the slowest painting's, or the end with the pictures."""
        done = min(painting.answered for painting in self.paintings)
        pictures = tuple(picture for picture in self.pictures if picture is not None)
        ended = len(pictures) == len(self.paintings)
        index = self.plan.evaluations if ended else min(done, self.plan.evaluations - 1)
        if index <= self.told:
            return None
        self.told = index
        return Step(
            index=index,
            total=self.plan.evaluations,
            pictures=pictures if ended else None,
            draw_preview=_preview_of(self.model, [p.denoised for p in self.paintings]),
        )


def _preview_of(model: Model, estimates: Sequence[Tensor | None]) -> Callable[[], Image.Image]:
    known = [estimate for estimate in estimates if estimate is not None]

    def draw() -> Image.Image:
        with torch.inference_mode():
            images = model.preview.images(torch.stack(known).float().cpu())
        return make_grid(pictures_from(images))

    return draw


Answer: TypeAlias = tuple[Job, Step | DiffusionError]


@dataclass(frozen=True, slots=True)
class _Class:
    """What paintings must have in common to share a forward pass."""

    model: int
    shape: tuple[int, ...]
    context: int
    tile: bool


class Machine:
    """Paint jobs row by row. Call `add`, then `tick` while `busy`; from one thread only."""

    def __init__(self, *, max_batch: int) -> None:
        self.max_batch = max_batch
        self.seconds_per_tick: float | None = None
        self._jobs: list[Job] = []
        self._contexts: OrderedDict[tuple[int, tuple[str, ...]], Conditioning] = OrderedDict()
        self._ticks = 0

    @property
    def busy(self) -> bool:
        """Whether a tick has something to do."""
        return bool(self._jobs)

    @torch.inference_mode()
    def add(self, model: Model, params: Params, init_image: Image.Image | None = None,
            latents: Tensor | None = None) -> Job:  # fmt: skip
        """Start a job; it joins at the next tick.

        `latents` (images x C x h x w, standard normal) replaces the noise of the seeds. Raises
        ParamsError.
        """
        plan = plan_for(model, params, has_image=init_image is not None)
        shape = model.latent_shape(params.width, params.height)
        noise = _check_noise(latents, (params.images, *shape))
        source = None
        if init_image is not None:
            source = self._encode_image(model, params, init_image)
        guided = params.guidance_scale != 1.0
        prompts = (params.prompt, params.negative_prompt) if guided else (params.prompt,)
        context = self._encode_prompts(model, prompts).context
        paintings = [
            start_painting(
                plan,
                seed=params.seed + i,
                shape=shape,
                context=context,
                noise=None if noise is None else noise[i],
                source=source,
            )
            for i in range(params.images)
        ]
        job = Job(model, params, plan, paintings)
        self._jobs.append(job)
        return job

    def remove(self, job: Job) -> None:
        """Drop a job: its rows are gone from the next tick on."""
        if job in self._jobs:
            self._jobs.remove(job)
            for painting in job.paintings:
                painting.close()

    @torch.inference_mode()
    def tick(self) -> list[Answer]:
        """Run one forward pass and decode at most one picture; return what jobs have to tell."""
        answers: list[Answer] = []
        batch = self._gather()
        if batch:
            self._ticks += 1
            started = time.perf_counter()
            answers += self._advance(batch)
            self._measure(time.perf_counter() - started)
        self._decode_one()
        for job in list(self._jobs):
            step = job.step()
            if step is not None:
                answers.append((job, step))
                if step.pictures is not None:
                    self._jobs.remove(job)
        return answers

    def _gather(self) -> list[tuple[Job, Painting]]:
        """Choose the paintings of the next forward pass: those that waited longest, and their like.

        The one that waited longest decides what may share; so no class of rows starves another.
        """
        waiting = [(j, p) for j in self._jobs for p in j.paintings if p.request is not None]
        waiting.sort(key=lambda pair: pair[1].last_tick)
        chosen: list[tuple[Job, Painting]] = []
        rows = 0
        for job, painting in waiting:
            if chosen and _class_of(job, painting) != _class_of(*chosen[0]):
                continue
            if chosen and rows + painting.rows > self.max_batch:
                break
            chosen.append((job, painting))
            rows += painting.rows
        return chosen

    def _advance(self, batch: Sequence[tuple[Job, Painting]]) -> Iterator[Answer]:
        """Run the batch and send every painting its estimate; yield the jobs that failed."""
        model = batch[0][0].model
        try:
            estimates = _denoise(model, batch)
        except torch.OutOfMemoryError as error:
            reason = str(error)
        else:
            yield from self._send(batch, estimates)
            return
        # Outside the except block: the exception would keep the tensors alive (reliability first).
        yield from self._make_room(batch, reason)

    def _send(
        self, batch: Sequence[tuple[Job, Painting]], estimates: Sequence[Tensor]
    ) -> Iterator[Answer]:
        failed: set[int] = set()
        for (job, painting), estimate in zip(batch, estimates, strict=True):
            painting.last_tick = self._ticks
            if id(job) in failed:
                continue
            if not bool(torch.isfinite(estimate).all()):
                failed.add(id(job))
                self.remove(job)
                yield (
                    job,
                    NumericalError(
                        f"the model {job.params.model!r} gave numbers that are not finite at step "
                        f"{painting.answered + 1}; try another sampler, fewer guidance or float32."
                    ),
                )
                continue
            painting.answer(estimate)

    def _make_room(self, batch: Sequence[tuple[Job, Painting]], reason: str) -> Iterator[Answer]:
        """After running out of memory: smaller batches from now on, or give up what never fits."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(batch) > 1:
            self.max_batch = max(2, self.max_batch // 2)
            return
        job = batch[0][0]
        self.remove(job)
        yield (
            job,
            OutOfMemoryError(
                f"one picture of {job.params.width}x{job.params.height} does not fit into the "
                f"device's memory ({reason}); choose a smaller size."
            ),
        )

    def _decode_one(self) -> None:
        for job in self._jobs:
            index = job.undecoded()
            if index is not None:
                latents = job.paintings[index].finished
                if latents is not None:
                    with borders(seamless=job.params.tile):
                        images = job.model.vae.decode(
                            latents[None].to(job.model.device, job.model.dtype)
                        )
                    job.pictures[index] = pictures_from(images.float().cpu())[0]
                return

    def _measure(self, seconds: float) -> None:
        known = self.seconds_per_tick
        self.seconds_per_tick = seconds if known is None else 0.9 * known + 0.1 * seconds

    def _encode_prompts(self, model: Model, prompts: tuple[str, ...]) -> Conditioning:
        key = (id(model), prompts)
        if key not in self._contexts:
            self._contexts[key] = model.encode_prompts(prompts)
        self._contexts.move_to_end(key)
        if len(self._contexts) > _CONTEXTS:
            self._contexts.popitem(last=False)
        return self._contexts[key]

    def _encode_image(self, model: Model, params: Params, picture: Image.Image) -> Tensor:
        images = tensor_from(picture, width=params.width, height=params.height)
        with borders(seamless=params.tile):
            latents = model.vae.encode(images.to(model.device, model.dtype))
        return latents[0].float().cpu()


def _check_noise(latents: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
    if latents is not None and tuple(latents.shape) != shape:
        raise ValueError(f"latents are {tuple(latents.shape)}; this job needs {shape}")
    return latents


def _class_of(job: Job, painting: Painting) -> _Class:
    return _Class(
        model=id(job.model),
        shape=tuple(painting.shape),
        context=painting.context.shape[1],
        tile=job.params.tile,
    )


def _denoise(model: Model, batch: Sequence[tuple[Job, Painting]]) -> list[Tensor]:
    """Run one forward pass over all rows of the batch; return each painting's denoised estimate."""
    latents, timesteps, contexts = [], [], []
    for _, painting in batch:
        row = painting.network_input()
        latents += [row] * painting.rows
        timesteps += [painting.timestep()] * painting.rows
        contexts.append(painting.context)
    with borders(seamless=batch[0][0].params.tile):
        output = model.backbone(
            torch.stack(latents).to(model.device, model.dtype),
            torch.tensor(timesteps, dtype=torch.float32, device=model.device),
            torch.cat(contexts),
        )
    rows = output.float().cpu().split([painting.rows for _, painting in batch])
    return [p.estimate(part) for (_, p), part in zip(batch, rows, strict=True)]
