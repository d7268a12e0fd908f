"""Between two pictures: interpolation of latents, noise, conditionings and pixels.

Promises: the ends are exact, and noise stays noise: a point on the arc between two standard normal
tensors has their norm, where a straight line would pass through a duller one. Never draws noise.
"""

from typing import Final

import torch
from PIL import Image
from torch import Tensor

from diffusion.text import Conditioning

# Above this cosine the arc is a line to float precision, and its sine a divisor near zero.
_PARALLEL: Final = 0.9995


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Interpolate N x ... tensors along the great circle, each sample on its own (Shoemake 1985).

    `t` goes from 0 (a) to 1 (b). Samples nearly parallel or opposite are interpolated on the line.
    """
    _check(a, b, t)
    if t in (0.0, 1.0):
        return (b if t else a).clone()
    flat = _arc(a.flatten(1), b.flatten(1), t)
    return flat.view(a.shape).to(a.dtype)


def slerp_conditioning(a: Conditioning, b: Conditioning, t: float) -> Conditioning:
    """Interpolate two encoded prompts: every position's vector along its own arc, pooled likewise.

    Both need the same number of positions. Norms are interpolated linearly, since those of text
    states carry meaning.
    """
    if (a.pooled is None) != (b.pooled is None):
        raise ValueError("both conditionings need a pooled state, or neither")
    pooled = None
    if a.pooled is not None and b.pooled is not None:
        pooled = _turn(a.pooled, b.pooled, t)
    return Conditioning(context=_turn(a.context, b.context, t), pooled=pooled)


def blend(a: Image.Image, b: Image.Image, t: float) -> Image.Image:
    """Mix two RGB pictures of one size pixel by pixel; 0 gives a, 1 gives b."""
    if a.size != b.size:
        raise ValueError(f"pictures of {a.size} and {b.size} cannot be mixed; resize one")
    _check_share(t)
    return Image.blend(a.convert("RGB"), b.convert("RGB"), t)


def _turn(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Turn the direction of every vector (last axis) along the arc, its length along the line."""
    _check(a, b, t)
    if t in (0.0, 1.0):
        return (b if t else a).clone()
    one, other = a.float().flatten(0, -2), b.float().flatten(0, -2)
    lengths = torch.lerp(one.norm(dim=1, keepdim=True), other.norm(dim=1, keepdim=True), t)
    turned = _arc(torch.nn.functional.normalize(one), torch.nn.functional.normalize(other), t)
    return (torch.nn.functional.normalize(turned) * lengths).view(a.shape).to(a.dtype)


def _arc(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Interpolate N x D vectors in float32 or better."""
    a, b = (x if x.dtype == torch.float64 else x.float() for x in (a, b))
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1).clamp(-1, 1)[:, None]
    angle = cosine.acos()
    straight = cosine.abs() > _PARALLEL
    sine = torch.where(straight, torch.ones_like(angle), angle.sin())
    curved = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine
    return torch.where(straight, torch.lerp(a, b, t), curved)


def _check(a: Tensor, b: Tensor, t: float) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes {tuple(a.shape)} and {tuple(b.shape)} have nothing between them")
    _check_share(t)


def _check_share(t: float) -> None:
    if not 0 <= t <= 1:
        raise ValueError(f"t is {t}; it goes from 0 to 1")
