"""The describer's network: 64 px pictures to logits of names and of drawing styles.

A small residual network (He et al. 2016): pixels folded 2 x 2 into channels, three blocks that
halve the picture, mean and maximum over what is left; names by the cosine with a vector of their
own. Promises: no randomness when it looks, no file, no outside weights. Never on the model's own
latents: its autoencoder has seen the drawings that the describer is measured on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

DESCRIBER_SIZE: Final = 64
# Beside the shapes, the colours of a grid of this side.
_GRID: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriberConfig:
    """Sizes of the network; `channels` are those of the three blocks, the stem has the first's."""

    names: int
    styles: int
    channels: tuple[int, int, int] = (40, 80, 160)
    embedding: int = 128
    scale: float = 20.0


class _HalvingBlock(nn.Module):
    """Two 3 x 3 convolutions, the first with stride 2, added to a shortcut of the mean of 2 x 2."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.shortcut = nn.Conv2d(inner, outer, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(functional.avg_pool2d(x, 2)))


class DescriberNet(nn.Module):
    """N x 3 x 64 x 64 pictures in [-1, 1] to name logits and style logits."""

    def __init__(self, config: DescriberConfig) -> None:
        super().__init__()
        self.config = config
        first, second, third = config.channels
        self.stem = nn.Conv2d(12, first, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(first)
        self.blocks = nn.Sequential(
            _HalvingBlock(first, first),
            _HalvingBlock(first, second),
            _HalvingBlock(second, third),
        )
        self.embed = nn.Linear(2 * third + 3 * _GRID**2, config.embedding)
        self.names = nn.Parameter(torch.randn(config.names, config.embedding) * 0.05)
        # Outlines and shading are seen before the picture has been halved three times.
        self.style = nn.Linear(2 * first + 2 * third, config.styles)

    def forward(self, x: Tensor, more: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return N x names logits (cosine times scale) and N x styles logits, in float32.

        `more` (names x E) is added to the names' vectors, for whoever trains them.
        """
        colours = functional.adaptive_avg_pool2d(x, _GRID).flatten(1)
        y = functional.relu(self.stem_norm(self.stem(functional.pixel_unshuffle(x, 2))))
        fine, coarse = _pooled(y), _pooled(self.blocks(y))
        seen = self.embed(torch.cat([coarse, colours], dim=1)).float()
        names = self.names if more is None else self.names + more
        # Half precision is too coarse for differences of cosines.
        with torch.autocast(x.device.type, enabled=False):
            cosine = functional.normalize(seen) @ functional.normalize(names.float()).T
        style: Tensor = self.style(torch.cat([fine, coarse], dim=1))
        return cosine * self.config.scale, style.float()


def _pooled(x: Tensor) -> Tensor:
    return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)
