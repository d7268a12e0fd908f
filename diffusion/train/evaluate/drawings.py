"""The real drawings that a model is held against: those it learned, those kept from it.

Promises: a model that says which preset it was trained with is asked about that preset's drawings;
any other about the well-known names in two styles. Never: a caption, or a file written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from diffusion.info import CONFIG_NAME, is_shipped_format, model_path, read_config
from diffusion.train.captions import WHITE, Colour
from diffusion.train.data import DataError, Pixels, Row, read_art, read_index, select
from diffusion.train.presets import PRESETS

# What models are asked about that do not say what they were taught.
DEFAULT_STYLES: Final = ("3d", "twemoji")
DEFAULT_NAMES: Final = "known"
_ART: Final = re.compile(r"art-(\d+)\.npy")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawings:
    """Pixels (N x S x S x 4, straight alpha, indexed by `Row.row`) and the rows that matter.

    trained: what the model learned from; held_out: pairs of the same names and styles that were
    kept from it; unseen: drawings of all styles that the judge was not trained on.
    """

    pixels: Pixels
    trained: tuple[Row, ...]
    held_out: tuple[Row, ...]
    unseen: tuple[Row, ...]

    @property
    def size(self) -> int:
        """The side of a drawing in pixels."""
        return int(self.pixels.shape[1])

    def drawing(self, row: Row) -> Pixels:
        """Return the S x S x 4 pixels of a row."""
        return np.asarray(self.pixels[row.row])

    def picture(self, row: Row, background: Colour = WHITE) -> Image.Image:
        """Return a row's drawing on a plain colour."""
        return on_colour(self.drawing(row), background)

    def known_to(self, names: Collection[str]) -> Drawings:
        """Return only the rows whose names a judge knows."""
        known = set(names)
        trained, held_out, unseen = (
            tuple(row for row in rows if row.name in known)
            for rows in (self.trained, self.held_out, self.unseen)
        )
        return Drawings(pixels=self.pixels, trained=trained, held_out=held_out, unseen=unseen)


def on_colour(pixels: Pixels, colour: Colour = WHITE) -> Image.Image:
    """Return S x S x 4 pixels with straight alpha as an RGB picture on a plain colour."""
    alpha = pixels[..., 3:].astype(np.float64) / 255
    mixed = pixels[..., :3] * alpha + np.array(colour.rgb) * (1 - alpha)
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def open_drawings(folder: Path, model: str | Path, side: int) -> Drawings:
    """Open the data set of a workshop for a model that paints `side` pixels.

    DataError, with what to do, when there is no data set or it does not hold the model's styles.
    """
    art = folder / "art"
    try:
        rows = read_index(art)
        pixels = read_art(art, _nearest_size(art, side))
    except DataError as error:
        raise DataError(f"{error} Run: easel train data --folder {folder}") from error
    if max((row.row for row in rows), default=-1) >= len(pixels):
        raise DataError(f"{art} lists more drawings than it holds; build the data set again.")
    styles, names = taught(model)
    trained, held_out = (
        tuple(select(rows, styles=styles, preset=names, held_out=kept)) for kept in (False, True)
    )
    unseen = tuple(row for row in rows if row.unseen_by_judge)
    return Drawings(pixels=pixels, trained=trained, held_out=held_out, unseen=unseen)


def taught(model: str | Path) -> tuple[Sequence[str], str]:
    """Return the styles and the kind of names that a model was taught, by its own description."""
    path = model_path(model)
    if is_shipped_format(path) and (path / CONFIG_NAME).is_file():
        training = read_config(path).get("training")
        name = training.get("preset") if isinstance(training, dict) else None
        if isinstance(name, str) and name in PRESETS:
            return PRESETS[name].styles, PRESETS[name].names
    return DEFAULT_STYLES, DEFAULT_NAMES


def _nearest_size(art: Path, side: int) -> int:
    """Choose the drawings' size: the model's own, else the next larger one, else the largest."""
    found = [_ART.fullmatch(path.name) for path in art.glob("art-*.npy")]
    sizes = sorted(int(match[1]) for match in found if match is not None)
    if not sizes:
        raise DataError(f"{art} holds no drawings.")
    return next((size for size in sizes if size >= side), sizes[-1])
