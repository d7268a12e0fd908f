"""Train the describer on real drawings of all styles, in pieces of any length.

Promises: resumable (weights, Adam's moments and progress in one file, replaced whole); the same run
for the same seed and machine, however often it was stopped; nothing that is measured is learned.
Never: a drawing that is kept out, a picture that a model painted, the autoencoder, the judge.

A name's vector is one of its own plus those of its words, so "blue heart" learns from every heart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion.describe_network import DescriberConfig, DescriberNet
from diffusion.train.data import DataError, Pixels
from diffusion.train.describer.augment import augment
from diffusion.train.describer.lesson import Lesson
from diffusion.train.precision import Precision, autocast
from diffusion.train.state import Average, Budget, Progress, load_state, never, save_state

STATE: Final = "describer-state.safetensors"
RECIPE: Final = "describer-recipe.json"
_SMOOTHING: Final = 0.1
_LOG_EVERY: Final = 50
_SAVE_EVERY: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriberRecipe:
    """How the describer is trained; `samples` belongs to the learning-rate schedule.

    model_weight: how much oftener than others a drawing is seen that the model was taught.
    """

    batch: int = 128
    samples: int = 256_000
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    style_weight: float = 0.5
    model_weight: float = 2.0
    channels: tuple[int, int, int] = (40, 80, 160)
    embedding: int = 128
    seed: int = 40


class _Words(nn.Module):
    """A vector for each word of the names, which names share; gone from what ships."""

    def __init__(self, names: tuple[str, ...], embedding: int) -> None:
        super().__init__()
        said = [name.split() for name in names]
        index = {word: i for i, word in enumerate(sorted({word for each in said for word in each}))}
        self.vectors = nn.Parameter(torch.randn(len(index), embedding) * 0.05)
        starts = [0, *accumulate(len(each) for each in said)][:-1]
        # A long name is no longer a vector than a short one.
        shares = [len(each) ** -0.5 for each in said for _ in each]
        self.bags = torch.tensor([index[word] for each in said for word in each])
        self.starts, self.shares = torch.tensor(starts), torch.tensor(shares)

    def forward(self) -> Tensor:
        """Return names x E: the weighted sum of each name's words."""
        return functional.embedding_bag(
            self.bags, self.vectors, self.starts, mode="sum", per_sample_weights=self.shares
        )


class DescriberTrainer:
    """A run in a folder: network, optimiser and data, with one step as the only move."""

    def __init__(
        self,
        lesson: Lesson,
        art: Pixels,
        folder: Path,
        recipe: DescriberRecipe,
        *,
        precision: Precision = "float32",
    ) -> None:
        """Begin a run, or take up the one in the folder; DataError where that is another one."""
        _check(lesson, folder, recipe)
        self.lesson, self.recipe, self.state = lesson, recipe, folder / STATE
        torch.manual_seed(recipe.seed)
        config = DescriberConfig(
            names=len(lesson.names),
            styles=len(lesson.styles),
            channels=recipe.channels,
            embedding=recipe.embedding,
        )
        # Convolutions on CPUs are fastest with the channels last.
        self.network = DescriberNet(config)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.words = _Words(lesson.names, recipe.embedding)
        self._networks = {"describer": self.network, "words": self.words}
        self._parameters = [p for n in self._networks.values() for p in n.parameters()]
        self.optimiser = torch.optim.AdamW(
            self._parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
        )
        self.progress, self._average = Progress(), Average(decay=0.0)
        load_state(
            self.state,
            networks=self._networks,
            optimiser=self.optimiser,
            average=self._average,
            progress=self.progress,
        )
        self.progress.precision = self.progress.precision or precision
        self._collect(art)

    def _collect(self, art: Pixels) -> None:
        """Keep the drawings to learn, and what each of them is."""
        lesson, rows = self.lesson, self.lesson.train
        name_index = {name: i for i, name in enumerate(lesson.names)}
        style_index = {style: i for i, style in enumerate(lesson.styles)}
        self.names = torch.tensor([name_index[row.name] for row in rows])
        self.styles = torch.tensor([style_index[row.style] for row in rows])
        self.flips = torch.tensor([row.flip for row in rows])
        taught = [row.name in lesson.known and row.style in lesson.painted for row in rows]
        self.weights = torch.where(torch.tensor(taught), self.recipe.model_weight, 1.0)
        chosen = np.ascontiguousarray(art[[row.row for row in rows]])
        self.art = torch.from_numpy(chosen).permute(0, 3, 1, 2)

    @property
    def finished(self) -> bool:
        """Whether the schedule has come to its end."""
        return self.progress.samples >= self.recipe.samples

    def step(self) -> float:
        """Train on one batch, chosen by the seed and the step's number alone; return the loss."""
        recipe, progress = self.recipe, self.progress
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + progress.steps)
        chosen = torch.multinomial(
            self.weights, recipe.batch, replacement=True, generator=generator
        )
        x = augment(self.art[chosen].float() / 255, self.flips[chosen], generator)
        rate = recipe.learning_rate * _share(progress.samples / recipe.samples)
        self.optimiser.param_groups[0]["lr"] = rate
        self.network.train()
        with autocast("cpu", progress.precision or "float32"):
            names, styles = self.network(
                x.contiguous(memory_format=torch.channels_last), self.words()
            )
        loss = functional.cross_entropy(
            names, self.names[chosen], label_smoothing=_SMOOTHING
        ) + recipe.style_weight * functional.cross_entropy(styles, self.styles[chosen])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, 5.0)
        self.optimiser.step()
        progress.steps += 1
        progress.samples += recipe.batch
        return float(loss.detach())

    def save(self) -> None:
        """Write all that the run needs to go on."""
        save_state(
            self.state,
            networks=self._networks,
            optimiser=self.optimiser,
            average=self._average,
            progress=self.progress,
        )

    @torch.no_grad()
    def learned(self) -> DescriberNet:
        """Return a network of what was learned, words added to names, to look with."""
        network = DescriberNet(self.network.config)
        network.load_state_dict(self.network.state_dict())
        network.names.add_(self.words())
        return network.eval().requires_grad_(requires_grad=False)


def train_describer(
    trainer: DescriberTrainer,
    *,
    minutes: float,
    report: Callable[[Progress], None],
    stop: Callable[[], bool] = never,
) -> None:
    """Train, or go on training; the state is kept.

    Ends after `minutes`, at the recipe's end, or after the step in which `stop` says so.
    """
    progress, losses = trainer.progress, list[float]()
    budget, before = Budget(minutes=minutes), progress.seconds
    while not (trainer.finished or budget.over or stop()):
        losses.append(trainer.step())
        progress.seconds = before + budget.spent
        if progress.steps % _LOG_EVERY == 0:
            progress.log.append({"samples": progress.samples, "loss": sum(losses) / len(losses)})
            losses.clear()
            report(progress)
        if progress.steps % _SAVE_EVERY == 0:
            trainer.save()
    trainer.save()


def _share(done: float) -> float:
    """Return the learning-rate factor at the fraction `done`: warm-up, then half a cosine."""
    if done < 0.03:
        return (done + 1e-4) / 0.03
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - 0.03) / 0.97)))


def _check(lesson: Lesson, folder: Path, recipe: DescriberRecipe) -> None:
    """Write down what a run is of, and refuse to go on with another one."""
    told = {
        "recipe": {
            key: list(v) if isinstance(v, tuple) else v for key, v in asdict(recipe).items()
        },
        "names": list(lesson.names),
        "styles": list(lesson.styles),
        "drawings": len(lesson.train),
    }
    path = folder / RECIPE
    if (folder / STATE).exists():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            changed = [name for name in told if known[name] != told[name]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} cannot be read ({error}): begin in another folder.") from error
        if changed:
            raise DataError(
                f"{folder} holds a run of other {' and '.join(changed)}: go on with the same, or "
                "begin in another folder."
            )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
