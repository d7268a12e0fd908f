"""Train the judge on real drawings of all styles, in pieces of any length.

Promises: resumable (weights, Adam's moments and progress in one safetensors file, replaced
whole), the same run for the same seed, metrics on drawings that were never trained on. Never: a
generated picture, a caption, a keyword, the autoencoder.

    python -m diffusion.train.judge.train DATA STATE --minutes 20 --threads 1 --out judge
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from diffusion.train.data import JUDGE_STYLES, Row, read_art, read_index
from diffusion.train.judge.measure import Judge, Score, judge_names
from diffusion.train.judge.network import JUDGE_SIZE, JudgeConfig, JudgeNet
from diffusion.train.packages import STYLES
from diffusion.train.state import (
    Average,
    Budget,
    Progress,
    load_state,
    save_state,
    write_atomically,
)

Pixels = npt.NDArray[np.uint8]

LABEL_SMOOTHING: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the judge is trained; the length of the run belongs to the learning-rate schedule."""

    batch: int = 128
    samples: int = 300_000
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    style_weight: float = 0.5
    seed: int = 20
    save_every: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Rows the judge trains on, rows it never sees, and its names and styles in order."""

    names: tuple[str, ...]
    styles: tuple[str, ...]
    train: tuple[Row, ...]
    unseen: tuple[Row, ...]


def split_rows(rows: Sequence[Row], least_styles: int = JUDGE_STYLES) -> Split:
    """Keep names drawn in several styles, and part the rows by their `unseen_by_judge` flag."""
    drawn: dict[str, set[str]] = {}
    for row in rows:
        drawn.setdefault(row.name, set()).add(row.style)
    names = tuple(sorted(name for name, styles in drawn.items() if len(styles) >= least_styles))
    known = set(names)
    present = {row.style for row in rows}
    kept = [row for row in rows if row.name in known]
    return Split(
        names=names,
        styles=tuple(style for style in STYLES if style in present),
        train=tuple(row for row in kept if not row.unseen_by_judge),
        unseen=tuple(row for row in kept if row.unseen_by_judge),
    )


def on_white(art: Pixels) -> Pixels:
    """Lay N x H x W x 4 straight-alpha drawings on white; return N x H x W x 3."""
    alpha = art[..., 3:].astype(np.float32) / 255.0
    laid: Pixels = np.rint(art[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    return laid


def augment(art: Tensor, generator: torch.Generator) -> Tensor:
    """Turn N x 4 x 64 x 64 drawings in 0..1 (straight alpha) into N x 3 x 64 x 64 in [-1, 1].

    Rotation within 15 degrees, size 0.8 to 1.2, shift within 8 %, mirror, a plain background,
    slight changes of colour, blur for half of them, noise.
    """
    n = len(art)
    premultiplied = torch.cat([art[:, :3] * art[:, 3:], art[:, 3:]], dim=1)
    grid = functional.affine_grid(_affine(n, generator), [n, 4, *art.shape[2:]], False)
    moved = functional.grid_sample(premultiplied, grid, align_corners=False)
    colour = torch.rand(n, 3, 1, 1, generator=generator)
    plain = torch.rand(n, 1, 1, 1, generator=generator) < 0.6
    background = torch.where(plain, torch.ones(1, 3, 1, 1), colour)
    x = (moved[:, :3] + background * (1 - moved[:, 3:])) * 2 - 1
    gain = 1 + 0.1 * torch.randn(n, 3, 1, 1, generator=generator).clamp(-2, 2)
    x = (x * gain + 0.05 * torch.randn(n, 1, 1, 1, generator=generator)).clamp(-1, 1)
    half = functional.interpolate(
        functional.avg_pool2d(x, 2), scale_factor=2, mode="bilinear", align_corners=False
    )
    strength = torch.rand(n, 1, 1, 1, generator=generator)
    x = torch.lerp(x, half, torch.where(strength < 0.5, torch.zeros(()), strength))
    sigma = 0.08 * torch.rand(n, 1, 1, 1, generator=generator)
    return (x + sigma * torch.randn(x.shape, generator=generator)).clamp(-1, 1)


def _affine(n: int, generator: torch.Generator) -> Tensor:
    def spread(limit: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * limit

    angle = spread(math.radians(15.0))
    scale = 1.0 + spread(0.2)
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    top = torch.stack([cos * mirror, -sin, spread(0.16)], dim=1)
    bottom = torch.stack([sin * mirror, cos, spread(0.16)], dim=1)
    return torch.stack([top, bottom], dim=1)


def learning_rate(recipe: Recipe, samples: int) -> float:
    """Return the rate after `samples`: 3 % linear warm-up, then half a cosine down to 1 %."""
    done = min(1.0, samples / recipe.samples)
    if done < 0.03:
        return recipe.learning_rate * (done + 1e-4) / 0.03
    cosine = 0.5 * (1 + math.cos(math.pi * (done - 0.03) / 0.97))
    return recipe.learning_rate * (0.01 + 0.99 * cosine)


class Trainer:
    """The network, its optimiser and its data, with one step as the only move."""

    def __init__(self, split: Split, art: Pixels, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.split, self.recipe = split, recipe
        config = JudgeConfig(names=len(split.names), styles=len(split.styles))
        self.network = JudgeNet(config)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=recipe.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=recipe.weight_decay,
        )
        self.progress, self.average = Progress(), Average(decay=0.0)
        name_index = {name: i for i, name in enumerate(split.names)}
        style_index = {style: i for i, style in enumerate(split.styles)}
        self.names = torch.tensor([name_index[row.name] for row in split.train])
        self.styles = torch.tensor([style_index[row.style] for row in split.train])
        rows = [row.row for row in split.train]
        self.art = torch.from_numpy(np.ascontiguousarray(art[rows])).permute(0, 3, 1, 2)
        self.unseen = on_white(art[[row.row for row in split.unseen]])

    def load(self, path: Path) -> bool:
        """Go on from a checkpoint; return False when there is none."""
        return load_state(
            path,
            networks={"judge": self.network},
            optimiser=self.optimiser,
            average=self.average,
            progress=self.progress,
        )

    def save(self, path: Path) -> None:
        """Replace the checkpoint."""
        save_state(
            path,
            networks={"judge": self.network},
            optimiser=self.optimiser,
            average=self.average,
            progress=self.progress,
        )

    @property
    def finished(self) -> bool:
        """Whether the schedule has come to its end."""
        return self.progress.samples >= self.recipe.samples

    def step(self) -> float:
        """Train on one batch, chosen by the seed and the step's number alone; return the loss."""
        generator = torch.Generator().manual_seed(
            self.recipe.seed * 1_000_003 + self.progress.steps
        )
        chosen = torch.randint(len(self.art), (self.recipe.batch,), generator=generator)
        x = augment(self.art[chosen].float() / 255.0, generator)
        self.network.train()
        name_logits, style_logits = self.network(x)
        loss = functional.cross_entropy(
            name_logits, self.names[chosen], label_smoothing=LABEL_SMOOTHING
        ) + self.recipe.style_weight * functional.cross_entropy(style_logits, self.styles[chosen])
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.progress.samples)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.progress.steps += 1
        self.progress.samples += self.recipe.batch
        return float(loss.detach())

    def score(self) -> Score:
        """Measure on the drawings that are never trained on."""
        judge = Judge(self.network, self.split.names, self.split.styles)
        return judge_names(
            judge,
            self.unseen,
            [row.name for row in self.split.unseen],
            [row.style for row in self.split.unseen],
            distractors=min(99, len(self.split.names) - 1),
        )


def train(
    trainer: Trainer, folder: Path, *, minutes: float, report: Callable[[str], None]
) -> Score:
    """Train for so many minutes or to the end of the schedule; state and metrics go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "judge-state.safetensors"
    if trainer.load(state):
        report(f"goes on after {trainer.progress.samples} samples")
    budget, before = Budget(minutes=minutes), trainer.progress.seconds
    losses: list[float] = []
    while not (trainer.finished or budget.over):
        losses.append(trainer.step())
        if trainer.progress.steps % trainer.recipe.save_every == 0:
            trainer.progress.seconds = before + budget.spent
            _note(trainer, folder, losses, report)
            trainer.save(state)
            losses = []
    trainer.progress.seconds = before + budget.spent
    if losses or not trainer.progress.log:
        score = _note(trainer, folder, losses, report)
        trainer.save(state)
    else:
        score = trainer.score()
    return score


def _note(
    trainer: Trainer, folder: Path, losses: list[float], report: Callable[[str], None]
) -> Score:
    score = trainer.score()
    progress = trainer.progress
    entry = {
        "samples": float(progress.samples),
        "seconds": round(progress.seconds, 1),
        "right_among": score.right_among,
        "top1": score.top1,
        "top5": score.top5,
        "style": score.style or 0.0,
    }
    if losses:
        entry["loss"] = round(sum(losses) / len(losses), 4)
    progress.log.append(entry)
    told = {"finished": trainer.finished, "unseen": asdict(score), "log": progress.log}
    part = folder / "judge-metrics.part"
    part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    part.replace(folder / "judge-metrics.json")
    report(
        f"{progress.samples} samples, {progress.seconds:.0f} s, loss {entry.get('loss', 0.0):.3f}, "
        f"unseen: right {score.right_among:.3f}, top-1 {score.top1:.3f}, "
        f"style {score.style or 0.0:.3f}"
    )
    return score


def export(trainer: Trainer, folder: Path, score: Score) -> None:
    """Write judge.safetensors (16-bit floats) and judge.json (names, styles, sizes, figures)."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in trainer.network.state_dict().items()
    }
    write_atomically(folder / "judge.safetensors", weights, {"format": "pt"})
    config = trainer.network.config
    info = {
        "names": trainer.split.names,
        "styles": trainer.split.styles,
        "channels": config.channels,
        "embedding": config.embedding,
        "scale": config.scale,
        "trained_samples": trainer.progress.samples,
        "unseen": asdict(score),
    }
    part = folder / "judge.part"
    part.write_text(json.dumps(info, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(folder / "judge.json")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description="Train the judge on real drawings.")
    parser.add_argument("data", type=Path, help="folder that the data set was built into")
    parser.add_argument("state", type=Path, help="folder for the checkpoint and the metrics")
    parser.add_argument("--minutes", type=float, default=25.0, help="stop after so long")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--samples", type=int, default=Recipe().samples, help="whole length")
    parser.add_argument("--out", type=Path, help="folder for the finished judge")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    console = Console()
    split = split_rows(read_index(chosen.data))
    trainer = Trainer(split, read_art(chosen.data, JUDGE_SIZE), Recipe(samples=chosen.samples))
    score = train(trainer, chosen.state, minutes=chosen.minutes, report=console.print)
    if chosen.out is not None:
        export(trainer, chosen.out, score)


if __name__ == "__main__":
    main()
