"""The judge's network: 64 px pictures to an embedding, names by cosine, and drawing styles.

A small residual network (He et al. 2016) over three scales with mean and maximum pooling, beside a
4 x 4 colour thumbnail so that colours count. Promises: no randomness, no file, no outside weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

JUDGE_SIZE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """Sizes of the network; the channels are those of the three stages."""

    names: int
    styles: int
    channels: tuple[int, int, int] = (48, 96, 192)
    embedding: int = 256
    scale: float = 20.0


class _Block(nn.Module):
    """Two 3 x 3 convolutions that halve the picture, beside an averaged 1 x 1 shortcut."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride=2, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outer)
        self.second = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outer)
        self.skip = nn.Conv2d(inner, outer, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return functional.relu(y + self.skip(functional.avg_pool2d(x, 2)))


class JudgeNet(nn.Module):
    """N x 3 x 64 x 64 pictures in [-1, 1] to name logits and style logits."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        first, second, third = config.channels
        self.stem = nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(first)
        self.stages = nn.ModuleList(
            [_Block(first, first), _Block(first, second), _Block(second, third)]
        )
        self.embed = nn.Linear(2 * third + 48, config.embedding)
        self.names = nn.Parameter(torch.randn(config.names, config.embedding) * 0.05)
        self.style = nn.Sequential(
            nn.Linear(2 * (first + first + second) + third, 128),
            nn.ReLU(),
            nn.Linear(128, config.styles),
        )

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return N x E embeddings of length 1, and N x F statistics of all scales for the style."""
        thumbnail = functional.adaptive_avg_pool2d(x, 4).flatten(1)
        y = functional.relu(self.stem_norm(self.stem(x)))
        statistics = [*_moments(y)]
        for i, stage in enumerate(self.stages):
            y = stage(y)
            statistics += _moments(y) if i < 2 else (y.mean((2, 3)),)
        pooled = torch.cat([y.mean((2, 3)), y.amax((2, 3)), thumbnail], dim=1)
        return functional.normalize(self.embed(pooled)), torch.cat(statistics, dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return N x names (cosine times scale) and N x styles."""
        embedding, statistics = self.features(x)
        cosine = embedding @ functional.normalize(self.names).T
        return cosine * self.config.scale, self.style(statistics)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.mean((2, 3))
    spread = (x.square().mean((2, 3)) - mean.square()).clamp_min(0).add(1e-5).sqrt()
    return mean, spread
