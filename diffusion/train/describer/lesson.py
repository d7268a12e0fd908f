"""Which drawings the describer learns, and which are kept to measure it.

Promises: the denoiser's own split (`data.is_held_out`): no drawing of a pair of name and style that
is kept from the denoiser is learned here; a name whose every drawing is kept out has no output, and
so counts as wrong when it is measured. Never: the judge's split, or a caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffusion.train.data import DataError, Pixels, Row
from diffusion.train.packages import STYLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Names and styles in the order of the outputs, the rows to learn and the rows kept out.

    `painted`: the styles that the model was taught; `known`: the names it was taught.
    """

    names: tuple[str, ...]
    styles: tuple[str, ...]
    train: tuple[Row, ...]
    held_out: tuple[Row, ...]
    painted: tuple[str, ...]
    known: frozenset[str]

    @property
    def of_the_model(self) -> tuple[Row, ...]:
        """Rows kept out that have a name and a style which the model was taught."""
        return tuple(r for r in self.held_out if r.name in self.known and r.style in self.painted)


def make_lesson(
    rows: Sequence[Row], *, painted: Sequence[str], known: Sequence[str] | None = None
) -> Lesson:
    """Part the rows of a data set; DataError where there is nothing to learn or to choose from.

    `painted` and `known` are the styles and names that the model was taught; None: every name.
    """
    train = tuple(row for row in rows if not row.held_out)
    names = tuple(sorted({row.name for row in train}))
    if len(names) < 2:
        raise DataError(f"{len(names)} names are too few to tell apart; build the data set again.")
    present = {row.style for row in rows}
    return Lesson(
        names=names,
        styles=tuple(style for style in STYLES if style in present),
        train=train,
        held_out=tuple(row for row in rows if row.held_out),
        painted=tuple(style for style in painted if style in present),
        known=frozenset(names if known is None else known),
    )


def on_colour(art: Pixels, rgb: Sequence[int] = (255, 255, 255)) -> Pixels:
    """Lay N x H x W x 4 straight-alpha drawings on a plain colour; return N x H x W x 3."""
    alpha = art[..., 3:].astype(np.float32) / 255
    mixed = art[..., :3] * alpha + np.asarray(rgb, dtype=np.float32) * (1 - alpha)
    return np.rint(mixed).astype(np.uint8)
