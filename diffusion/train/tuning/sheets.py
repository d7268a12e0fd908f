"""What a person looks at while a model is taught: a loss curve, and what it paints.

Promises: the same captions and the same noise every time, so that only the learning differs; what
was painted before a stop stays on the sheet. A sheet never changes the training.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from diffusion.generation import generate
from diffusion.model import Model
from diffusion.params import Params
from diffusion.train.buckets import Bucket, Placed, load_pixels
from diffusion.train.charts import loss_curve, sheet

# Columns of one sheet besides the training picture: the first and the last ones.
_COLUMNS: Final = 6
_SEED: Final = 1000
_SYNTAX: Final = re.compile(r"[\[\](){}<>|:\\]|\bAND\b|\bBREAK\b")


def chosen(placed: Sequence[Placed], count: int) -> list[Placed]:
    """Choose pictures of different captions, spread over the folder."""
    first: dict[str, Placed] = {}
    for one in placed:
        first.setdefault(one.picture.caption, one)
    found = list(first.values())
    step = max(1, len(found) // max(1, count))
    return found[::step][:count]


def plain(caption: str) -> str:
    """Return a caption without what a prompt would read as syntax."""
    return " ".join(_SYNTAX.sub(" ", caption).split())


def paint(model: Model, prompts: Sequence[str], buckets: Sequence[Bucket]) -> list[Image.Image]:
    """Paint one picture for each prompt with the model's defaults, always from the same noise."""
    defaults = model.info.defaults
    pictures: list[Image.Image] = []
    for number, (prompt, bucket) in enumerate(zip(prompts, buckets, strict=True)):
        params = Params(
            prompt=plain(prompt),
            seed=_SEED + number,
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            sampler=defaults.sampler,
            schedule=defaults.schedule,
            width=bucket.width,
            height=bucket.height,
            images=1,
        )
        *_, last = generate(model, params)
        pictures += last.pictures or ()
    return pictures


def keep(folder: Path, step: int, pictures: Sequence[Image.Image]) -> None:
    """Write what was painted at a step, for this sheet and later ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{step:08d}-{number}.png")


def write_sheet(path: Path, folder: Path, placed: Sequence[Placed]) -> None:
    """Lay out all that was kept: a row for each caption, the training picture first."""
    steps = sorted({file.name[:8] for file in folder.glob("[0-9]*-0.png")})
    if len(steps) > _COLUMNS:
        steps = [steps[0], *steps[1 - _COLUMNS :]]
    rows: list[list[Image.Image]] = []
    for number, one in enumerate(placed):
        row = [_as_picture(one)]
        for step in steps:
            with Image.open(folder / f"{step}-{number}.png") as painted:
                row.append(painted.convert("RGB"))
        rows.append(row)
    columns = ["folder", *("before" if int(s) == 0 else f"step {int(s)}" for s in steps)]
    sheet(rows, path, columns=columns, labels=[plain(one.picture.caption) for one in placed])


def write_curve(path: Path, log: Sequence[Mapping[str, float]], title: str) -> None:
    """Draw the loss, once there are two points of it."""
    if len(log) > 1:
        loss_curve(log, path, title=title)


def _as_picture(one: Placed) -> Image.Image:
    pixels = ((load_pixels(one.picture.path, one.bucket) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
