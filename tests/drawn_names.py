"""A data set of plain shapes under well-known names, and a judge that knows them by heart.

Names, and so the held-out pairs, colours and counts, are real ones; every drawing is one shape of
one hue.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from diffusion.train.compose.colours import from_hsv
from diffusion.train.data import Pixels, Row, is_held_out, write_index
from diffusion.train.evaluate.drawings import Drawings, on_colour
from diffusion.train.evaluate.likeness import Thumbnails, distances, thumbnails
from diffusion.train.judge import Judge
from diffusion.train.judge.measure import Logits, to_pixels

SIZE = 64
STYLES = ("3d", "twemoji")
# Among them are a held-out pair above and one beside each other, colours, counts, and two drawings.
NAMES = (
    *("banana", "peach", "taxi", "doughnut", "snake", "flamingo", "t-shirt", "hammer"),
    *("soft ice cream", "trophy", "parrot", "pizza"),
)


def shape(number: int) -> Pixels:
    """Return one of twelve shapes, SIZE x SIZE x 1 of 0 and 255."""
    y, x = np.mgrid[:SIZE, :SIZE] / (SIZE - 1) * 2 - 1
    inside = np.maximum(abs(x), abs(y)) < 0.9
    shapes = (
        np.hypot(x, y) < 0.9,
        inside,
        abs(x) + abs(y) < 0.9,
        inside & (abs(x) < (y + 1) / 2),
        inside & (abs(x) < (1 - y) / 2),
        inside & (np.minimum(abs(x), abs(y)) < 0.25),
        (np.hypot(x, y) < 0.9) & (np.hypot(x, y) > 0.6),
        inside & (abs(y) < 0.25),
        inside & (abs(x) < 0.25),
        inside & ((x < -0.4) | (y > 0.4)),
        inside & ((abs(x) < 0.3) | (y < -0.4)),
        inside & ((x > 0.4) | (y < -0.4)),
    )
    return np.where(shapes[number], 255, 0).astype(np.uint8)[..., None]


def drawing(number: int, style: str) -> Pixels:
    """Return a shape in a hue of its own, darker in the second style."""
    hsv = np.array([number * 30 + 5, 0.8, 0.9 if style == STYLES[0] else 0.55])
    colour = np.rint(from_hsv(hsv)).astype(np.uint8)
    alpha = shape(number)
    return np.concatenate([np.where(alpha, colour, 0).astype(np.uint8), alpha], axis=-1)


def rows_and_pixels() -> tuple[list[Row], Pixels]:
    """Return the rows of all names in both styles, with the real split."""
    pairs = [(number, style) for style in STYLES for number in range(len(NAMES))]
    rows = [
        Row(
            row=i,
            style=style,
            name=NAMES[number],
            keywords=(),
            group="",
            code_points="",
            icon=NAMES[number],
            weight=1.0,
            flip=True,
            held_out=is_held_out(style, NAMES[number]),
            unseen_by_judge=number == 3,
        )
        for i, (number, style) in enumerate(pairs)
    ]
    return rows, np.stack([drawing(*pair) for pair in pairs])


def make_drawings() -> Drawings:
    """Return the data set as the evaluation sees it."""
    rows, pixels = rows_and_pixels()
    return Drawings(
        pixels=pixels,
        trained=tuple(row for row in rows if not row.held_out),
        held_out=tuple(row for row in rows if row.held_out),
        unseen=tuple(row for row in rows if row.unseen_by_judge),
    )


def write_names(folder: Path) -> None:
    """Write the data set as `easel train data` does."""
    rows, pixels = rows_and_pixels()
    folder.mkdir(parents=True)
    np.save(folder / f"art-{SIZE}.npy", pixels)
    write_index(folder / "index.json", rows)


class NearestJudge(Judge):
    """Scores are distances to the drawings, so drawings are right and colours matter."""

    def __init__(self) -> None:
        rows, pixels = rows_and_pixels()
        self.names, self.styles = NAMES, STYLES
        self.name_index = {name: i for i, name in enumerate(self.names)}
        self.style_index = {style: i for i, style in enumerate(self.styles)}
        self._known = thumbnails([on_colour(each) for each in pixels])
        self._is = [(self.name_index[row.name], self.style_index[row.style]) for row in rows]

    def look(self, pictures: Pixels | Sequence[Image.Image]) -> tuple[Logits, Logits]:
        seen = thumbnails([Image.fromarray(each) for each in to_pixels(pictures)])
        near = -distances(seen, self._known)
        return self._best(near, 0, len(self.names)), self._best(near, 1, len(self.styles))

    def _best(self, near: Thumbnails, what: int, count: int) -> Logits:
        mine = np.array([each[what] for each in self._is])
        return np.stack([near[:, mine == i].max(axis=1) for i in range(count)], 1).astype("f4")
