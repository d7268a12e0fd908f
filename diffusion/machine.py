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
from typing import Final, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from diffusion.adapters import stacks_of
from diffusion.addons import Styles, styles_for
from diffusion.errors import DiffusionError, NumericalError, OutOfMemoryError
from diffusion.exact import Deterministic
from diffusion.fairness import Fairness, Share
from diffusion.inputs import Inputs
from diffusion.job import Job
from diffusion.kernels.graphs import Graphs, graphs_for
from diffusion.model import Model
from diffusion.painting import Painting
from diffusion.params import Params
from diffusion.plan import plan_for, second_plan
from diffusion.preparing import Texts, Work, decode, larger, prepare
from diffusion.residency import Residency
from diffusion.room import Room
from diffusion.rows import Kind, denoise, kind_of
from diffusion.saved import unpack
from diffusion.slot_painting import AnyPainting, Pools, SlotPainting
from diffusion.starts import TILE, WHOLE, check_noise
from diffusion.step import Step
from diffusion.tail import Flight, launch
from diffusion.transfer import is_apart

# The smallest tile that decoding falls back to when memory is short, in latent positions a side.
_LEAST_TILE: Final = 16

Answer: TypeAlias = tuple[Job, Step | DiffusionError]
Batch: TypeAlias = list[tuple[Job, AnyPainting]]
# How samplers run: as tables on the device, or as coroutines on the CPU.
Tail: TypeAlias = Literal["tables", "coroutines"]


class Machine:
    """Paint jobs row by row. Call `add`, then `tick` while `busy`; from one thread only.

    `max_batch` is the most rows of a forward pass. `deterministic`: "strict" gives every picture
    the bits it has alone, "fast" lets them differ in the last place. `tail`: how samplers run, None
    for tables where the model is on CUDA and coroutines elsewhere. `residency`: the books of the
    device's memory; None opens them with the first model.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        deterministic: Deterministic = "strict",
        tail: Tail | None = None,
        residency: Residency | None = None,
    ) -> None:
        self.max_batch = max_batch
        self.deterministic: Deterministic = deterministic
        self.tail = tail
        self.pools = Pools()
        # Recordings go with the network they were made of; whoever moves its weights drops them.
        self.graphs: WeakKeyDictionary[nn.Module, Graphs] = WeakKeyDictionary()
        self.seconds_per_tick: float | None = None
        self._flight: Flight | None = None
        self._last_pass = 0.0
        self._decode_tile = WHOLE
        self._jobs: list[Job] = []
        self._texts = Texts()
        self._fairness = Fairness()
        self.room = Room(residency, on_leave=self._forget)

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
        what an earlier job, stopped early, left. Raises ParamsError, CheckpointError, and
        OutOfMemoryError for what can never fit.
        """
        inputs = inputs or Inputs()
        inputs.check(params)
        plan = plan_for(model, params, has_image=inputs.init_image is not None)
        shape = model.latent_shape(params.width, params.height)
        noise = check_noise(latents, (params.images, *shape))
        plans = [plan]
        if params.hires > 1 and not plan.stopped:
            plans.append(second_plan(model, larger(model, params)))
        self.room.admit(model, params)
        styles = styles_for(model, params)
        answers = [] if state is None else unpack(params, state, plan.evaluations)
        job = Job(
            model=model,
            params=params,
            plans=tuple(plans),
            styles=styles,
            account=self._fairness.enter(share),
            pools=self.pools if self._tail_of(model) == "tables" else None,
            images=list(range(params.images)),
        )
        job.work = prepare(job, inputs, noise, answers, self._texts)
        self._jobs.append(job)
        return job

    def add_errand(self, model: Model, params: Params, work: Work) -> Job:
        """Do work that paints nothing between the passes, as a job that is over when the work is;
        `params` say what is asked of the memory. Raises OutOfMemoryError for what can never fit.
        """
        self.room.admit(model, params)
        job = Job(
            model=model,
            params=params,
            plans=(),
            styles=Styles(),
            account=self._fairness.enter("fast"),
            work=work,
        )
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
        self.room.take_turns(self._jobs)
        answers: list[Answer] = [*self._work(self._last_pass), *self._steps()]
        started = time.perf_counter()
        batch, kind = self._gather()
        if kind is not None:
            answers += self._advance(batch, kind)
            answers += self._steps()
            self._measure(time.perf_counter() - started)
        else:
            answers += self._settle()
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
        leading = filter(self.room.may_lead, self._jobs)
        for job in sorted(leading, key=lambda job: job.account.rank):
            # Pictures of one job keep together: those that are behind come first.
            for painting in sorted(job.waiting(), key=lambda painting: painting.answered):
                own = kind_of(job, painting)
                if kind is None:
                    kind = own
                    cap = job.model.measured.pace.cap(own, self.max_batch)
                    graphs = self.graphs.get(job.model.backbone)
                    self.room.note_kept(job.model, graphs=0 if graphs is None else graphs.bytes)
                    self.room.note_slots(job.model, self.pools.bytes)
                    cap = self.room.cap(job.model, own, cap)
                if own == kind and (not chosen or rows + painting.rows <= cap):
                    chosen.append((job, painting))
                    rows += painting.rows
        return chosen, kind

    def _advance(self, batch: Batch, kind: Kind) -> Iterator[Answer]:
        """Run the batch and send every painting its estimate; yield the jobs that failed."""
        model = batch[0][0].model
        try:
            self.room.bring(model)
        except DiffusionError as error:
            for job in dict.fromkeys(job for job, _ in batch):
                self.remove(job)
                yield job, error
            return
        on_tables = [(job, p) for job, p in batch if isinstance(p, SlotPainting)]
        if on_tables:
            yield from self._launch(model, on_tables, kind)
            return
        by_coroutines = [(job, p) for job, p in batch if isinstance(p, Painting)]
        rows = sum(painting.rows for _, painting in batch)
        try:
            with self.room.measuring(model, kind, rows):
                estimates, seconds = denoise(model, by_coroutines, self.deterministic)
        except torch.OutOfMemoryError as error:
            reason = str(error)
        else:
            if seconds is not None:
                model.measured.pace.note(kind, rows, seconds)
            row_seconds = model.measured.pace.row_seconds(kind) or 0.0
            for job, painting in batch:
                self._fairness.charge(job.account, row_seconds * painting.rows)
            yield from self._send(by_coroutines, estimates)
            return
        # Outside the except block: the exception would keep the tensors alive (reliability first).
        yield from self._make_room(batch, reason)

    def _launch(
        self, model: Model, batch: list[tuple[Job, SlotPainting]], kind: Kind
    ) -> Iterator[Answer]:
        """Launch the batch; then see how the one before it went, while the device works."""
        graphs = self.graphs.get(model.backbone)
        if graphs is None:
            graphs = self.graphs[model.backbone] = graphs_for(model.device)
        rows = sum(painting.rows for _, painting in batch)
        try:
            with self.room.measuring(model, kind, rows):
                flight = launch(model, batch, self.deterministic, graphs)
        except torch.OutOfMemoryError as error:
            reason = str(error)
        else:
            row_seconds = model.measured.pace.row_seconds(flight.kind) or 0.0
            for job, painting in batch:
                self._fairness.charge(job.account, row_seconds * painting.rows)
            yield from self._settle()
            self._flight = flight
            if not is_apart(model.device):
                yield from self._settle()
            return
        yield from self._settle()
        yield from self._make_room([*batch], reason)

    def _settle(self) -> Iterator[Answer]:
        """See how the last pass went that was launched: the jobs that failed, the time it took."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        model = flight.batch[0][0].model
        if not flight.trial:
            model.measured.pace.note(flight.kind, flight.rows, flight.clock.seconds())
        finite = flight.finite.tensor().tolist()
        for (job, painting), answered, sound in zip(
            flight.batch, flight.answered, finite, strict=True
        ):
            if sound:
                painting.verified = answered
            elif job in self._jobs:
                self.remove(job)
                yield job, _not_finite(job, answered)

    def _forget(self, model: Model) -> None:
        """Drop what stays on the device beside a model whose weights leave their places: its
        network's recordings, and what was computed from its weights.
        """
        self.graphs.pop(model.backbone, None)
        model.hoisted.clear()
        stacks_of(model.backbone).clear()
        self.room.note_kept(model, graphs=0)

    def _tail_of(self, model: Model) -> Tail:
        return self.tail or ("tables" if model.device.type == "cuda" else "coroutines")

    def _send(
        self, batch: Sequence[tuple[Job, Painting]], estimates: Sequence[Tensor]
    ) -> Iterator[Answer]:
        failed: set[int] = set()
        for (job, painting), estimate in zip(batch, estimates, strict=True):
            if id(job) in failed:
                continue
            if not bool(torch.isfinite(estimate).all()):
                failed.add(id(job))
                self.remove(job)
                yield job, _not_finite(job, painting.answered + 1)
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
            if not job.paused
            and (job.work is not None or job.undecoded() is not None)
            and self.room.may_lead(job)
        ]
        return min(ready, key=lambda job: job.account.rank, default=None)

    def _one_piece(self, job: Job) -> None:
        if job.work is None:
            index = job.undecoded()
            if index is None:
                return
            tile = self.room.decode_tile(job, index, self._decode_tile)
            job.work = decode(job, index, tile)
        self.room.bring(job.model)
        try:
            next(job.work)
        except StopIteration:
            job.work = None
            if not job.plans:
                self.remove(job)

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


def _not_finite(job: Job, answers: int) -> NumericalError:
    return NumericalError(
        f"the model {job.params.model!r} gave numbers that are not finite at step {answers}; "
        "try another sampler, fewer guidance or float32."
    )


def _empty_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
