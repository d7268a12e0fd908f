"""The toy model as a film: the forward process beside the reverse process, frame by frame.

Promises: two panels in every frame, the same scale in both; written in one go by Pillow.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_SIDE: Final = 300
# Noise reaches further than data, and nearly all of it lies within three deviations.
_REACH: Final = 3.0
_BAR: Final = 34
_PAPER: Final = (250, 248, 243)
_INK: Final = (60, 60, 66)
_COLOURS: Final = ((45, 100, 190), (200, 60, 70))
_MILLISECONDS: Final = 80
_LAST: Final = 1500
# More frames than these are not shown: the file would be large.
_FRAMES: Final = 40
# Steps between paper and full ink. Few of them make small files, without loss.
_INKS: Final = 5


def film(forward: Sequence[Tensor], reverse: Sequence[Tensor], path: Path) -> None:
    """Write an animation (.webp or .gif by its name): points of the forward process on the left,
    of the reverse process on the right. ValueError when they have not as many frames.
    """
    if len(forward) != len(reverse):
        raise ValueError(f"{len(forward)} and {len(reverse)} frames cannot be shown side by side")
    last = len(forward) - 1
    shown = sorted({round(i * last / (_FRAMES - 1)) for i in range(_FRAMES)})
    frames = [frame(forward[i].numpy(), reverse[i].numpy(), i / last) for i in shown]
    durations = [_LAST, *[_MILLISECONDS] * (len(frames) - 2), _LAST]
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=durations, loop=0, lossless=True
    )


def strip(reverse: Sequence[Tensor], path: Path, *, frames: int = 6) -> None:
    """Write a still picture of some moments of the reverse process, side by side."""
    chosen = [round(i * (len(reverse) - 1) / (frames - 1)) for i in range(frames)]
    sheet = Image.new("RGB", (_SIDE * frames, _SIDE), _PAPER)
    for place, number in enumerate(chosen):
        sheet.paste(_panel(reverse[number].numpy(), _COLOURS[1]), (place * _SIDE, 0))
    sheet.save(path)


def frame(
    forward: NDArray[np.float32], reverse: NDArray[np.float32], progress: float
) -> Image.Image:
    """Draw one frame; `progress` from 0 to 1 moves the bars below."""
    sheet = Image.new("RGB", (2 * _SIDE, _SIDE + _BAR), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    titles = ("forward: noise is added", "reverse: noise is taken away")
    for place, (points, title) in enumerate(zip((forward, reverse), titles, strict=True)):
        left = place * _SIDE
        sheet.paste(_panel(points, _COLOURS[place]), (left, 0))
        draw.text((left + 10, _SIDE + 4), title, fill=_INK, font=font)
        length = round((_SIDE - 20) * progress)
        draw.rectangle((left + 10, _SIDE + 25, left + 10 + length, _SIDE + 27), fill=_INK)
    return sheet


def _panel(points: NDArray[np.float32], colour: tuple[int, int, int]) -> Image.Image:
    """Draw points as soft dots: each adds ink, so that crowds are darker."""
    shown = points[np.abs(points).max(axis=1) < _REACH]
    pixels = (shown * [1, -1] / _REACH / 2 + 0.5) * (_SIDE - 1)
    ink = np.zeros((_SIDE + 2, _SIDE + 2))
    x, y = np.rint(pixels).astype(int).T + 1
    for dx, dy, part in ((0, 0, 1.0), (1, 0, 0.6), (-1, 0, 0.6), (0, 1, 0.6), (0, -1, 0.6)):
        np.add.at(ink, (y + dy, x + dx), part)
    cover = np.rint(_INKS * (1 - np.exp(-0.55 * ink[1:-1, 1:-1, None]))) / _INKS
    drawn = np.array(_PAPER) * (1 - cover) + np.array(colour) * cover
    return Image.fromarray(np.rint(drawn).astype(np.uint8))
