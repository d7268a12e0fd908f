"""What becomes of a trained first stage: sheets along the way, its quality, and its files.

Promises: a sharpened decoder goes with the denoiser that it came with; a first stage from nothing
is written with latents of deviation 1, whatever it learned.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from torch import Tensor

from diffusion.info import is_shipped_format
from diffusion.model import LinearPreview
from diffusion.networks.configs import VAEConfig
from diffusion.networks.vae import AutoencoderKL
from diffusion.train.buckets import Bucket, Placed, load_pixels
from diffusion.train.emoji import normalise_latents, preview_projection
from diffusion.train.state import Progress, write_atomically
from diffusion.train.tuning.autoencoder import AutoencoderRun
from diffusion.train.tuning.full import half, write_model
from diffusion.train.tuning.sheets import chosen, keep, write_curve, write_sheet
from diffusion.train.tuning.subject import Subject

# Pictures by which latents are normalised and quality is told.
_SAMPLE: Final = 128


def squares(subject: Subject, placed: Sequence[Placed], side: int = 0) -> Tensor:
    """Return some pictures as opaque squares, N x 4 x H x W in [0, 1]."""
    native = Bucket(width=subject.side(side), height=subject.side(side))
    every = max(1, len(placed) // _SAMPLE)
    some = [load_pixels(one.picture.path, native) for one in placed[::every]]
    pixels = (torch.stack(some) + 1) / 2
    return torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)


def quality(run: AutoencoderRun) -> float:
    """Return the mean PSNR in dB of reconstructions by the averaged weights."""
    device, found = run.subject.model.device, []
    art = squares(run.subject, run.placed, run.recipe.side)[:, :3] * 2 - 1
    with run.averaged() as vae, torch.no_grad():
        for part in torch.split(art, 4):
            images = part.to(device)
            error = (vae.decode(vae.encode(images)).clamp(-1, 1) - images).square() / 4
            found.append(-10 * error.mean(dim=(1, 2, 3)).log10())
    return float(torch.cat(found).mean())


@torch.no_grad()
def finish_autoencoder(run: AutoencoderRun) -> Path:
    """Write the result: a folder of the shipped format with the new first stage in it, or a file of
    an autoencoder alone, which a model is given as its `vae`.
    """
    subject, recipe = run.subject, run.recipe
    notes = {
        "easel_method": "autoencoder",
        "easel_base": subject.model.info.name,
        "easel_recipe": " ".join(f"{k}={v}" for k, v in asdict(recipe).items()),
    }
    for name, parameter in run.named.items():
        parameter.data = run.average.shadow[name].data
    # What follows is worked out on the CPU, where the shipped model's was.
    vae, art = run.vae.cpu(), squares(subject, run.placed, recipe.side)
    if not is_shipped_format(subject.source):
        return _write_alone(run.place.out, vae, art, notes, scratch=recipe.scratch)
    if recipe.scratch:
        normalise_latents(vae, art)
    weight, bias = preview_projection(vae, art)
    networks = {
        "unet": subject.unet.state_dict(),
        "text": subject.encoder.model.state_dict(),
        "vae": vae.state_dict(),
    }
    preview = LinearPreview(weight=weight, bias=bias)
    return write_model(run.place.out, subject, networks, notes, preview)


def _write_alone(
    out: Path, vae: AutoencoderKL, art: Tensor, notes: dict[str, str], *, scratch: bool
) -> Path:
    scaling = vae.config.scaling_factor
    if scratch:
        # Scaled by the deviation of all latents, as the original code does (its "scale by std").
        latents = torch.cat([vae.encode(part[:, :3] * 2 - 1) for part in torch.split(art, 4)])
        scaling = float(scaling / latents.std())
        vae.config = replace(vae.config, scaling_factor=scaling)
    tensors = {name: half(name, tensor) for name, tensor in vae.state_dict().items()}
    if scaling != VAEConfig().scaling_factor:
        tensors["scale_factor"] = torch.tensor(scaling)
    write_atomically(out, tensors, notes)
    return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reconstructor:
    """Lays out reconstructions along the way; a `tune.Watcher`, as `watching.Painter` is."""

    run: AutoencoderRun
    count: int = 4
    times: int = 4
    on_step: Callable[[Progress, float], None] = field(default=lambda progress, loss: None)
    should_stop: Callable[[], bool] = field(default=lambda: False)

    def stepped(self, progress: Progress, loss: float) -> None:
        """Hand on a step."""
        self.on_step(progress, loss)

    def stops(self) -> bool:
        """Ask whether to stop."""
        return self.should_stop()

    @torch.no_grad()
    def pictured(self, progress: Progress) -> None:
        """Reconstruct and draw when it is time for it."""
        total, folder = self.run.recipe.steps, self.run.place.folder
        if progress.steps % max(1, total // max(1, self.times)) and progress.steps != total:
            return
        write_curve(folder / "loss.png", progress.log, self.run.place.out.stem)
        if not self.count:
            return
        shown = chosen(self.run.placed, self.count)
        pictures: list[Image.Image] = []
        with self.run.averaged() as vae:
            for one in shown:
                pixels = load_pixels(one.picture.path, one.bucket)
                decoded = vae.decode(vae.encode(pixels[None].to(self.run.subject.model.device)))
                whole = ((decoded[0].float().cpu().clamp(-1, 1) + 1) * 127.5).round()
                pictures.append(Image.fromarray(whole.byte().permute(1, 2, 0).numpy()))
        keep(folder / "samples", progress.steps, pictures)
        write_sheet(folder / "samples.png", folder / "samples", shown)
