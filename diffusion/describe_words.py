"""From what a describer sees to prompts: the colour of the background, and the wording.

Promises: prompts in the form of the model's captions ("cat face, 3d style, on a blue background"),
all different, best first. The background is told from pixels alone, by the border of a picture.
Never: an article before a name, which captions mostly lack, or torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

# The colour that captions do not name: what stands on it stands on nothing.
UNNAMED: Final = "white"
# A second name is offered while it is this likely, compared with the first.
LEAST_LIKELY: Final = 0.05
# How much of the border must have one colour, and how far a colour may be from its name's.
_LEAST_BORDER: Final = 0.6
_FARTHEST: Final = 110.0
_BORDER: Final = 1 / 21


def background_of(picture: Pixels, palette: Mapping[str, tuple[int, int, int]]) -> str | None:
    """Name the plain colour that an H x W x 3 picture's border has, None where it has none.

    Each pixel of the border votes for the nearest colour of `palette`, by the weighted distance of
    red, green and blue that needs no table ("redmean"; Riemersma 2008).
    """
    border = _border(picture).astype(np.float64)
    names = list(palette)
    colours = np.array([palette[name] for name in names], dtype=np.float64)
    difference = border[:, None, :] - colours
    red = (border[:, None, 0] + colours[:, 0]) / 512
    weights = np.stack([2 + red, np.full_like(red, 4.0), 3 - red], axis=-1)
    distance = np.sqrt((weights * difference**2).sum(axis=-1))
    near = distance.min(axis=1) < _FARTHEST
    votes = np.bincount(distance[near].argmin(axis=1), minlength=len(names))
    winner = int(votes.argmax())
    return names[winner] if votes[winner] >= _LEAST_BORDER * len(border) else None


def _border(picture: Pixels) -> Pixels:
    """Return the pixels of the border, N x 3, a twenty-first of each side wide."""
    height, width = picture.shape[:2]
    y, x = max(1, int(height * _BORDER)), max(1, int(width * _BORDER))
    inside = np.zeros((height, width), dtype=np.bool_)
    inside[y : height - y, x : width - x] = True
    return picture[~inside]


def word_prompts(
    names: Sequence[tuple[str, float]],
    styles: Sequence[str],
    background: str | None,
    count: int,
) -> list[str]:
    """Return at most `count` prompts, best first.

    `names` with their probabilities and `styles` come best first. Likely names come in full; where
    there are fewer than `count`, the best one is said in other ways: less of it, another style.
    """
    best = names[0][1] if names else 0.0
    likely = [name for name, share in names if share >= LEAST_LIKELY * best]
    style = styles[0] if styles else None
    found: dict[str, None] = {}
    for name in likely[:count]:
        found.setdefault(_prompt(name, style, background))
    for prompt in _other_ways(likely[:1], styles, background):
        found.setdefault(prompt)
    for name, _ in names:
        found.setdefault(_prompt(name, style, background))
    return list(found)[:count]


def _other_ways(
    names: Sequence[str], styles: Sequence[str], background: str | None
) -> Iterator[str]:
    for name in names:
        yield _prompt(name, None, background)
        for style in styles:
            yield _prompt(name, style, None)
        for style in styles:
            yield _prompt(name, style, background)
        yield name


def _prompt(name: str, style: str | None, background: str | None) -> str:
    parts = [name]
    if style is not None:
        parts.append(f"{style} style")
    if background is not None and background != UNNAMED:
        article = "an" if background[0] in "aeiou" else "a"
        parts.append(f"on {article} {background} background")
    return ", ".join(parts)
