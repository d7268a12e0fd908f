"""One forward pass for many paintings: their rows gathered, the network asked, its answers handed
back.

Promises: paintings that `kind_of` calls equal can share a pass; what a painting gets is computed
from its own rows. Runs in the thread that owns the device.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from diffusion.adapters import patched
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
    styles: tuple[tuple[str, float], ...]
    controls: tuple[tuple[int, bool], ...]


def kind_of(job: Job, painting: Painting) -> Kind:
    """Return what decides with whom a painting can share its next pass."""
    context = painting.conditions()[0].context
    return Kind(
        model=id(job.model),
        shape=tuple(painting.shape),
        context=0 if context is None else len(context),
        tile=job.params.tile,
        styles=job.styles.key,
        controls=tuple((id(h.network), h.control.guess) for h in active_hints(job, painting)),
    )


def active_hints(job: Job, painting: Painting) -> list[Hint]:
    """Return the ControlNets that steer a painting now."""
    answered, total = painting.answered, painting.plan.all_evaluations
    return [hint for hint in job.pass_of(painting).hints if hint.works_at(answered, total)]


@dataclass(slots=True)
class _Rows:
    """The inputs of one pass; the lists run over rows."""

    x: Tensor
    timesteps: Tensor
    context: Tensor | None
    added: Tensor | None
    guidance: Tensor | None


def denoise(model: Model, batch: Sequence[Member]) -> list[Tensor]:
    """Run one forward pass over all rows of the batch; return each painting's denoised estimate."""
    job = batch[0][0]
    rows = _gather(model, batch)
    with ExitStack() as stack:
        stack.enter_context(borders(seamless=job.params.tile))
        stack.enter_context(patched(model.backbone, job.styles.backbone))
        output = _run(model, batch, rows)
    counts = [painting.rows for _, painting in batch]
    parts = torch.split(output.float().cpu(), counts)
    return [p.estimate(part) for (_, p), part in zip(batch, parts, strict=True)]


def _gather(model: Model, batch: Sequence[Member]) -> _Rows:
    latents, timesteps, contexts, added, guidance = [], [], [], [], []
    for _, painting in batch:
        row, timestep = painting.network_input(), painting.timestep()
        for condition in painting.conditions():
            latents.append(row)
            timesteps.append(timestep)
            contexts.append(condition.context)
            added.append(condition.added)
            guidance.append(painting.guide.embedded)
    device, dtype = model.device, model.dtype
    scales = [scale for scale in guidance if scale is not None]
    return _Rows(
        x=torch.stack(latents).to(device, dtype),
        timesteps=torch.tensor(timesteps, dtype=torch.float32, device=device),
        context=_stacked(contexts, model),
        added=_stacked(added, model),
        guidance=torch.tensor(scales, dtype=torch.float32, device=device) if scales else None,
    )


def _stacked(parts: Sequence[Tensor | None], model: Model) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.stack(there).to(model.device, model.dtype) if there else None


def _run(model: Model, batch: Sequence[Member], rows: _Rows) -> Tensor:
    backbone = model.backbone
    residuals = _residuals(model, batch, rows)
    # The pixel-space network knows neither guidance nor control, and has no arguments for them.
    if residuals is None and rows.guidance is None:
        return cast(Tensor, backbone(rows.x, rows.timesteps, rows.context, rows.added))
    return cast(
        Tensor,
        backbone(
            rows.x,
            rows.timesteps,
            rows.context,
            rows.added,
            guidance=rows.guidance,
            control=residuals,
        ),
    )


def _residuals(model: Model, batch: Sequence[Member], rows: _Rows) -> list[Tensor] | None:
    """Ask the batch's ControlNets and add up what they say; None when there is none."""
    hints = [active_hints(job, painting) for job, painting in batch]
    total: list[Tensor] | None = None
    for number, first in enumerate(hints[0]):
        pictures, scales = [], []
        for (_, painting), own in zip(batch, hints, strict=True):
            hint = own[number]
            weights = [hint.control.scale] * painting.rows
            if hint.control.guess and painting.guide.negative is not None:
                weights[-1] = 0.0
            scales += weights
            pictures += [hint.picture] * painting.rows
        if rows.context is None:
            raise RuntimeError("a ControlNet steers networks that read words")
        found = first.network(
            rows.x[:, : first.network.config.unet.in_channels],
            torch.cat(pictures).to(model.device, model.dtype),
            rows.timesteps,
            rows.context,
            rows.added,
            guess=first.control.guess,
        )
        factor = torch.tensor(scales, device=model.device, dtype=model.dtype)[:, None, None, None]
        scaled = [residual * factor for residual in found]
        total = scaled if total is None else [a + b for a, b in zip(total, scaled, strict=True)]
    return total
