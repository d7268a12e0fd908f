"""What a pixel-space model paints: samples, what each is nearest to, and one on its way.

Promises: pictures by Algorithm 2 (Ho et al. 2020) through the engine as everybody uses it, the same
for the same seed. Below each sample stands the picture of the set that is nearest to it, so that
learning can be told from copying.
"""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion.generation import generate
from diffusion.loading import load_model
from diffusion.model import Model
from diffusion.params import MAX_IMAGES, Params
from diffusion.train.charts import sheet
from diffusion.train.ddpm.pictures import PictureSet, to_signal

_ACROSS: Final = 8


def sample(model: Model, *, images: int, steps: int, seed: int = 0) -> list[Image.Image]:
    """Paint pictures by Algorithm 2: with 1000 steps to the letter, with fewer over some of the
    levels (Nichol & Dhariwal 2021, section 4).
    """
    pictures: list[Image.Image] = []
    for first in range(0, images, MAX_IMAGES):
        count = min(MAX_IMAGES, images - first)
        # Picture i of a job starts from seed + i, so the jobs join without a seam.
        *_, last = generate(model, _params(model, images=count, steps=steps, seed=seed + first))
        pictures += last.pictures or ()
    return pictures


def on_the_way(model: Model, *, frames: int, steps: int, seed: int = 0) -> list[Image.Image]:
    """Return what the network takes one picture for at `frames` moments of its making, the last
    one the picture itself.
    """
    shown = {round((i + 1) * steps / frames) for i in range(frames)}
    params = _params(model, images=1, steps=steps, seed=seed)
    return [step.preview() for step in generate(model, params) if step.index in shown]


def nearest(picture: Image.Image, pictures: PictureSet) -> Image.Image:
    """Return the picture of a set with the least squared difference, mirrored ones among them."""
    wanted = to_signal(torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1))
    both = torch.cat([pictures.pixels, pictures.pixels[pictures.mirrored].flip(-1)])
    apart = torch.stack([(to_signal(each) - wanted).square().mean() for each in both])
    return _picture(both[int(apart.argmin())])


def sample_sheet(
    folder: Path, pictures: PictureSet, path: Path, *, steps: int = 250, seed: int = 0
) -> None:
    """Paint sixteen pictures with the model in a folder and save them as a sheet."""
    model = load_model(folder)
    painted = sample(model, images=2 * _ACROSS, steps=steps, seed=seed)
    rows, labels = [], []
    for part in (painted[:_ACROSS], painted[_ACROSS:]):
        rows += [part, [nearest(picture, pictures) for picture in part]]
        labels += ["painted", "the nearest that was learned"]
    rows.append(on_the_way(model, frames=min(_ACROSS, steps), steps=steps, seed=seed))
    labels.append("the first on its way: what the network takes it for")
    sheet(rows, path, labels=labels)


def _picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _params(model: Model, *, images: int, steps: int, seed: int) -> Params:
    return Params(
        prompt="",
        seed=seed,
        steps=steps,
        guidance_scale=1.0,
        sampler="ddpm",
        schedule="uniform",
        width=model.info.native_width,
        height=model.info.native_height,
        images=images,
    )
