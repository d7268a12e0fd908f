"""The loop that teaches a model a folder (Ho et al. 2020, Algorithm 1, in latent space).

Every step has a generator of its own, seeded by the run's seed and the step's number, so that a run
that was stopped goes on as if it had not been: with the same bits on the same machine. Promises:
everything that can be wrong is told before the first step; prediction and noise schedule are the
model's; a state is whole or the one before it.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from diffusion.train.losses import (
    add_noise,
    drop_captions,
    learning_rate_factor,
    min_snr_weights,
    target,
    weighted_loss,
)
from diffusion.train.precision import Precision, autocast
from diffusion.train.state import Average, Progress, load_state, save_state
from diffusion.train.tuning.images import Drawn, LatentSet
from diffusion.train.tuning.place import Place
from diffusion.train.tuning.recipe import Recipe, TuningError
from diffusion.train.tuning.subject import Subject
from diffusion.train.tuning.trainable import Trainable
from diffusion.train.tuning.words import Encoded, added_vector, encode_captions

# Points of a loss curve.
_POINTS: Final = 200
# Saving takes at most this share of the time.
_SAVING: Final = 0.05
_STEP_SEEDS: Final = 1_000_003


class Watcher(Protocol):
    """Who looks on while a run goes: bars, sheets, stops."""

    def stepped(self, progress: Progress, loss: float) -> None:
        """Take note of a step."""

    def pictured(self, progress: Progress) -> None:
        """Paint, or not: asked before the first step and after every one."""

    def stops(self) -> bool:
        """Whether to save and stop now."""


class Steps(Protocol):
    """A run of any kind: steps, a state, and what it needs to be in place."""

    progress: Progress

    @property
    def done(self) -> bool:
        """Whether all steps are made."""

    def attached(self) -> AbstractContextManager[None]:
        """Let what is trained want gradients, for the length of the block."""

    def step(self) -> float:
        """Make one step and return its loss."""

    def save(self) -> None:
        """Write the state."""


class Meter(nn.Module):
    """The running mean of the loss, kept in the state so that a curve has no gaps."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(2, dtype=torch.float64))
        self.total: Tensor

    def note(self, progress: Progress, loss: float, steps: int) -> None:
        """Count the loss of the step just made, of `steps` in all; log a mean now and then."""
        self.total += torch.tensor([loss, 1.0], dtype=torch.float64)
        if progress.steps % max(1, steps // _POINTS) == 0 or progress.steps >= steps:
            mean = float(self.total[0] / self.total[1])
            progress.log.append({"samples": progress.samples, "loss": mean})
            self.total.zero_()


@dataclass(kw_only=True, eq=False)
class Run:
    """One run: what is trained, on what, and how far it is. `average` is empty without one."""

    subject: Subject
    trained: Trainable
    pictures: LatentSet
    recipe: Recipe
    place: Place
    precision: Precision = "float32"
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        """Encode captions that stay as they are, and restore the state where there is one."""
        recipe, device = self.recipe, self.subject.model.device
        self.average = Average(decay=recipe.average)
        self.meter = Meter()
        self.networks = {**self.trained.networks, "meter": self.meter}
        # Frozen networks have frozen weights: what is to be trained is all there is in these.
        self.named = {
            f"{part}.{name}": parameter
            for part, network in self.trained.networks.items()
            for name, parameter in network.named_parameters()
        }
        self.optimiser = torch.optim.AdamW(
            self.named.values(),
            lr=recipe.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=recipe.weight_decay,
        )
        self.abar = torch.tensor(
            self.subject.model.noise_schedule.alphas_cumprod, dtype=torch.float32
        )
        self.texts: Mapping[str, Encoded] = {}
        if not self.trained.trains_text:
            captions = {p.caption for ps in self.pictures.batches.rounds.values() for p in ps}
            self.texts = encode_captions(self.subject, sorted(captions))
        load_state(
            self.place.state,
            networks=self.networks,
            optimiser=self.optimiser,
            average=self.average,
            progress=self.progress,
        )
        if recipe.average:
            self.average.begin(self.named)
        for network in self.trained.networks.values():
            network.to(device)

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The result: averaged weights where there is an average, else those of now."""
        return self.average.shadow if self.recipe.average else self.named

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return self.progress.steps >= self.recipe.steps

    def attached(self) -> AbstractContextManager[None]:
        """Let what is trained take part in the model for the length of the block."""
        return self.trained.attached()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the result's weights take part for the length of the block."""
        own = {name: parameter.data for name, parameter in self.named.items()}
        for name, parameter in self.named.items():
            parameter.data = self.weights[name].data
        try:
            yield
        finally:
            for name, parameter in self.named.items():
                parameter.data = own[name]

    def save(self) -> None:
        """Write the state."""
        save_state(
            self.place.state,
            networks=self.networks,
            optimiser=self.optimiser,
            average=self.average,
            progress=self.progress,
        )

    def step(self) -> float:
        """Make one step and return its loss; TuningError when that is no number."""
        recipe, number = self.recipe, self.progress.steps
        generator = torch.Generator().manual_seed(recipe.seed * _STEP_SEEDS + number)
        drawn = self.pictures.draw(recipe.batch, generator)
        self.optimiser.param_groups[0]["lr"] = recipe.learning_rate * learning_rate_factor(
            number, recipe.steps, warmup=recipe.warmup, decay=recipe.decay
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(drawn, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.named.values(), recipe.clip)
        told = float(loss.detach())
        if not math.isfinite(told) or not math.isfinite(float(norm)):
            raise TuningError(
                f"the loss of step {number + 1} is no finite number: lower the learning rate "
                f"({recipe.learning_rate:g}) and begin again in another place."
            )
        self.optimiser.step()
        if recipe.average:
            self.average.update(self.named)
        self.progress.steps += 1
        self.progress.samples += recipe.batch
        self.meter.note(self.progress, told, recipe.steps)
        return told

    def _loss(self, drawn: Drawn, generator: torch.Generator) -> Tensor:
        """Everything is drawn on the CPU, so that a device changes only the rounding."""
        device = self.subject.model.device
        count = len(drawn.latents)
        t = spread_timesteps(count, len(self.abar), generator)
        noise = torch.randn(drawn.latents.shape, generator=generator)
        worded = [self.trained.worded(caption) for caption in drawn.captions]
        captions = drop_captions(worded, self.recipe.dropout, generator)
        abar = self.abar[t].to(device)
        x0, eps = drawn.latents.to(device), noise.to(device)
        predicts = self.subject.model.noise_schedule.prediction_type
        with autocast(str(device), self.precision):
            context, added = self._conditions(captions, drawn)
            output = self.subject.unet(add_noise(x0, eps, abar), t.to(device), context, added)
        weights = min_snr_weights(predicts, abar, self.recipe.gamma or None)
        return weighted_loss(output, target(predicts, x0, eps, abar), weights)

    def _conditions(self, captions: list[str], drawn: Drawn) -> tuple[Tensor, Tensor | None]:
        if self.trained.trains_text:
            return self.trained.context(captions), None
        rows = [self.texts[caption] for caption in captions]
        context = torch.stack([row.context for row in rows])
        if not self.subject.has_sizes:
            return context, None
        bucket = drawn.bucket
        return context, added_vector(self.subject, rows, bucket.width, bucket.height)


def go_on(run: Steps, watcher: Watcher, *, clock: Callable[[], float] = time.monotonic) -> bool:
    """Train until all steps are made or the watcher stops it; return whether it is done.

    The state is saved on the way, at the end and at a stop.
    """
    started, before = clock(), run.progress.seconds
    saved, took = started, 0.0
    with run.attached(), torch.enable_grad(), repeatable():
        if run.progress.steps == 0:
            watcher.pictured(run.progress)
        while not run.done and not watcher.stops():
            loss = run.step()
            run.progress.seconds = before + clock() - started
            watcher.stepped(run.progress, loss)
            watcher.pictured(run.progress)
            if clock() - saved > max(60.0, took / _SAVING):
                begun = clock()
                run.save()
                saved, took = clock(), clock() - begun
        run.save()
    return run.done


@contextmanager
def repeatable() -> Iterator[None]:
    """Let libraries choose algorithms that give the same bits every time, where they have them.

    CPUs do so anyway, given the number of threads; no GPU has been asked yet.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn.deterministic, cudnn.benchmark = True, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark, strict = before
        torch.use_deterministic_algorithms(strict, warn_only=warned)


def spread_timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """Draw N timesteps, one from each of N equal parts of the table: uniform, with less variance
    between batches (Kingma et al. 2021, appendix I.1).
    """
    u = (
        torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    ) / count
    return (u * total).long().clamp(0, total - 1)


def settings_of(subject: Subject, recipe: Recipe, model: str, pictures: str) -> dict[str, object]:
    """Return what a state may only go on with: `model` and `pictures` are hashes."""
    named = {"model": f"{subject.model.info.name} {model}", "pictures": pictures}
    return {**asdict(recipe), **named}


def notes_of(run: Run, root: Path) -> dict[str, str]:
    """Return what the result's metadata says of how it was made."""
    recipe = run.recipe
    pictures = {p.path for ps in run.pictures.batches.rounds.values() for p in ps}
    return {
        "easel_method": recipe.method,
        "easel_base": run.subject.model.info.name,
        "easel_pictures": f"{len(pictures)} of {root.resolve().name}",
        "easel_steps": str(run.progress.steps),
        "easel_recipe": " ".join(f"{k}={v}" for k, v in asdict(recipe).items() if v != ""),
    }
