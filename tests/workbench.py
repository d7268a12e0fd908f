"""A data set of plain shapes, written as the real one is, for tests of training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffusion.train.data import Row, write_index
from diffusion.train.presets import TINY
from diffusion.train.run import Workshop

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 80, 220)}
SHAPES = ("square", "disc", "bar")


def write_shapes(folder: Path, size: int = 32) -> list[Row]:
    """Write art-<size>.npy and index.json: three shapes in three colours and two styles."""
    folder.mkdir(parents=True)
    art: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    rows: list[Row] = []
    y, x = np.mgrid[:size, :size] - size / 2 + 0.5
    masks = {
        "square": np.maximum(abs(x), abs(y)) < size / 3,
        "disc": np.hypot(x, y) < size / 3,
        "bar": abs(y) < size / 8,
    }
    for style in ("3d", "twemoji"):
        for colour, rgb in COLOURS.items():
            for shape in SHAPES:
                picture = np.zeros((size, size, 4), dtype=np.uint8)
                picture[masks[shape]] = (*rgb, 255)
                art.append(picture)
                rows.append(_row(len(rows), style, f"{colour} {shape}"))
    np.save(folder / f"art-{size}.npy", np.stack(art))
    write_index(folder / "index.json", rows)
    return rows


def _row(number: int, style: str, name: str) -> Row:
    return Row(
        row=number,
        style=style,
        name=name,
        keywords=tuple(name.split()),
        group="Shapes",
        code_points="0",
        icon=name,
        weight=1.0,
        flip=True,
        held_out=False,
        unseen_by_judge=False,
    )


def workshop(folder: Path, *, vae_samples: int = 80, denoiser_samples: int = 160) -> Workshop:
    """A workshop with the shapes and a preset of a few steps."""
    write_shapes(folder / "art")
    preset = replace(
        TINY,
        vae=replace(TINY.vae, total_samples=vae_samples),
        denoiser=replace(TINY.denoiser, total_samples=denoiser_samples),
    )
    return Workshop(folder=folder, preset=preset, name="tiny")


def make_row(number: int, style: str, name: str) -> Row:
    """A drawing's row; those of odd numbers are held out."""
    return Row(
        row=number,
        style=style,
        name=name,
        keywords=(),
        group="",
        code_points="",
        icon="",
        weight=1.0,
        flip=True,
        held_out=number % 2 == 1,
        unseen_by_judge=False,
    )
