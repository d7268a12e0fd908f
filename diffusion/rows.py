"""One forward pass for many paintings: their rows gathered, the network asked, its answers handed
back.

Promises: paintings that `kind_of` calls equal can share a pass; what a painting gets is computed
from its own rows, and in strict mode has the bits of those rows in a batch of two. Runs in the
thread that owns the device.
"""

import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.adapters import patched, patched_rows
from diffusion.addons import Styles
from diffusion.conditions import Condition
from diffusion.exact import Certificates, Deterministic, run_exactly
from diffusion.hoisted import Rows as Hoist
from diffusion.job import Hint, Job, Pass
from diffusion.kernels.graphs import Graphs
from diffusion.model import Model
from diffusion.networks.convolution import borders
from diffusion.painting import Painting
from diffusion.slot_painting import AnyPainting, table_of
from diffusion.transfer import upload

Member = tuple[Job, AnyPainting]


@dataclass(frozen=True, slots=True)
class Kind:
    """What paintings must have in common to share a forward pass."""

    model: int
    shape: tuple[int, ...]
    context: int
    tile: bool
    controls: tuple[tuple[int, bool], ...]
    threads: int


def kind_of(job: Job, painting: AnyPainting) -> Kind:
    """Return what decides with whom a painting can share its next pass."""
    context = painting.conditions()[0].context
    return Kind(
        model=id(job.model),
        shape=tuple(painting.shape),
        context=0 if context is None else len(context),
        tile=job.params.tile,
        controls=tuple((id(h.network), h.control.guess) for h in active_hints(job, painting)),
        # Operators split their work by the number of threads, which may change the last bit.
        threads=torch.get_num_threads(),
    )


def active_hints(job: Job, painting: AnyPainting) -> list[Hint]:
    """Return the ControlNets that steer a painting now."""
    answered, total = painting.answered, painting.plan.all_evaluations
    return [hint for hint in job.pass_of(painting).hints if hint.works_at(answered, total)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row's inputs beside its latents. hints: for every ControlNet, its picture and how much
    it counts.
    """

    timestep: float
    condition: Condition
    guidance: float | None
    styles: Styles
    hints: tuple[tuple[Hint, float], ...]


def denoise(
    model: Model, batch: Sequence[tuple[Job, Painting]], deterministic: Deterministic = "strict"
) -> tuple[list[Tensor], float | None]:
    """Run the rows of the batch; return each painting's denoised estimate, C x h x w on the CPU,
    and the seconds that took (None for a trial, which takes longer).
    """
    started = time.perf_counter()
    inputs = [(painting.network_input(), painting.rows) for _, painting in batch]
    x = torch.stack([x for x, count in inputs for _ in range(count)])
    output, trial = predict(model, batch, x.to(model.device, model.dtype), deterministic)
    parts = torch.split(output.float().cpu(), [painting.rows for _, painting in batch])
    seconds = None if trial else time.perf_counter() - started
    return [p.estimate(part) for (_, p), part in zip(batch, parts, strict=True)], seconds


def predict(
    model: Model,
    batch: Sequence[Member],
    x: Tensor,
    deterministic: Deterministic,
    graphs: Graphs | None = None,
) -> tuple[Tensor, bool]:
    """Ask the network about the batch's rows: x, R x C x h x w, on its device in its precision.

    Returns R x C x h x w, not waited for, and whether it was a trial of a batch size, which is.
    """
    seamless = batch[0][0].params.tile
    rows = [row for member in batch for row in _rows_of(*member)]
    with borders(seamless=seamless):
        # A recording remembers the borders it was made with.
        certificates = model.measured.certificates if deterministic == "strict" else None
        network = _Network(model, rows, x, graphs, seamless, certificates)
        if certificates is None:
            return network(list(range(len(rows)))), False
        return run_exactly(network, len(rows), kind_of(*batch[0]), certificates)


def hoist(job: Job, of: Pass) -> Iterator[None]:
    """Compute ahead what the rows of a pass take beside latents, with rests: nothing of it is then
    computed, or waited for, between two forward passes.
    """
    plan = of.plan
    sigmas = table_of(plan.sampler, plan.levels, plan.eta).sigmas
    for evaluation, sigma in enumerate(sigmas[: plan.evaluations]):
        # Most jobs have one guide for all their pictures.
        for guide in dict.fromkeys(of.guides):
            for condition in guide.at(plan.step(evaluation)):
                row = _Row(
                    timestep=plan.timestep(sigma),
                    condition=condition,
                    guidance=guide.embedded,
                    styles=job.styles,
                    hints=(),
                )
                _time_row(job.model, row)
                _context_row(job.model, row)
            yield


def _rows_of(job: Job, painting: AnyPainting) -> list[_Row]:
    timestep = painting.timestep()
    conditions = painting.conditions()
    hints = active_hints(job, painting)
    last = len(conditions) - 1
    return [
        _Row(
            timestep=timestep,
            condition=condition,
            guidance=painting.guide.embedded,
            styles=job.styles,
            hints=tuple((hint, _weight(hint, painting, is_last=i == last)) for hint in hints),
        )
        for i, condition in enumerate(conditions)
    ]


def _weight(hint: Hint, painting: AnyPainting, *, is_last: bool) -> float:
    """Guess mode leaves the negative row, the last one, alone."""
    alone = hint.control.guess and is_last and painting.guide.negative is not None
    return 0.0 if alone else hint.control.scale


class _Network:
    """A backbone and its ControlNets over some of the batch's rows."""

    def __init__(
        self,
        model: Model,
        rows: Sequence[_Row],
        x: Tensor,
        graphs: Graphs | None,
        key: Hashable,
        certificates: Certificates | None,
    ) -> None:
        self._model = model
        self._rows = rows
        self._x = x
        self._graphs = graphs
        self._key = key
        self._certificates = certificates
        self._times = [_time_row(model, row) for row in rows]
        self._contexts = [_context_row(model, row) for row in rows]

    def __call__(self, numbers: list[int]) -> Tensor:
        """Return the raw prediction for the rows of these numbers, stacked."""
        model = self._model
        all_of_them = numbers == list(range(len(self._rows)))
        # Stacked: a list of numbers as an index would wait for the device.
        x = self._x if all_of_them else torch.stack([self._x[i] for i in numbers])
        times = torch.stack([self._times[i][0] for i in numbers])
        contexts = model.hoisted.stacked([self._contexts[i] for i in numbers])
        control = self._control(x, numbers)
        styles = [self._rows[i].styles.backbone for i in numbers]
        if self._graphs is not None and control is None and not any(styles):
            return self._graphs.run(self._key, self._plain, x, times, *contexts)
        with patched_rows(model.backbone, styles, self._certificates):
            return model.backbone.run(x, times, contexts, control=control)

    def _plain(self, x: Tensor, times: Tensor, *contexts: Tensor) -> Tensor:
        return self._model.backbone.run(x, times, contexts)

    def _control(self, x: Tensor, numbers: list[int]) -> list[Tensor] | None:
        """Ask the ControlNets and add up what they say; None when there is none."""
        model, rows = self._model, [self._rows[i] for i in numbers]
        total: list[Tensor] | None = None
        for place, (first, _) in enumerate(rows[0].hints):
            hints = [row.hints[place] for row in rows]
            context = _stacked([row.condition.context for row in rows], model)
            if context is None:
                raise RuntimeError("a ControlNet steers networks that read words")
            scales = torch.tensor([scale for _, scale in hints], dtype=model.dtype)
            (factor,) = upload(model.device, scales)
            found = first.network(
                x[:, : first.network.config.unet.in_channels],
                torch.cat([hint.picture for hint, _ in hints]),
                # Looked at on the host: one by one they become sinusoids there.
                torch.tensor([row.timestep for row in rows]),
                context,
                _stacked([row.condition.added for row in rows], model),
                guess=first.control.guess,
            )
            scaled = [residual * factor[:, None, None, None] for residual in found]
            total = scaled if total is None else [a + b for a, b in zip(total, scaled, strict=True)]
        return total


def _time_row(model: Model, row: _Row) -> Hoist:
    added = row.condition.added
    digest = None if added is None else row.condition.digest
    key = ("time", row.styles.key, row.timestep, digest, row.guidance)

    def compute() -> Hoist:
        given = None if added is None else added.to(model.device, model.dtype)
        with patched(model.backbone, row.styles.backbone):
            return (model.backbone.time_row(row.timestep, given, row.guidance),)

    return model.hoisted.rows(key, compute)


def _context_row(model: Model, row: _Row) -> Hoist:
    context = row.condition.context

    def compute() -> Hoist:
        given = None if context is None else context.to(model.device, model.dtype)
        with patched(model.backbone, row.styles.backbone):
            return model.backbone.context_row(given)

    return model.hoisted.rows(("context", row.styles.key, row.condition.digest), compute)


def _stacked(parts: Sequence[Tensor | None], model: Model) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.stack(there).to(model.device, model.dtype) if there else None
