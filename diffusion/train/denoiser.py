"""Train the shipped model's denoiser and its text encoder together (Ho et al. 2020, Algorithm 1, in
latent space).

The network predicts velocity, v = a eps - s x0 with a = sqrt(abar), s = sqrt(1 - abar) (Salimans &
Ho 2022, section 4), and the conditioning is dropped at random for classifier-free guidance (Ho &
Salimans 2022, Algorithm 1). Latents are encoded once; a step draws rows of a cache.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from diffusion.networks.unet import UNet
from diffusion.text import final_norm, hidden_states
from diffusion.text.clip import TextModel
from diffusion.train.captions import Colour
from diffusion.train.compose.composition import Composition
from diffusion.train.precision import Precision, attention, autocast, choose_precision
from diffusion.train.state import Average, Budget, Progress, load_state, never, save_state
from diffusion.train.vae import cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiserRecipe:
    """Numbers of the run; the defaults are those of the CPU plan.

    `workers` Python threads share each batch. On a CPU that beats threads inside the operators:
    they meet once a step and not once an operator (two cores: 2.0 times one, against 1.4 times).
    precision: None takes what this machine is faster in, and keeps to it when the run goes on.
    """

    batch: int = 32
    learning_rate: float = 7e-4
    total_samples: int = 400_000
    average_decay: float = 0.9995
    workers: int = 1
    precision: Precision | None = None
    seed: int = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentCache:
    """Encoded pictures of one latent shape.

    latents: M x z x h x w, normalised. subjects: M, what each shows (without its pixels).
    backgrounds: M, the colour behind. share: how often a batch is drawn from this cache.
    """

    latents: Tensor
    subjects: Sequence[Composition]
    backgrounds: Sequence[Colour]
    share: float


# Draw a caption for a picture on a background; "" drops the conditioning.
Captioner = Callable[[Composition, Colour, np.random.Generator], str]


class Denoiser(nn.Module):
    """Text transformer and U-Net as one network from token ids to velocity."""

    def __init__(self, text_model: TextModel, unet: UNet) -> None:
        super().__init__()
        self.text = text_model
        self.unet = unet

    def forward(self, x: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Predict v, N x z x h x w, from noisy latents, timesteps (N) and token ids (N x T)."""
        context = final_norm(self.text)(hidden_states(self.text, tokens)[-1])
        return self.unet(x, timesteps, context)  # type: ignore[no-any-return]


def stratified_timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """Draw `count` integer timesteps: half of them uniform, half logit-normal, each half in strata.

    Strata lower the variance of the loss; the logit-normal half (Esser et al. 2024, section 3.1)
    spends more steps where shapes are decided than at both ends, where there is little to learn.
    """
    half = count // 2
    u = (torch.arange(half) + torch.rand(half, generator=generator)) / half
    w = (torch.arange(count - half) + torch.rand(count - half, generator=generator)) / (
        count - half
    )
    normal = math.sqrt(2) * torch.erfinv((2 * w - 1).clamp(-0.9999, 0.9999))
    t = torch.cat([u, torch.sigmoid(normal)])
    return (t * total).long().clamp(0, total - 1)


def velocity_loss(
    network: Denoiser,
    latents: Tensor,
    tokens: Tensor,
    alphas_cumprod: Tensor,
    generator: torch.Generator,
    device: str = "cpu",
    precision: Precision = "float32",
) -> Tensor:
    """Return the mean squared error of the predicted velocity at random timesteps (Algorithm 1).

    Everything is drawn on the CPU, so that a device changes the rounding and nothing else.
    """
    t = stratified_timesteps(len(latents), len(alphas_cumprod), generator)
    noise = torch.randn(latents.shape, generator=generator)
    a = alphas_cumprod[t].sqrt()[:, None, None, None]
    s = (1 - alphas_cumprod[t]).sqrt()[:, None, None, None]
    noisy, velocity = (a * latents + s * noise).to(device), (a * noise - s * latents).to(device)
    with autocast(device, precision):
        predicted = network(noisy, t.to(device), tokens.to(device))
    return torch.nn.functional.mse_loss(predicted.float(), velocity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Draw batches of latents and token ids from the caches."""

    caches: Sequence[LatentCache]
    caption: Captioner
    tokenize: Callable[[Sequence[str]], Tensor]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return `count` latents of one shape and their N x T token ids."""
        shares = torch.tensor([cache.share for cache in self.caches])
        cache = self.caches[int(torch.multinomial(shares, 1, generator=generator))]
        rows = torch.randint(len(cache.latents), (count,), generator=generator)
        seed = int(torch.randint(2**62, (1,), generator=generator))
        rng = np.random.default_rng(seed)
        captions = [
            self.caption(cache.subjects[i], cache.backgrounds[i], rng) for i in rows.tolist()
        ]
        return cache.latents[rows], self.tokenize(captions)


class GradientStep:
    """One batch's loss and gradients, shared out between several threads."""

    def __init__(
        self,
        network: Denoiser,
        batches: Batches,
        alphas_cumprod: Tensor,
        recipe: DenoiserRecipe,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self.device, self.precision = device, precision
        self.network = network
        self.batches = batches
        self.alphas_cumprod = alphas_cumprod
        self.parameters = list(network.parameters())
        self.share = recipe.batch // recipe.workers
        self.pool = ThreadPoolExecutor(recipe.workers, thread_name_prefix="gradient")
        self.workers = recipe.workers

    def __call__(self, seed: int) -> float:
        """Set every parameter's gradient to the batch's mean; return the loss."""
        seeds = [seed * self.workers + i for i in range(self.workers)]
        with attention(self.device, self.precision):
            results = list(self.pool.map(self._work, seeds))
        for i, parameter in enumerate(self.parameters):
            gradient = results[0][1][i]
            for _, other in results[1:]:
                gradient += other[i]
            parameter.grad = gradient.div_(self.workers)
        return sum(loss for loss, _ in results) / self.workers

    def _work(self, seed: int) -> tuple[float, tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(seed)
        latents, tokens = self.batches.draw(self.share, generator)
        loss = velocity_loss(
            self.network,
            latents,
            tokens,
            self.alphas_cumprod,
            generator,
            self.device,
            self.precision,
        )
        gradients = torch.autograd.grad(loss, self.parameters)
        return float(loss.detach()), gradients


def train_denoiser(
    networks: Mapping[str, nn.Module],
    batches: Batches,
    alphas_cumprod: Tensor,
    folder: Path,
    *,
    recipe: DenoiserRecipe,
    minutes: float,
    report: Callable[[Progress], None],
    save_every: int = 400,
    device: str = "cpu",
    stop: Callable[[], bool] = never,
) -> Average:
    """Train (or go on training) "text" and "unet"; return the averaged weights.

    State goes to `folder`/denoiser-state.safetensors. Ends after `minutes`, at the recipe's end or
    after the step in which `stop` says so.
    """
    network = Denoiser(networks["text"], networks["unet"]).to(device)  # type: ignore[arg-type]
    # Fused: one pass over the weights in place of eight, a third of the time on a CPU.
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    average, progress = Average(decay=recipe.average_decay), Progress()
    state = folder / "denoiser-state.safetensors"

    def save() -> None:
        save_state(
            state, networks=networks, optimiser=optimiser, average=average, progress=progress
        )

    load_state(state, networks=networks, optimiser=optimiser, average=average, progress=progress)
    progress.precision = progress.precision or recipe.precision or choose_precision(device)
    gradient_step = GradientStep(
        network, batches, alphas_cumprod, recipe, device, progress.precision
    )
    named = {f"{part}.{n}": p for part, net in networks.items() for n, p in net.named_parameters()}
    average.begin(named)
    budget, before = Budget(minutes=minutes), progress.seconds
    losses: list[float] = []
    while progress.samples < recipe.total_samples and not (budget.over or stop()):
        optimiser.param_groups[0]["lr"] = recipe.learning_rate * cosine(
            progress.samples / recipe.total_samples
        )
        losses.append(gradient_step(recipe.seed + progress.steps))
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update(named)
        progress.steps += 1
        progress.samples += recipe.batch
        progress.seconds = before + budget.spent
        if progress.steps % 50 == 0:
            mean = sum(losses) / len(losses)
            progress.log.append({"samples": progress.samples, "loss": mean})
            losses.clear()
            report(progress)
        if progress.steps % save_every == 0:
            save()
    save()
    return average
