"""A tick on the device: from the registers of many pictures to their next questions, with nothing
read by the host.

What the row machine asks of pictures whose samplers run as tables. Rows are gathered from the pool
by slot, the network is asked, guidance and prediction become one weighted sum a picture, and the
tables take one step. Promises: no waiting for the device, but for the trial of a batch size; what a
picture gets does not depend on its company, bit for bit. Which estimates were finite is told by
`Flight.finite` later.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.denoiser import clip, input_scale, to_denoised
from diffusion.exact import Deterministic
from diffusion.job import Job
from diffusion.kernels import combine_and_step, gather_scaled
from diffusion.kernels.graphs import Graphs
from diffusion.kernels.layout import layout_of
from diffusion.model import Model
from diffusion.rows import Kind, kind_of, predict
from diffusion.slot_painting import SlotPainting
from diffusion.transfer import Clock, Landing, upload

Member = tuple[Job, SlotPainting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A pass that was launched: its pictures, how many answers each has now, what tells whether
    these are finite (one bool a picture) and how long it took.
    """

    batch: Sequence[Member]
    answered: Sequence[int]
    kind: Kind
    rows: int
    trial: bool
    finite: Landing
    clock: Clock


def launch(
    model: Model,
    batch: Sequence[Member],
    deterministic: Deterministic = "strict",
    graphs: Graphs | None = None,
) -> Flight:
    """Run the rows of the batch, and take every picture to its next question.

    All pictures are of one model and one pool. `graphs` records the network where that pays.
    """
    kind, clock = kind_of(*batch[0]), Clock(model.device)
    paintings = [painting for _, painting in batch]
    x = _seen(paintings)
    output, trial = predict(model, batch, _inputs(model, paintings, x), deterministic, graphs)
    denoised = _estimates(model, paintings, x, output)
    slots = [painting.place for painting in paintings]
    paintings[0].pool.answer(slots, denoised)
    for painting, own in zip(paintings, denoised, strict=True):
        painting.take(own)
    finite = Landing(torch.isfinite(denoised).flatten(1).all(dim=1))
    clock.stop()
    return Flight(
        batch=batch,
        answered=[painting.answered for painting in paintings],
        kind=kind,
        rows=sum(painting.rows for painting in paintings),
        trial=trial,
        finite=finite,
        clock=clock,
    )


def _seen(paintings: Sequence[SlotPainting]) -> Tensor:
    """Return what the network sees of each picture before scaling, n x C x h x w, float32."""
    x = paintings[0].pool.latents([painting.place for painting in paintings])
    for i, painting in enumerate(paintings):
        if painting.kept is not None:
            x[i] = painting.seen(x[i])
    return x


def _inputs(model: Model, paintings: Sequence[SlotPainting], x: Tensor) -> Tensor:
    """Return the network's rows, R x C x h x w in its precision: c_in x (Karras et al. 2022,
    equation 7), and for an inpainting network what it sees beside; laid out as its weights are.
    """
    pictures = [i for i, painting in enumerate(paintings) for _ in range(painting.rows)]
    scales = [input_scale(painting.sigma) for painting in paintings]
    numbers, factors = upload(
        model.device, torch.tensor(pictures), torch.tensor([scales[i] for i in pictures])
    )
    layout = layout_of(model.backbone)
    last = layout is torch.channels_last
    rows = gather_scaled(x, numbers, factors, model.dtype, channels_last=last)
    if paintings[0].channels is None:
        return rows
    channels = [paintings[i].channels for i in pictures]
    beside = torch.stack([each for each in channels if each is not None])
    return torch.cat([rows, beside.to(model.dtype)], dim=1).contiguous(memory_format=layout)


def _estimates(
    model: Model, paintings: Sequence[SlotPainting], x: Tensor, output: Tensor
) -> Tensor:
    """Return the denoised estimates, n x C x h x w, from the network's R rows."""
    schedule = model.noise_schedule
    width = max(painting.rows for painting in paintings)
    firsts: list[int] = []
    table: list[list[int]] = []
    weights: list[list[float]] = []
    start = 0
    for painting in paintings:
        own, spare = weights_of(painting), width - painting.rows
        firsts.append(start)
        table.append([*range(start, start + len(own)), *([start] * spare)])
        weights.append([*own, *([0.0] * spare)])
        start += len(own)
    scalings = [scalings_of(schedule.prediction_type, painting.sigma) for painting in paintings]
    # The tables take the step, in float64: the kernel's own gets a factor of 0.
    numbers, factors, skips, none = upload(
        model.device,
        torch.tensor(table),
        torch.tensor(weights),
        torch.tensor(scalings),
        torch.zeros(len(paintings), 2),
    )
    denoised, _ = combine_and_step(output, numbers, factors, skips, x[:, None], none)
    for i, (painting, first) in enumerate(zip(paintings, firsts, strict=True)):
        if painting.guide.rescale and painting.guide.negative is not None:
            # Needs a deviation over the picture: one by one, it is rarely asked for.
            combined = painting.guide.combine(output[first : first + painting.rows].float())
            kind, sigma = schedule.prediction_type, painting.sigma
            denoised[i] = to_denoised(kind, x[i], combined, sigma)
    return clip(denoised, schedule.clip_range)


def weights_of(painting: SlotPainting) -> tuple[float, ...]:
    """Return what each of a picture's rows counts in its prediction, the negative one last:
    negative + w sum_i weight_i (positive_i - negative), as factors.
    """
    guide = painting.guide
    own = [strand.weight for strand in guide.positives]
    if guide.negative is None:
        return tuple(own)
    scaled = [guide.scale * weight for weight in own]
    return (*scaled, 1 - sum(scaled))


def scalings_of(prediction_type: str, sigma: float) -> tuple[float, float]:
    """Return (c_skip, c_out) of D = c_skip x + c_out m (see `denoiser.to_denoised`)."""
    if prediction_type == "epsilon":
        return 1.0, -sigma
    if prediction_type == "v_prediction":
        return 1 / (1 + sigma**2), -sigma * input_scale(sigma)
    if prediction_type == "sample":
        return 0.0, 1.0
    raise ValueError(f"unknown prediction type {prediction_type!r}")
