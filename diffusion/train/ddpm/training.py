"""Algorithm 1 of Ho, Jain & Abbeel 2020, on pictures themselves.

The forward process adds noise in T steps; x_t after t of them comes in one, equation 4:
x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps with abar_t the product of 1 - beta_s up to t. A
network eps_theta(x_t, t) learns to tell eps. That is all of training:

    1: repeat
    2:   x_0 ~ q(x_0)                        draw pictures
    3:   t ~ Uniform({1, ..., T})            and a moment for each
    4:   eps ~ N(0, I)                       and noise
    5:   take a gradient step on  |eps - eps_theta(sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, t)|^2
    6: until converged

As in the paper: T = 1000, beta linear from 1e-4 to 0.02, Adam, a learning rate that warms up,
gradients clipped at norm 1, an average of the weights to paint with, mirrored pictures. Not as
there: no dropout, and a network thirty times smaller.

Promises: a run that was stopped goes on bit for bit as if it had not been, on the same machine.
Never a caption, a latent or another loss: those are the shipped model's (`diffusion.train`).
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from diffusion.errors import DiffusionError
from diffusion.networks.configs import DDPMConfig
from diffusion.networks.ddpm import DDPMUNet
from diffusion.schedules import NoiseSchedule
from diffusion.train.ddpm.pictures import PictureSet
from diffusion.train.losses import add_noise
from diffusion.train.precision import Precision, autocast
from diffusion.train.state import Average, Budget, Progress, load_state, save_state

STATE: Final = "state.safetensors"
RECIPE: Final = "recipe.json"
# The fields of a hub's scheduler_config.json, so that samplers know what the network was taught.
SCHEDULE: Final = {
    "_class_name": "DDPMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "prediction_type": "epsilon",
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "timestep_spacing": "leading",
    "steps_offset": 0,
}
_LOG_EVERY: Final = 50


class DDPMError(DiffusionError):
    """A run cannot begin or go on as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DDPMRecipe:
    """Numbers of a run. warmup: steps. average_decay: its limit, reached by a warm-up too."""

    network: DDPMConfig = field(
        default_factory=lambda: DDPMConfig(
            model_channels=32,
            channel_mult=(1, 2, 2),
            num_res_blocks=1,
            attention=(False, False, True),
            norm_groups=8,
        )
    )
    batch: int = 16
    learning_rate: float = 4e-4
    warmup: int = 200
    average_decay: float = 0.999
    seed: int = 0


def build_network(recipe: DDPMRecipe) -> DDPMUNet:
    """Return the untrained network; at first it answers 0, so that the loss begins at 1."""
    torch.manual_seed(recipe.seed)
    network = DDPMUNet(recipe.network)
    for name, module in network.named_modules():
        # The last layer of every residual path, as in the paper's own code.
        if name.endswith(("conv2", "proj_out", "conv_out")):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)
    return network


def alphas_cumprod() -> Tensor:
    """Return abar_1 ... abar_T, float32."""
    return torch.tensor(NoiseSchedule.from_diffusers(SCHEDULE).alphas_cumprod)


def denoising_loss(
    network: DDPMUNet,
    pictures: PictureSet,
    count: int,
    abar: Tensor,
    generator: torch.Generator,
    *,
    device: str = "cpu",
    precision: Precision = "float32",
) -> Tensor:
    """Return lines 2 to 5 of Algorithm 1 for a batch, the gradient step aside: the mean squared
    error of the predicted noise (equation 14).

    Everything is drawn on the CPU, so that a device changes the rounding and nothing else.
    """
    x0 = pictures.draw(count, generator)
    # Entry t of the tables is the level after t + 1 steps, so t counts from 0 here.
    t = torch.randint(len(abar), (count,), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    x_t = add_noise(x0, eps, abar[t])
    with autocast(device, precision):
        predicted = network(x_t.to(device), t.to(device))
    loss: Tensor = (eps.to(device) - predicted.float()).square().mean()
    return loss


class Trainer:
    """A run in a folder: network, Adam, averaged weights, and how far they have come."""

    def __init__(
        self,
        pictures: PictureSet,
        folder: Path,
        recipe: DDPMRecipe,
        *,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        """Begin a run, or take up the one in the folder; DDPMError when it does not fit."""
        _check(pictures, folder, recipe)
        self.pictures, self.recipe, self.state = pictures, recipe, folder / STATE
        self.device, self.precision = device, precision
        self.network = build_network(recipe).to(device)
        self.named = {f"unet.{name}": p for name, p in self.network.named_parameters()}
        # Without weight decay AdamW is Adam.
        self.optimiser = torch.optim.AdamW(self.named.values(), lr=0.0, weight_decay=0.0)
        self.average, self.progress = Average(decay=recipe.average_decay), Progress()
        self.abar = alphas_cumprod()
        load_state(
            self.state,
            networks={"unet": self.network},
            optimiser=self.optimiser,
            average=self.average,
            progress=self.progress,
        )
        self.average.begin(self.named)

    def step(self) -> float:
        """Take one gradient step and return its loss; DDPMError when that is no number."""
        recipe, progress = self.recipe, self.progress
        # One seed a step, so that a run that was stopped goes on as if it had not been.
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + progress.steps)
        loss = denoising_loss(
            self.network, self.pictures, recipe.batch, self.abar, generator,
            device=self.device, precision=self.precision,
        )  # fmt: skip
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DDPMError(
                f"the loss is {value} at step {progress.steps}: begin again in another folder with "
                f"a learning rate below {recipe.learning_rate:g}."
            )
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        warmth = min(1.0, (progress.steps + 1) / max(1, recipe.warmup))
        self.optimiser.param_groups[0]["lr"] = recipe.learning_rate * warmth
        self.optimiser.step()
        self.average.update(self.named)
        progress.steps += 1
        progress.samples += recipe.batch
        return value

    def save(self) -> None:
        """Write all that the run needs to go on."""
        save_state(
            self.state,
            networks={"unet": self.network},
            optimiser=self.optimiser,
            average=self.average,
            progress=self.progress,
        )

    def averaged(self) -> DDPMUNet:
        """Return a network with the averaged weights, on the CPU."""
        network = DDPMUNet(self.recipe.network)
        shadow = self.average.shadow.items()
        network.load_state_dict({name.removeprefix("unet."): t.cpu() for name, t in shadow})
        return network.eval().requires_grad_(requires_grad=False)


def train_ddpm(
    trainer: Trainer,
    *,
    minutes: float,
    report: Callable[[Progress], None],
    samples: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    save_every: int = 500,
) -> DDPMUNet:
    """Train, or go on training, and return a network with the averaged weights, on the CPU.

    Ends after `minutes`, after `samples` since the run began, or when `stop` says so, and keeps its
    state. `report` is told after every step.
    """
    budget, before = Budget(minutes=minutes), trainer.progress.seconds
    progress, losses = trainer.progress, list[float]()
    while not (budget.over or stop()) and (samples is None or progress.samples < samples):
        losses.append(trainer.step())
        progress.seconds = before + budget.spent
        if progress.steps % _LOG_EVERY == 0:
            mean = sum(losses) / len(losses)
            progress.log.append({"samples": progress.samples, "loss": mean})
            losses.clear()
        if progress.steps % save_every == 0:
            trainer.save()
        report(progress)
    trainer.save()
    return trainer.averaged()


def _check(pictures: PictureSet, folder: Path, recipe: DDPMRecipe) -> None:
    """Refuse what does not fit together, and write down what the run in a folder is of."""
    if pictures.size != recipe.network.resolution:
        raise DDPMError(
            f"the pictures have {pictures.size} pixels a side, the network is for "
            f"{recipe.network.resolution}: make both the same."
        )
    described = {
        "recipe": asdict(recipe),
        "pictures": pictures.digest,
        "count": len(pictures.pixels),
    }
    # Lists in place of tuples, as they are read back.
    described = json.loads(json.dumps(described))
    path = folder / RECIPE
    if (folder / STATE).exists():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DDPMError(f"{path} cannot be read ({error}): begin in another folder.") from error
        changed = [name for name in described if known.get(name) != described[name]]
        if changed:
            raise DDPMError(
                f"{folder} holds a run that was begun with other {' and '.join(changed)}: go on "
                "with the same, or begin in another folder."
            )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
