"""The judge: says which name and which style a picture shows, to measure a generator with.

Promises: the same figures for the same pictures (fixed distractors, fixed bootstrap); trained on
real drawings alone, never on generated ones, captions or keywords. Never: a loss that a generator
is trained against. `right among 100` is the share of pictures whose name scores above 99 random
other names: chance is 0.01, and drawings the judge never saw reach the figure in judge.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from diffusion.train.judge.network import JUDGE_SIZE, JudgeConfig, JudgeNet

Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]

SHIPPED: Final = Path(__file__).parent
DISTRACTORS: Final = 99
_BATCH: Final = 256


class JudgeError(RuntimeError):
    """The judge's files are missing or damaged, or it was asked about a name it does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What the judge says about a set of pictures; every figure is a share in 0..1.

    `low` and `high` bound `right_among` with 95 % (bootstrap over prompts). `style` is None when no
    styles were given. `top5` is among all names the judge knows.
    """

    pictures: int
    prompts: int
    distractors: int
    right_among: float
    low: float
    high: float
    top1: float
    top5: float
    style: float | None


class Judge:
    """A trained network with the names and styles of its outputs."""

    def __init__(self, network: JudgeNet, names: Sequence[str], styles: Sequence[str]) -> None:
        if (network.config.names, network.config.styles) != (len(names), len(styles)):
            raise JudgeError(
                f"the network has {network.config.names} names and {network.config.styles} styles, "
                f"its lists {len(names)} and {len(styles)}."
            )
        self.network = network.eval()
        self.names = tuple(names)
        self.styles = tuple(styles)
        self.name_index = {name: i for i, name in enumerate(self.names)}
        self.style_index = {style: i for i, style in enumerate(self.styles)}

    @classmethod
    def load(cls, folder: Path = SHIPPED) -> Judge:
        """Read judge.json and judge.safetensors (16-bit floats; computed in 32)."""
        try:
            info: dict[str, Any] = json.loads((folder / "judge.json").read_text("utf-8"))
            names, styles = info["names"], info["styles"]
            weights = load_file(folder / "judge.safetensors")
            config = JudgeConfig(
                names=len(names),
                styles=len(styles),
                channels=tuple(info["channels"]),
                embedding=info["embedding"],
                scale=info["scale"],
            )
            network = JudgeNet(config)
            network.load_state_dict(weights)
        except FileNotFoundError as error:
            raise JudgeError(f"{error.filename} does not exist; train the judge first.") from error
        except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise JudgeError(f"the judge in {folder} is damaged: {error}") from error
        return cls(network, names, styles)

    @torch.inference_mode()
    def look(self, pictures: Pixels | Sequence[Image.Image]) -> tuple[Logits, Logits]:
        """Return N x names and N x styles scores of N x H x W x 3 pictures (0..255)."""
        pixels = to_pixels(pictures)
        parts = [
            self.network(to_input(pixels[start : start + _BATCH]))
            for start in range(0, len(pixels), _BATCH)
        ]
        names = torch.cat([part[0] for part in parts])
        styles = torch.cat([part[1] for part in parts])
        return names.numpy(), styles.numpy()

    @torch.inference_mode()
    def embed(self, pictures: Pixels | Sequence[Image.Image]) -> Logits:
        """Return N x E embeddings of length 1, for distances between sets of pictures."""
        pixels = to_pixels(pictures)
        parts = [
            self.network.features(to_input(pixels[start : start + _BATCH]))[0]
            for start in range(0, len(pixels), _BATCH)
        ]
        return torch.cat(parts).numpy()


def to_pixels(pictures: Pixels | Sequence[Image.Image]) -> Pixels:
    """Return pictures as N x 64 x 64 x 3 uint8, shrunk or enlarged where they have another size."""
    if len(pictures) == 0:
        raise JudgeError("there is no picture to judge.")
    size = (JUDGE_SIZE, JUDGE_SIZE)
    rows = []
    for picture in pictures:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image = image.convert("RGB")
        if image.size != size:
            image = image.resize(size, Image.Resampling.BOX)
        rows.append(np.asarray(image, dtype=np.uint8))
    return np.stack(rows)


def to_input(pixels: Pixels) -> torch.Tensor:
    """Return N x 3 x 64 x 64 in [-1, 1] from N x 64 x 64 x 3 in 0..255."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def judge_names(
    judge: Judge,
    pictures: Pixels | Sequence[Image.Image],
    names: Sequence[str],
    styles: Sequence[str] | None = None,
    *,
    distractors: int = DISTRACTORS,
    seed: int = 0,
    resamples: int = 2000,
) -> Score:
    """Say how often the pictures show what their prompts name.

    `names[i]` (and `styles[i]`) is what picture i was asked to show. Pictures of equal name and
    style count as one prompt when the interval is drawn.
    """
    _check(judge, pictures, names, styles, distractors)
    name_scores, style_scores = judge.look(pictures)
    wanted = np.array([judge.name_index[name] for name in names])
    right = right_among(name_scores, wanted, distractors, seed)
    better = (name_scores > name_scores[np.arange(len(wanted)), wanted][:, None]).sum(axis=1)
    keys = [f"{name}\x1f{style}" for name, style in zip(names, styles or names, strict=True)]
    low, high, prompts = bootstrap(right, keys, resamples, seed)
    style = None
    if styles is not None:
        asked = np.array([judge.style_index[style] for style in styles])
        style = float((style_scores.argmax(axis=1) == asked).mean())
    return Score(
        pictures=len(right),
        prompts=prompts,
        distractors=distractors,
        right_among=float(right.mean()),
        low=low,
        high=high,
        top1=float((better == 0).mean()),
        top5=float((better < 5).mean()),
        style=style,
    )


def _check(
    judge: Judge,
    pictures: Pixels | Sequence[Image.Image],
    names: Sequence[str],
    styles: Sequence[str] | None,
    distractors: int,
) -> None:
    if len(pictures) != len(names) or (styles is not None and len(styles) != len(names)):
        raise JudgeError(f"{len(pictures)} pictures need as many names and styles.")
    unknown = sorted(set(names) - set(judge.names))
    if unknown:
        raise JudgeError(f"the judge does not know {unknown[:5]} ({len(unknown)} names in all).")
    unknown = sorted(set(styles or ()) - set(judge.styles))
    if unknown:
        raise JudgeError(f"the judge does not know the styles {unknown}; it knows {judge.styles}.")
    if not 1 <= distractors < len(judge.names):
        raise JudgeError(f"distractors={distractors}; use 1 to {len(judge.names) - 1}.")


def right_among(
    scores: Logits, wanted: npt.NDArray[np.int64], distractors: int, seed: int
) -> npt.NDArray[np.bool_]:
    """Say for each row whether its wanted column beats `distractors` others drawn at random.

    The draw depends on the seed and the row's place alone. A tie counts as wrong.
    """
    count = scores.shape[1]
    right = np.zeros(len(wanted), dtype=np.bool_)
    for i, column in enumerate(wanted):
        rng = np.random.default_rng((seed, i))
        others = rng.choice(count - 1, size=distractors, replace=False)
        others = others + (others >= column)
        right[i] = scores[i, column] > scores[i, others].max()
    return right


def bootstrap(
    right: npt.NDArray[np.bool_], keys: Sequence[str], resamples: int, seed: int
) -> tuple[float, float, int]:
    """Return a 95 % interval of the mean, drawing whole prompts again, and how many there are."""
    groups: dict[str, list[bool]] = {}
    for key, hit in zip(keys, right.tolist(), strict=True):
        groups.setdefault(key, []).append(hit)
    hits = np.array([sum(group) for group in groups.values()], dtype=np.float64)
    sizes = np.array([len(group) for group in groups.values()], dtype=np.float64)
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(hits), size=(resamples, len(hits)))
    means = hits[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high), len(hits)
