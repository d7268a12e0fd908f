"""Runs on tiny models for tests of training on anybody's pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from diffusion.generation import generate
from diffusion.model import Model
from diffusion.params import Params
from diffusion.train.state import Progress
from diffusion.train.tuning.begin import Opened, Wish, open_run, recipe_for
from diffusion.train.tuning.recipe import Recipe
from diffusion.train.tuning.subject import Subject
from diffusion.train.tuning.tune import Run, go_on
from diffusion.train.tuning.words import captions_context
from tests.drawings import write_drawings
from tests.tiny import tiny_folder

CAPTION = "red square"


class Quiet:
    """Watches a run without painting, and stops it before the step `until`."""

    def __init__(self, until: int | None = None) -> None:
        self.until = until
        self.losses: list[float] = []
        self.steps = 0

    def stepped(self, progress: Progress, loss: float) -> None:
        self.steps = progress.steps
        self.losses.append(loss)

    def pictured(self, progress: Progress) -> None:
        self.steps = progress.steps

    def stops(self) -> bool:
        return self.until is not None and self.steps >= self.until


def recipe(method: str = "lora", **given: Any) -> Recipe:  # noqa: ANN401 - fields of many types
    base: dict[str, object] = {"steps": 16, "batch": 4, "rank": 4, "alpha": 2.0, "warmup": 2}
    more: dict[str, object] = {"word": "inky"} if method == "inversion" else {}
    return recipe_for(tiny_folder(), method, {**base, **more, **given})


def opened(root: Path, chosen: Recipe, *, name: str = "a", model: Path | None = None) -> Opened:
    pictures = root / "drawings"
    if not pictures.exists():
        write_drawings(pictures)
    source = model or tiny_folder()
    is_folder = chosen.method in ("full", "scratch") and (source / "config.json").is_file()
    stem = chosen.word if chosen.method == "inversion" else name
    (root / name).mkdir(exist_ok=True)
    out = root / name / (stem if is_folder else f"{stem}.safetensors")
    wish = Wish(pictures=pictures, model=source, recipe=chosen, out=out, precision="float32")
    return open_run(wish)


def trained(root: Path, chosen: Recipe, *, name: str = "a", model: Path | None = None) -> Run:
    run = opened(root, chosen, name=name, model=model).run
    assert go_on(run, Quiet())
    return run


def fixed_loss(run: Run, *, batches: int = 4) -> float:
    """The loss on the same draws, whatever was learned."""
    with run.attached(), torch.no_grad():
        losses = []
        for seed in range(batches):
            generator = torch.Generator().manual_seed(777 + seed)
            losses.append(float(run._loss(run.pictures.draw(8, generator), generator)))
    return sum(losses) / batches


def bits(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def ask(subject: Subject, caption: str = CAPTION) -> Tensor:
    """One pass of the U-Net under a caption."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, subject.unet.config.in_channels, 8, 8, generator=generator)
    with torch.no_grad():
        context = captions_context(subject.encoder, [caption, ""])
        result: Tensor = subject.unet(x, torch.tensor([200.0, 700.0]), context)
    return result


def picture(model: Model, prompt: str) -> Image.Image:
    params = Params(prompt=prompt, steps=2, images=1, width=32, height=32, guidance_scale=2.0)
    *_, last = generate(model, params)
    assert last.pictures
    return last.pictures[0]
