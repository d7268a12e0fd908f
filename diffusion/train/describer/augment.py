"""From drawings to what people show: moved, mirrored, on a colour, blurred as autoencoders blur.

Promises: one generator decides everything; colours change too little to change their word ("red
heart" stays one). Never: a mirror image of what has a left and a right, or a picture that a model
painted.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from diffusion.train.captions import BACKGROUNDS

# Largest turn in degrees, and shift as a share of half the side.
_TURN: Final = 12.0
_SHIFT: Final = 0.16
# A drawing is shown at 1/0.85 to 1/1.35 of its size.
_LEAST_ROOM: Final = 0.85
_MOST_ROOM: Final = 1.35
# How many lie on white, and how many of the others on a colour that has a name.
_ON_WHITE: Final = 0.60
_ON_NAMED: Final = 0.85
_SHARP: Final = 0.4


def augment(art: Tensor, may_flip: Tensor, generator: torch.Generator) -> Tensor:
    """Turn N x 4 x S x S drawings in 0..1 (straight alpha) into N x 3 x S x S in [-1, 1]."""
    # Straight alpha would bleed the colour of invisible pixels into the edges.
    premultiplied = torch.cat([art[:, :3] * art[:, 3:], art[:, 3:]], dim=1)
    grid = functional.affine_grid(
        _moves(may_flip, generator), list(premultiplied.shape), align_corners=False
    )
    moved = functional.grid_sample(premultiplied, grid, align_corners=False)
    background = _backgrounds(len(art), generator)[:, :, None, None]
    x = (moved[:, :3] + background * (1 - moved[:, 3:])) * 2 - 1
    x = x * (1 + 0.07 * _normal((len(art), 3, 1, 1), generator))
    x = x + 0.06 * _normal((len(art), 1, 1, 1), generator)
    return _as_painted(x, generator).clamp(-1, 1)


def _moves(may_flip: Tensor, generator: torch.Generator) -> Tensor:
    """Draw N x 2 x 3 affine maps from the picture to the drawing."""
    count = len(may_flip)

    def spread(limit: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    angle = spread(math.radians(_TURN))
    room = _LEAST_ROOM + (_MOST_ROOM - _LEAST_ROOM) * torch.rand(count, generator=generator)
    flipped = (torch.rand(count, generator=generator) < 0.5) & may_flip
    mirror = torch.where(flipped, -1.0, 1.0)
    cos, sin = torch.cos(angle) * room, torch.sin(angle) * room
    top = torch.stack([cos * mirror, -sin, spread(_SHIFT)], dim=1)
    bottom = torch.stack([sin * mirror, cos, spread(_SHIFT)], dim=1)
    return torch.stack([top, bottom], dim=1)


def _backgrounds(count: int, generator: torch.Generator) -> Tensor:
    """Draw N x 3 colours in 0..1: white, about one that captions name, or any."""
    kind = torch.rand(count, 1, generator=generator)
    palette = torch.tensor([colour.rgb for colour in BACKGROUNDS]) / 255
    named = palette[torch.randint(len(palette), (count,), generator=generator)]
    named = (named + 0.06 * _normal((count, 3), generator)).clamp(0, 1)
    any_colour = torch.rand(count, 3, generator=generator)
    return torch.where(
        kind < _ON_WHITE, torch.ones(3), torch.where(kind < _ON_NAMED, named, any_colour)
    )


def _as_painted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Blur most pictures, each by its own amount, and add a little noise."""
    half = functional.interpolate(
        functional.avg_pool2d(x, 2), scale_factor=2, mode="bilinear", align_corners=False
    )
    strength = torch.rand(len(x), 1, 1, 1, generator=generator)
    x = torch.lerp(x, half, torch.where(strength < _SHARP, torch.zeros(()), strength))
    sigma = 0.08 * torch.rand(len(x), 1, 1, 1, generator=generator)
    return x + sigma * torch.randn(x.shape, generator=generator)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator).clamp(-2, 2)
