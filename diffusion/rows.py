"""One forward pass for many paintings: their rows gathered, the network asked, its answers handed
back.

Promises: paintings that `kind_of` calls equal can share a pass; what a painting gets is computed
from its own rows, and in strict mode has the bits of those rows in a batch of two. Runs in the
thread that owns the device.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.adapters import patched, patched_rows
from diffusion.addons import Styles
from diffusion.conditions import Condition
from diffusion.exact import Deterministic, run_exactly
from diffusion.hoisted import Rows as Hoist
from diffusion.job import Hint, Job
from diffusion.model import Model
from diffusion.networks.convolution import borders
from diffusion.painting import Painting

Member = tuple[Job, Painting]


@dataclass(frozen=True, slots=True)
class Kind:
    """What paintings must have in common to share a forward pass."""

    model: int
    shape: tuple[int, ...]
    context: int
    tile: bool
    controls: tuple[tuple[int, bool], ...]
    threads: int


def kind_of(job: Job, painting: Painting) -> Kind:
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


def active_hints(job: Job, painting: Painting) -> list[Hint]:
    """Return the ControlNets that steer a painting now."""
    answered, total = painting.answered, painting.plan.all_evaluations
    return [hint for hint in job.pass_of(painting).hints if hint.works_at(answered, total)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row's inputs. hints: for every ControlNet, its picture and how much it counts."""

    x: Tensor
    timestep: float
    condition: Condition
    guidance: float | None
    styles: Styles
    hints: tuple[tuple[Hint, float], ...]


def denoise(
    model: Model, batch: Sequence[Member], deterministic: Deterministic = "strict"
) -> tuple[list[Tensor], float | None]:
    """Run the rows of the batch; return each painting's denoised estimate, C x h x w on the CPU,
    and the seconds that took (None for a trial, which takes longer).
    """
    job = batch[0][0]
    started = time.perf_counter()
    trial = False
    rows = [row for member in batch for row in _rows_of(*member)]
    with ExitStack() as stack:
        stack.enter_context(borders(seamless=job.params.tile))
        network = _Network(model, rows)
        if deterministic == "fast":
            output = network(list(range(len(rows))))
        else:
            kind = kind_of(*batch[0])
            known = model.measured.certificates
            output, trial = run_exactly(network, len(rows), kind, known)
    counts = [painting.rows for _, painting in batch]
    parts = torch.split(output.float().cpu(), counts)
    seconds = None if trial else time.perf_counter() - started
    return [p.estimate(part) for (_, p), part in zip(batch, parts, strict=True)], seconds


def _rows_of(job: Job, painting: Painting) -> list[_Row]:
    x, timestep = painting.network_input(), painting.timestep()
    conditions = painting.conditions()
    hints = active_hints(job, painting)
    last = len(conditions) - 1
    return [
        _Row(
            x=x,
            timestep=timestep,
            condition=condition,
            guidance=painting.guide.embedded,
            styles=job.styles,
            hints=tuple((hint, _weight(hint, painting, is_last=i == last)) for hint in hints),
        )
        for i, condition in enumerate(conditions)
    ]


def _weight(hint: Hint, painting: Painting, *, is_last: bool) -> float:
    """Guess mode leaves the negative row, the last one, alone."""
    alone = hint.control.guess and is_last and painting.guide.negative is not None
    return 0.0 if alone else hint.control.scale


class _Network:
    """A backbone and its ControlNets over some of the batch's rows."""

    def __init__(self, model: Model, rows: Sequence[_Row]) -> None:
        self._model = model
        self._rows = rows
        self._times = [_time_row(model, row) for row in rows]
        self._contexts = [_context_row(model, row) for row in rows]
        self._x = torch.stack([row.x for row in rows]).to(model.device, model.dtype)

    def __call__(self, numbers: list[int]) -> Tensor:
        """Return the raw prediction for the rows of these numbers, stacked."""
        model = self._model
        all_of_them = numbers == list(range(len(self._rows)))
        x = self._x if all_of_them else self._x[numbers]
        times = torch.stack([self._times[i][0] for i in numbers])
        contexts = model.hoisted.stacked([self._contexts[i] for i in numbers])
        control = self._control(x, numbers)
        styles = [self._rows[i].styles.backbone for i in numbers]
        with patched_rows(model.backbone, styles):
            return model.backbone.run(x, times, contexts, control=control)

    def _control(self, x: Tensor, numbers: list[int]) -> list[Tensor] | None:
        """Ask the ControlNets and add up what they say; None when there is none."""
        model, rows = self._model, [self._rows[i] for i in numbers]
        total: list[Tensor] | None = None
        for place, (first, _) in enumerate(rows[0].hints):
            hints = [row.hints[place] for row in rows]
            context = _stacked([row.condition.context for row in rows], model)
            if context is None:
                raise RuntimeError("a ControlNet steers networks that read words")
            timesteps = torch.tensor([row.timestep for row in rows], device=model.device)
            found = first.network(
                x[:, : first.network.config.unet.in_channels],
                torch.cat([hint.picture for hint, _ in hints]).to(model.device, model.dtype),
                timesteps,
                context,
                _stacked([row.condition.added for row in rows], model),
                guess=first.control.guess,
            )
            scales = [scale for _, scale in hints]
            factor = torch.tensor(scales, device=model.device, dtype=model.dtype)
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
