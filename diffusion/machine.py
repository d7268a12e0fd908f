"""The row machine: many people's pictures, each at its own step, in one forward pass.

A *painting* is one picture of one job: a sampler coroutine that waits for a denoised estimate. A
*row* is one latent with one context at one timestep; a guided painting needs two. Each `tick`
gathers the rows of paintings that can share a forward pass (same model, latent shape, context
length, borders and ControlNets), combines guidance and sends every painting its answer.
Between two passes it encodes and decodes, for as long as a pass took at most: such work never holds
up a pass by more than one tick. Promises: one thread, no waiting, no knowledge of users. What a
picture becomes depends on its params and the model alone; in strict mode to the last bit.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import torch
from torch import Tensor

from diffusion.addons import styles_for
from diffusion.errors import DiffusionError, NumericalError, OutOfMemoryError
from diffusion.exact import Deterministic
from diffusion.fairness import Fairness, Share
from diffusion.inputs import Inputs
from diffusion.job import Job
from diffusion.model import Model
from diffusion.painting import Painting
from diffusion.params import Params
from diffusion.plan import plan_for, second_plan
from diffusion.preparing import Texts, decode, larger, prepare
from diffusion.rows import Kind, denoise, kind_of
from diffusion.saved import unpack
from diffusion.starts import TILE, WHOLE, check_noise
from diffusion.step import Step

# The smallest tile that decoding falls back to when memory is short, in latent positions a side.
_LEAST_TILE: Final = 16

Answer: TypeAlias = tuple[Job, Step | DiffusionError]
Batch: TypeAlias = list[tuple[Job, Painting]]


class Machine:
    """Paint jobs row by row. Call `add`, then `tick` while `busy`; from one thread only.

    `max_batch` is the most rows of a forward pass. `deterministic`: "strict" gives every picture
    the bits it has alone, "fast" lets them differ in the last place.
    """

    def __init__(self, *, max_batch: int, deterministic: Deterministic = "strict") -> None:
        self.max_batch = max_batch
        self.deterministic: Deterministic = deterministic
        self.seconds_per_tick: float | None = None
        self._last_pass = 0.0
        self._decode_tile = WHOLE
        self._jobs: list[Job] = []
        self._texts = Texts()
        self._fairness = Fairness()

    @property
    def busy(self) -> bool:
        """Whether a tick has something to do."""
        return any(not job.paused for job in self._jobs)

    @property
    def load(self) -> int:
        """Evaluations of single pictures that its jobs still want."""
        return sum(job.left for job in tuple(self._jobs))

    @torch.inference_mode()
    def add(
        self,
        model: Model,
        params: Params,
        inputs: Inputs | None = None,
        latents: Tensor | None = None,
        *,
        share: Share = "fast",
        state: bytes | None = None,
    ) -> Job:
        """Start a job; it is prepared, and joins, at the next ticks.

        `latents` (images x C x h x w, standard normal) replaces the noise of the seeds; `state` is
        what an earlier job, stopped early, left. Raises ParamsError, CheckpointError.
        """
        inputs = inputs or Inputs()
        inputs.check(params)
        plan = plan_for(model, params, has_image=inputs.init_image is not None)
        shape = model.latent_shape(params.width, params.height)
        noise = check_noise(latents, (params.images, *shape))
        plans = [plan]
        if params.hires > 1 and not plan.stopped:
            plans.append(second_plan(model, larger(model, params)))
        styles = styles_for(model, params)
        answers = [] if state is None else unpack(params, state, plan.evaluations)
        job = Job(
            model=model,
            params=params,
            plans=tuple(plans),
            styles=styles,
            account=self._fairness.enter(share),
            images=list(range(params.images)),
        )
        job.work = prepare(job, inputs, noise, answers, self._texts)
        self._jobs.append(job)
        return job

    def remove(self, job: Job) -> None:
        """Drop a job: its rows are gone from the next tick on."""
        if job in self._jobs:
            self._jobs.remove(job)
            self._fairness.leave(job.account)
            job.close()

    @torch.inference_mode()
    def tick(self) -> list[Answer]:
        """Encode and decode for as long as the last pass took, then run one forward pass; return
        what jobs have to tell.

        That work comes first: who has just arrived joins the pass, and who has just finished is
        told before it.
        """
        answers: list[Answer] = [*self._work(self._last_pass), *self._steps()]
        started = time.perf_counter()
        batch, kind = self._gather()
        if kind is not None:
            answers += self._advance(batch, kind)
            answers += self._steps()
            self._measure(time.perf_counter() - started)
        else:
            self._last_pass = 0.0
        return answers

    def _steps(self) -> Iterator[Answer]:
        for job in list(self._jobs):
            step = job.step()
            if step is not None:
                yield job, step
                if step.pictures is not None:
                    self.remove(job)

    def _gather(self) -> tuple[Batch, Kind | None]:
        """Choose the paintings of the next forward pass: whoever's turn it is, and their like."""
        chosen: Batch = []
        kind, cap, rows = None, 0, 0
        for job in sorted(self._jobs, key=lambda job: job.account.rank):
            # Pictures of one job keep together: those that are behind come first.
            for painting in sorted(job.waiting(), key=lambda painting: painting.answered):
                own = kind_of(job, painting)
                if kind is None:
                    kind, cap = own, job.model.measured.pace.cap(own, self.max_batch)
                if own == kind and (not chosen or rows + painting.rows <= cap):
                    chosen.append((job, painting))
                    rows += painting.rows
        return chosen, kind

    def _advance(self, batch: Batch, kind: Kind) -> Iterator[Answer]:
        """Run the batch and send every painting its estimate; yield the jobs that failed."""
        model = batch[0][0].model
        try:
            estimates, seconds = denoise(model, batch, self.deterministic)
        except torch.OutOfMemoryError as error:
            reason = str(error)
        else:
            rows = sum(painting.rows for _, painting in batch)
            if seconds is not None:
                model.measured.pace.note(kind, rows, seconds)
            row_seconds = model.measured.pace.row_seconds(kind) or 0.0
            for job, painting in batch:
                self._fairness.charge(job.account, row_seconds * painting.rows)
            yield from self._send(batch, estimates)
            return
        # Outside the except block: the exception would keep the tensors alive (reliability first).
        yield from self._make_room(batch, reason)

    def _send(self, batch: Batch, estimates: Sequence[Tensor]) -> Iterator[Answer]:
        failed: set[int] = set()
        for (job, painting), estimate in zip(batch, estimates, strict=True):
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

    def _make_room(self, batch: Batch, reason: str) -> Iterator[Answer]:
        """After running out of memory: smaller batches from now on, or give up what never fits."""
        _empty_cache()
        if len(batch) > 1:
            self.max_batch = max(2, self.max_batch // 2)
            return
        yield self._too_large(batch[0][0], reason)

    def _work(self, seconds: float) -> Iterator[Answer]:
        """Encode and decode: one piece at least, and no more once `seconds` are over."""
        started = time.perf_counter()
        while True:
            job = self._next_with_work()
            if job is None:
                return
            begun = time.perf_counter()
            reason = None
            try:
                self._one_piece(job)
            except DiffusionError as error:
                self.remove(job)
                yield job, error
            except torch.OutOfMemoryError as error:
                reason = str(error)
            if reason is not None:
                yield from self._smaller_tiles(job, reason)
            now = time.perf_counter()
            self._fairness.charge(job.account, now - begun)
            if now - started >= seconds:
                return

    def _next_with_work(self) -> Job | None:
        ready = [
            job
            for job in self._jobs
            if not job.paused and (job.work is not None or job.undecoded() is not None)
        ]
        return min(ready, key=lambda job: job.account.rank, default=None)

    def _one_piece(self, job: Job) -> None:
        if job.work is None:
            index = job.undecoded()
            if index is None:
                return
            job.work = decode(job, index, self._decode_tile)
        try:
            next(job.work)
        except StopIteration:
            job.work = None

    def _smaller_tiles(self, job: Job, reason: str) -> Iterator[Answer]:
        """After running out of memory beside a pass: decode in smaller tiles, or give up."""
        _empty_cache()
        # A generator that raised is over: decoding begins anew, preparing cannot be made smaller.
        job.work = None
        if not job.paintings or self._decode_tile <= _LEAST_TILE:
            yield self._too_large(job, reason)
            return
        self._decode_tile = min(self._decode_tile, 2 * TILE) // 2

    def _too_large(self, job: Job, reason: str) -> Answer:
        self.remove(job)
        return (
            job,
            OutOfMemoryError(
                f"one picture of {job.params.width}x{job.params.height} does not fit into the "
                f"device's memory ({reason}); choose a smaller size."
            ),
        )

    def _measure(self, seconds: float) -> None:
        self._last_pass = seconds
        known = self.seconds_per_tick
        self.seconds_per_tick = seconds if known is None else 0.9 * known + 0.1 * seconds


def _empty_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
