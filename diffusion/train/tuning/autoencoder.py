"""The first stage, taught a folder: its decoder sharpened, or all of it learned from nothing.

Loss as for the shipped model (`diffusion.train.vae`): L1, L1 of differences, 2 MSE, and from
nothing a small KL term (Rombach et al. 2022, appendix G, without the parts that need outside
networks). Promises: a sharpened decoder leaves the latents, and so every denoiser, as they are; one
from nothing gives latents of deviation 1, and a denoiser must then be learned on it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn

from diffusion.networks.vae import AutoencoderKL
from diffusion.train.buckets import BucketBatches, Placed
from diffusion.train.losses import learning_rate_factor
from diffusion.train.precision import Precision, autocast
from diffusion.train.state import Average, Progress, load_state, save_state
from diffusion.train.tuning.place import Place
from diffusion.train.tuning.recipe import TuningError
from diffusion.train.tuning.subject import Subject
from diffusion.train.tuning.tune import Meter
from diffusion.train.vae import reconstruction_loss

# Pictures by which latents are normalised and quality is told.
_SAMPLE: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderRecipe:
    """Numbers of a run. scratch: learn all of it from nothing, not the decoder alone. side: as for
    `recipe.Recipe`.
    """

    steps: int = 1000
    batch: int = 8
    learning_rate: float = 1e-4
    warmup: int = 20
    average: float = 0.99
    kl_weight: float = 0.002
    mirror: bool = False
    side: int = 0
    scratch: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise TuningError for numbers that make no run."""
        if min(self.steps, self.batch) < 1 or not 0 <= self.warmup <= self.steps:
            raise TuningError(
                f"steps is {self.steps}, batch {self.batch} and warmup {self.warmup}: steps and "
                "batch start at 1, and warmup is at most steps."
            )
        if not 0 < self.learning_rate <= 1 or self.seed < 0:
            raise TuningError(
                f"learning_rate is {self.learning_rate} and seed {self.seed}: the rate is above 0 "
                "and at most 1, a seed 0 or more."
            )


@dataclass(kw_only=True, eq=False)
class AutoencoderRun:
    """One run (a `tune.Steps`)."""

    subject: Subject
    placed: Sequence[Placed]
    recipe: AutoencoderRecipe
    place: Place
    precision: Precision = "float32"
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        """Make the network ready and restore the state where there is one."""
        recipe = self.recipe
        self.vae = untrained(self.subject, recipe.seed) if recipe.scratch else self.subject.vae
        self.batches = BucketBatches(self.placed)
        self.average, self.meter = Average(decay=recipe.average), Meter()
        self.networks: dict[str, nn.Module] = {"vae": self.vae, "meter": self.meter}
        parts = ("",) if recipe.scratch else ("decoder.", "post_quant_conv.")
        self.named = {
            f"vae.{name}": parameter
            for name, parameter in self.vae.named_parameters()
            if name.startswith(parts)
        }
        self.optimiser = torch.optim.AdamW(
            self.named.values(), lr=1.0, betas=(0.9, 0.99), weight_decay=0.01
        )
        load_state(
            self.place.state, networks=self.networks, optimiser=self.optimiser,
            average=self.average, progress=self.progress,
        )  # fmt: skip
        self.average.begin(self.named)

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return self.progress.steps >= self.recipe.steps

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Let the weights want gradients for the length of the block."""
        for parameter in self.named.values():
            parameter.requires_grad_(True)
        try:
            yield
        finally:
            self.vae.requires_grad_(requires_grad=False)

    def save(self) -> None:
        """Write the state."""
        save_state(
            self.place.state, networks=self.networks, optimiser=self.optimiser,
            average=self.average, progress=self.progress,
        )  # fmt: skip

    def step(self) -> float:
        """Make one step and return its loss; TuningError when that is no number."""
        recipe, number = self.recipe, self.progress.steps
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + number)
        images = self._draw(generator)
        self.optimiser.param_groups[0]["lr"] = recipe.learning_rate * learning_rate_factor(
            number, recipe.steps, warmup=recipe.warmup
        )
        self.optimiser.zero_grad(set_to_none=True)
        with autocast(str(self.subject.model.device), self.precision):
            loss = self._loss(images, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.named.values(), 1.0)
        told = float(loss.detach())
        if told != told or told == float("inf"):
            raise TuningError(
                f"the loss of step {number + 1} is no finite number: lower the learning rate "
                f"({recipe.learning_rate:g}) and begin again in another place."
            )
        self.optimiser.step()
        self.average.update(self.named)
        self.progress.steps += 1
        self.progress.samples += recipe.batch
        self.meter.note(self.progress, told, recipe.steps)
        return told

    def _draw(self, generator: torch.Generator) -> Tensor:
        images = self.batches.draw(self.recipe.batch, generator).pixels()
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        if self.recipe.mirror:
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images.to(self.subject.model.device)

    def _loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        vae = self.vae
        if not self.recipe.scratch:
            with torch.no_grad():
                latents = vae.encode(images)
            return reconstruction_loss(vae.decode(latents), images)
        mean, logvar = vae.moments(images)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        drawn = mean + torch.exp(0.5 * logvar) * noise
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        decoded = vae.decode(vae.scaled(drawn))
        return reconstruction_loss(decoded, images) + self.recipe.kl_weight * kl

    @contextmanager
    def averaged(self) -> Iterator[AutoencoderKL]:
        """Let the averaged weights take part for the length of the block."""
        own = {name: parameter.data for name, parameter in self.named.items()}
        for name, parameter in self.named.items():
            parameter.data = self.average.shadow[name].data
        try:
            yield self.vae
        finally:
            for name, parameter in self.named.items():
                parameter.data = own[name]


def untrained(subject: Subject, seed: int) -> AutoencoderKL:
    """Return an autoencoder of the same sizes that has learned nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKL(subject.vae.config)
    return vae.to(subject.model.device).eval().requires_grad_(requires_grad=False)
