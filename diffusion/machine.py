"""The row machine: many people's pictures, each at its own step, in one forward pass.

A *painting* is one picture of one job: a sampler coroutine that waits for a denoised estimate. A
*row* is one latent with one context at one timestep; a guided painting needs two. Each `tick`
gathers the rows of paintings that can share a forward pass (same model, latent shape, context
length, borders, LoRAs and ControlNets), combines guidance and sends every painting its answer.
Promises: one thread, no waiting, no knowledge of users. A painting's noise comes from its own
generator, so what it becomes depends on its params and the model alone, up to the rounding of
different batch sizes.
"""

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import torch
from torch import Tensor

from diffusion.addons import Styles, styles_for
from diffusion.conditions import Guide, guide_for
from diffusion.errors import DiffusionError, NumericalError, OutOfMemoryError
from diffusion.inputs import Inputs
from diffusion.job import Hint, Job, Pass
from diffusion.model import Model
from diffusion.networks.convolution import borders
from diffusion.painting import Painting
from diffusion.params import Params
from diffusion.pixels import pictures_from, tensor_from
from diffusion.plan import plan_for, second_plan
from diffusion.rows import denoise, kind_of
from diffusion.starts import OVERLAP, TILE, WHOLE, check_noise, second_start, start_paintings
from diffusion.step import Step
from diffusion.text import Conditioning
from diffusion.tiles import decode_tiled

# Encoded prompts kept for the next job: the empty negative prompt is everybody's.
_CONTEXTS: Final = 256

Answer: TypeAlias = tuple[Job, Step | DiffusionError]


class Machine:
    """Paint jobs row by row. Call `add`, then `tick` while `busy`; from one thread only."""

    def __init__(self, *, max_batch: int) -> None:
        self.max_batch = max_batch
        self.seconds_per_tick: float | None = None
        self._jobs: list[Job] = []
        self._contexts: OrderedDict[tuple[object, ...], Conditioning] = OrderedDict()
        self._ticks = 0

    @property
    def busy(self) -> bool:
        """Whether a tick has something to do."""
        return bool(self._jobs)

    @torch.inference_mode()
    def add(self, model: Model, params: Params, inputs: Inputs | None = None,
            latents: Tensor | None = None) -> Job:  # fmt: skip
        """Start a job; it joins at the next tick.

        `latents` (images x C x h x w, standard normal) replaces the noise of the seeds. Raises
        ParamsError.
        """
        inputs = inputs or Inputs()
        inputs.check(params)
        plan = plan_for(model, params, has_image=inputs.init_image is not None)
        shape = model.latent_shape(params.width, params.height)
        noise = check_noise(latents, (params.images, *shape))
        styles = styles_for(model, params)
        guide = self._guide(model, params, styles)
        passes = [Pass(params=params, plan=plan, guide=guide, hints=_hints(model, params, inputs))]
        if params.hires > 1 and not plan.stopped:
            passes.append(self._second_pass(model, params, inputs, styles))
        paintings = start_paintings(model, params, plan, guide, inputs, noise)
        job = Job(model, params, passes, styles, paintings)
        self._jobs.append(job)
        return job

    def _second_pass(self, model: Model, params: Params, inputs: Inputs, styles: Styles) -> Pass:
        """Work out the larger pass of a job, in multiples that the network can halve."""
        unit = model.info.size_multiple
        larger = replace(
            params,
            width=max(unit, round(params.width * params.hires / unit) * unit),
            height=max(unit, round(params.height * params.hires / unit) * unit),
        )
        return Pass(
            params=larger,
            plan=second_plan(model, larger),
            guide=self._guide(model, larger, styles),
            hints=_hints(model, larger, inputs),
        )

    def _guide(self, model: Model, params: Params, styles: Styles) -> Guide:
        def encode(prompts: Sequence[str]) -> Conditioning:
            return self._encode_prompts(model, tuple(prompts), params.clip_skip, styles)

        return guide_for(model, params, encode, width=params.width, height=params.height)

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
            if chosen and kind_of(job, painting) != kind_of(*chosen[0]):
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
            estimates = denoise(model, batch)
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
        """Turn one finished painting into a picture, or into the start of its second pass."""
        for job in self._jobs:
            index = job.undecoded()
            if index is None:
                continue
            painting = job.paintings[index]
            picture = pictures_from(_decode(job, painting))[0]
            following = job.next_pass(index)
            if following is None:
                job.pictures[index] = picture
                return
            job.paintings[index] = second_start(
                job.model, following.params, following.plan, following.guide, picture, index
            )
            job.stages[index] += 1
            return

    def _measure(self, seconds: float) -> None:
        known = self.seconds_per_tick
        self.seconds_per_tick = seconds if known is None else 0.9 * known + 0.1 * seconds

    def _encode_prompts(
        self, model: Model, prompts: tuple[str, ...], clip_skip: int, styles: Styles
    ) -> Conditioning:
        key = (id(model), prompts, clip_skip, styles.text_key)
        if key not in self._contexts:
            with styles.on_text(model):
                self._contexts[key] = model.encode_prompts(prompts, clip_skip)
        self._contexts.move_to_end(key)
        if len(self._contexts) > _CONTEXTS:
            self._contexts.popitem(last=False)
        return self._contexts[key]


def _decode(job: Job, painting: Painting) -> Tensor:
    """Decode one finished painting to 1 x 3 x H x W on the CPU; large ones in tiles."""
    model = job.model
    if painting.finished is None:
        raise RuntimeError("only finished paintings are decoded")
    latents = painting.finished[None].to(model.device, model.vae_dtype)
    with borders(seamless=job.params.tile):
        if max(latents.shape[-2:]) > WHOLE:
            images = decode_tiled(
                model.vae.decode, latents, tile=TILE, overlap=OVERLAP, seamless=job.params.tile
            )
        else:
            images = model.vae.decode(latents)
    return images.float().cpu()


def _hints(model: Model, params: Params, inputs: Inputs) -> tuple[Hint, ...]:
    return tuple(
        Hint(
            control=control,
            network=model.addons.control(control.model, model),
            # Hints are pictures in [0, 1], not in [-1, 1] (Zhang et al. 2023).
            picture=(tensor_from(picture, width=params.width, height=params.height) + 1) / 2,
        )
        for control, picture in zip(params.controls, inputs.hints, strict=True)
    )
