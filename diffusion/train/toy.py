"""The smallest diffusion model there is: points on a plane, learned and drawn in under a minute.

Everything is as in the large model, only small enough to watch: Algorithm 1 of Ho et al. 2020
trains a network to tell the noise in a noisy point, and the engine's own samplers and noise
schedule turn noise back into points. A point is a picture of one position with two channels.
Promises: the same numbers for the same seed and machine.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from diffusion.denoiser import clip, input_scale, to_denoised
from diffusion.samplers import SAMPLERS
from diffusion.schedules import NoiseSchedule, levels_for
from diffusion.train.shapes import points

SCHEDULE: Final = NoiseSchedule.from_config(
    {
        "beta_schedule": "cosine",
        "num_train_timesteps": 1000,
        "cosine_s": 0.008,
        "cosine_end": 0.008,
        "prediction_type": "epsilon",
        "timestep_spacing": "trailing",
        "steps_offset": 0,
    }
)
# No shape reaches further, in deviations.
_FARTHEST: Final = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyRecipe:
    """Numbers of a run. drawn: how many points there are to learn from."""

    shape: str = "heart"
    drawn: int = 8192
    steps: int = 3000
    batch: int = 512
    width: int = 128
    learning_rate: float = 2e-3
    seed: int = 0


class ToyDenoiser(nn.Module):
    """A network that says which noise is in a noisy point: four layers, and sines of the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Fine detail lies in small differences of position, which sines of it tell apart.
        self.frequencies: Tensor
        self.register_buffer("frequencies", 2.0 ** torch.arange(5) * math.pi / 4)
        features = 2 + 2 * 2 * 5 + 2 * 5
        self.layers = nn.Sequential(
            nn.Linear(features, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 2),
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map N x 2 noisy points of variance one and N timesteps in 0..1 to N x 2 noises."""
        place = (x[:, :, None] * self.frequencies).flatten(1)
        time = t[:, None] * self.frequencies
        told = [x, place.sin(), place.cos(), time.sin(), time.cos()]
        noise: Tensor = self.layers(torch.cat(told, dim=1))
        return noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """A trained toy: the points it learned (N x 2), its network, and the loss along the way."""

    recipe: ToyRecipe
    learned: Tensor
    network: ToyDenoiser
    losses: Sequence[float]


def train_toy(recipe: ToyRecipe, report: Callable[[int, float], None] | None = None) -> Toy:
    """Train a toy (Ho et al. 2020, Algorithm 1). KeyError for a shape there is not.

    `report` is told the step and the mean loss after every 100 steps.
    """
    learned = torch.from_numpy(points(recipe.shape, recipe.drawn, recipe.seed)).float()
    torch.manual_seed(recipe.seed)
    network = ToyDenoiser(recipe.width)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    alphas_cumprod = torch.as_tensor(SCHEDULE.alphas_cumprod).float()
    generator = torch.Generator().manual_seed(recipe.seed)
    losses: list[float] = []
    running = 0.0
    for step in range(1, recipe.steps + 1):
        x0 = learned[torch.randint(len(learned), (recipe.batch,), generator=generator)]
        t = torch.randint(len(alphas_cumprod), (recipe.batch,), generator=generator)
        noise = torch.randn(x0.shape, generator=generator)
        abar = alphas_cumprod[t][:, None]
        noisy = abar.sqrt() * x0 + (1 - abar).sqrt() * noise
        loss = nn.functional.mse_loss(network(noisy, t / len(alphas_cumprod)), noise)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        falling.step()
        running += float(loss.detach())
        if step % 100 == 0:
            losses.append(running / 100)
            running = 0.0
            if report is not None:
                report(step, losses[-1])
    return Toy(recipe=recipe, learned=learned, network=network.eval(), losses=losses)


def forward_process(toy: Toy, count: int, frames: int) -> list[Tensor]:
    """Return `frames` times the same `count` x 2 points, from data to noise: samples of q(x_t | x0)
    along one path of noise a point (Ho et al. 2020, equation 4).
    """
    generator = torch.Generator().manual_seed(toy.recipe.seed + 1)
    x0 = toy.learned[torch.randperm(len(toy.learned), generator=generator)[:count]]
    noise = torch.randn(x0.shape, generator=generator)
    last = SCHEDULE.num_train_timesteps - 1
    alphas_cumprod = SCHEDULE.alphas_cumprod
    found = []
    for frame in range(frames):
        abar = alphas_cumprod[round(last * frame / (frames - 1))]
        found.append(math.sqrt(abar) * x0 + math.sqrt(1 - abar) * noise)
    return found


@torch.inference_mode()
def reverse_process(
    toy: Toy, count: int, *, sampler: str = "ddpm", steps: int = 100
) -> list[Tensor]:
    """Draw `count` points; return them before the first step and after every one, each count x 2
    and scaled as the network sees them.
    """
    chosen = SAMPLERS[sampler]
    levels = levels_for(SCHEDULE, chosen, steps, "uniform")
    generator = torch.Generator().manual_seed(toy.recipe.seed + 2)
    scale = SCHEDULE.initial_scale(levels.sigmas[0], variance_preserving=chosen.variance_preserving)
    start = torch.randn(count, 2, generator=generator) * scale
    sampling = chosen.start(start, levels, _Noise(generator, start.shape))
    found = []
    x, sigma = next(sampling)
    while True:
        found.append(x * input_scale(sigma))
        t = levels.timestep(sigma)
        t = SCHEDULE.timestep(sigma) if t is None else t
        times = torch.full((count,), t / SCHEDULE.num_train_timesteps)
        output = toy.network(found[-1], times)
        try:
            # In pure noise a small error is a large one of the point (Ho et al. clip too).
            denoised = clip(to_denoised("epsilon", x, output, sigma), _FARTHEST)
            x, sigma = sampling.send(denoised)
        except StopIteration as end:
            found.append(end.value / math.sqrt(1 + levels.sigmas[-1] ** 2))
            return found


def distance(found: Tensor, wanted: Tensor) -> float:
    """Return how far two N x 2 and M x 2 point sets are apart: the mean distance from a point to
    the nearest of the other set, both ways, averaged (the chamfer distance).
    """
    apart = torch.cdist(found, wanted)
    return float((apart.amin(dim=1).mean() + apart.amin(dim=0).mean()) / 2)


class _Noise:
    """Fresh noise for the samplers that want some; none of the toy's needs a Brownian path."""

    def __init__(self, generator: torch.Generator, shape: torch.Size) -> None:
        self._generator = generator
        self._shape = shape

    def __call__(self) -> Tensor:
        return torch.randn(self._shape, generator=self._generator)

    def between(self, sigma: float, sigma_next: float, /) -> Tensor:
        """Independent increments: right where each is asked for once."""
        return self()
