"""Train the autoencoder of the shipped model.

Loss: L1 + L1 of the pictures' gradients + 2 MSE + a small KL towards the standard normal (Rombach
et al. 2022, appendix G, without the perceptual and adversarial parts: there are no outside networks
here to take them from).
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from diffusion.networks.configs import VAEConfig
from diffusion.networks.vae import AutoencoderKL
from diffusion.train.precision import Precision, autocast, choose_precision
from diffusion.train.state import Average, Budget, Progress, load_state, never, save_state

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class VAERecipe:
    """Numbers of the run; the defaults are those of the CPU plan."""

    config: VAEConfig
    batch: int = 16
    learning_rate: float = 1.2e-3
    total_samples: int = 60_000
    kl_weight: float = 0.002
    precision: Precision | None = None
    seed: int = 1


def composite(art: Tensor, background: Tensor) -> Tensor:
    """Lay N x 4 x H x W straight-alpha art in [0, 1] on N x 3 colours; return N x 3 x H x W in [-1,
    1].
    """
    alpha = art[:, 3:]
    return (art[:, :3] * alpha + background[:, :, None, None] * (1 - alpha)) * 2 - 1


def backgrounds(count: int, generator: torch.Generator) -> Tensor:
    """Draw N x 3 background colours: white seven times in ten, else any."""
    colours = torch.rand(count, 3, generator=generator)
    white = torch.rand(count, 1, generator=generator) < 0.7
    return torch.where(white, torch.ones(3), colours)


def augment(art: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the art and shift it by up to four pixels, N x 4 x H x W to the same."""
    flip = torch.rand(len(art), generator=generator) < 0.5
    art = torch.where(flip[:, None, None, None], art.flip(-1), art)
    dy, dx = torch.randint(-4, 5, (2,), generator=generator).tolist()
    padded = torch.nn.functional.pad(art, (4, 4, 4, 4))
    height, width = art.shape[-2:]
    return padded[..., 4 + dy : 4 + dy + height, 4 + dx : 4 + dx + width]


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """L1 + L1 of horizontal and vertical differences + 2 MSE, each a mean over everything."""
    error = decoded - images
    gradients = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + gradients + 2 * error.square().mean()


def cosine(done: float, *, warmup: float = 0.02, floor: float = 0.03) -> float:
    """Return the learning-rate factor at the fraction `done`: warm-up, then half a cosine."""
    if done < warmup:
        return (done + 1e-3) / (warmup + 1e-3)
    angle = math.pi * min(1.0, (done - warmup) / (1 - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(angle))


@torch.no_grad()
def psnr(vae: AutoencoderKL, art: Tensor) -> float:
    """Return the mean PSNR in dB of reconstructions on white."""
    images = composite(art, torch.ones(len(art), 3))
    decoded = vae.decode(vae.encode(images)).clamp(-1, 1)
    error = (decoded - images).square().mean(dim=(1, 2, 3)) / 4
    return float((-10 * error.log10()).mean())


def save_pairs(path: Path, vae: AutoencoderKL, art: Tensor) -> None:
    """Save a sheet: originals in the upper row of each pair, reconstructions below."""
    images = composite(art, torch.ones(len(art), 3))
    with torch.no_grad():
        decoded = vae.decode(vae.encode(images)).clamp(-1, 1)
    # White fills up the last row.
    room = -len(art) % 12
    both = [
        torch.nn.functional.pad(p, (0, 0) * 3 + (0, room), value=1.0) for p in (images, decoded)
    ]
    rows = [
        torch.cat(list(part[start : start + 12]), dim=-1)
        for start in range(0, len(art), 12)
        for part in both
    ]
    sheet = ((torch.cat(rows, dim=-2) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(sheet).save(path)


def train_vae(
    pixels: Pixels,
    folder: Path,
    *,
    recipe: VAERecipe,
    minutes: float,
    report: Callable[[Progress], None],
    save_every: int = 500,
    decoder_of: AutoencoderKL | None = None,
    device: str = "cpu",
    begin: Mapping[str, Tensor] | None = None,
    stop: Callable[[], bool] = never,
) -> AutoencoderKL:
    """Train (or go on training) on N x H x W x 4 art; return the network with averaged weights.

    State, a sheet of reconstructions and metrics go to `folder`. Ends after `minutes`, at the
    recipe's end or after the step in which `stop` says so. With `decoder_of`, that network's
    decoder is sharpened and its encoder stays: the latents a denoiser was trained on keep their
    meaning. `begin`: weights to begin with.
    """
    torch.manual_seed(recipe.seed)
    vae, part = (
        (AutoencoderKL(recipe.config), "vae") if decoder_of is None else (decoder_of, "decoder")
    )
    if begin is not None:
        vae.load_state_dict(begin)
    vae.to(device)
    trained = _trained(vae, decoder_only=decoder_of is not None)
    optimiser = torch.optim.AdamW(trained.values(), lr=1.0, betas=(0.9, 0.99), weight_decay=0.01)
    average, progress = Average(decay=0.998), Progress()
    state = folder / f"{part}-state.safetensors"

    def save() -> None:
        save_state(
            state, networks={"vae": vae}, optimiser=optimiser, average=average, progress=progress
        )

    load_state(
        state, networks={"vae": vae}, optimiser=optimiser, average=average, progress=progress
    )
    average.begin(trained)
    progress.precision = progress.precision or recipe.precision or choose_precision(device)
    art = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    budget, before = Budget(minutes=minutes), progress.seconds
    while progress.samples < recipe.total_samples and not (budget.over or stop()):
        rate = recipe.learning_rate * cosine(progress.samples / recipe.total_samples)
        optimiser.param_groups[0]["lr"] = rate
        # One seed a step, so that a run that was stopped goes on as if it had not been.
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + progress.steps)
        images = _draw(art, recipe.batch, generator).to(device)
        with autocast(device, progress.precision):
            loss = _loss(vae, images, generator, recipe.kl_weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimiser.step()
        average.update(trained)
        progress.steps += 1
        progress.samples += recipe.batch
        progress.seconds = before + budget.spent
        if progress.steps % 50 == 0:
            progress.log.append({"samples": progress.samples, "loss": float(loss.detach())})
            report(progress)
        if progress.steps % save_every == 0:
            save()
    save()
    _finish(vae, average, art, folder / part, progress)
    return vae


def _trained(vae: AutoencoderKL, *, decoder_only: bool) -> dict[str, torch.nn.Parameter]:
    """Name the parameters to train and freeze the others."""
    chosen: dict[str, torch.nn.Parameter] = {}
    for name, parameter in vae.named_parameters():
        wanted = not decoder_only or name.startswith(("decoder.", "post_quant_conv."))
        parameter.requires_grad_(wanted)
        if wanted:
            chosen[f"vae.{name}"] = parameter
    return chosen


def _draw(art: Tensor, count: int, generator: torch.Generator) -> Tensor:
    chosen = torch.randint(len(art), (count,), generator=generator)
    batch = augment(art[chosen].float() / 255, generator)
    return composite(batch, backgrounds(count, generator))


def _finish(
    vae: AutoencoderKL, average: Average, art: Tensor, path: Path, progress: Progress
) -> None:
    """Put the averaged weights in and write what they can do."""
    vae.cpu()
    weights = {n.removeprefix("vae."): t for n, t in average.shadow.items()}
    vae.load_state_dict({**vae.state_dict(), **weights})
    vae.eval().requires_grad_(requires_grad=False)
    sample = art[:: max(1, len(art) // 48)][:48].float() / 255
    save_pairs(path.with_name(f"{path.name}-pairs.png"), vae, sample)
    metrics = {"samples": progress.samples, "seconds": progress.seconds, "psnr": psnr(vae, sample)}
    told = json.dumps(metrics, indent=1) + "\n"
    path.with_name(f"{path.name}-metrics.json").write_text(told, encoding="utf-8")


def _loss(
    vae: AutoencoderKL, images: Tensor, generator: torch.Generator, kl_weight: float
) -> Tensor:
    mean, logvar = vae.moments(images)
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    decoded = vae.decode((mean + torch.exp(0.5 * logvar) * noise) * vae.config.scaling_factor)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return reconstruction_loss(decoded, images) + kl_weight * kl
