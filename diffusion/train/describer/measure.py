"""The honest table about a describer: what it names right among pictures it was not trained on.

Promises: fixed distractors, seeds and intervals; the describer as it ships (half precision, the
public way in); beside it what looking for the most similar trained drawing would give, which needs
no learning. A drawing whose name the describer cannot say counts as wrong. Never: a drawing that
was trained on, except where a line says that it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from diffusion.describe import Describer, Shares
from diffusion.model import Model
from diffusion.train.captions import BACKGROUNDS, WHITE, Colour
from diffusion.train.data import DataError, Pixels, Row
from diffusion.train.describer.lesson import Lesson, on_colour
from diffusion.train.evaluate.figures import Figure, Values, figure
from diffusion.train.evaluate.paint import paint
from diffusion.train.judge.measure import right_among

CANDIDATES: Final = 100
PROMPTS: Final = 4
_IMAGES: Final = 2
# Drawings are compared at this side.
_COARSE: Final = 16

# What is done: how many of how many pictures are painted.
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row: shares in 0..1 of so many pictures, None where a row says nothing about it.

    right: the name wins among `CANDIDATES`; first: among all names; offered: it is in one of the
    four prompts; style and background: the words for these are right.
    """

    key: str
    name: str
    pictures: int
    right: Figure | None = None
    first: float | None = None
    offered: float | None = None
    style: float | None = None
    background: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        figures = (self.first, self.offered, self.style, self.background)
        return (self.name, str(self.pictures), _interval(self.right), *map(_short, figures))


COLUMNS: Final = (
    "pictures",
    "number",
    f"right among {CANDIDATES} (95 %)",
    "first of all names",
    "in four prompts",
    "style",
    "background",
)

NOTES: Final = (
    f"Right among {CANDIDATES}: the name is more likely than {CANDIDATES - 1} others, drawn at "
    f"random by a fixed seed; chance {1 / CANDIDATES:.2f}. Intervals: 95 %, bootstrap.",
    "Kept out: pairs of name and style that neither the describer nor the denoiser was trained on; "
    "the same name in other styles was.",
    "Most similar: by pixels at 16 x 16, on white; it has learned nothing.",
)


def measure_describer(
    describer: Describer, lesson: Lesson, art: Pixels, *,
    model: Model | None = None, painted: int = 30, seed: int = 7, report: Report | None = None,
) -> tuple[Line, ...]:  # fmt: skip
    """Measure on the drawings kept out, and on what `model` paints for `painted` names it knows.

    DataError when nothing is kept out, or when the describer was taught by another lesson.
    """
    if not lesson.held_out:
        raise DataError("no drawing is kept out, so there is nothing to measure with.")
    if describer.vocabulary.names != lesson.names:
        raise DataError(
            "the describer has other names than the data set: build the data set again, or train "
            "the describer with it."
        )
    told = report or (lambda done, total: None)
    rows = lesson.held_out
    owner, scores = nearest(lesson, art)
    other = [row for row, name in zip(rows, owner, strict=True) if name != row.name]
    lines = [
        _baseline(lesson, scores, seed),
        _drawings("held_out", "drawings kept out", describer, rows, art, seed),
        _drawings(
            "unlike", "those most like a drawing of another name", describer, other, art, seed
        ),
        _drawings(
            "model", "those of the model's own set", describer, lesson.of_the_model, art, seed
        ),
        _backgrounds(describer, rows, art, seed),
    ]
    if model is not None and painted:
        lines.append(_painted(describer, lesson, model, painted, seed, told))
    return tuple(line for line in lines if line.pictures)


def figures_of(lines: Sequence[Line]) -> dict[str, float]:
    """Return the figures by the keys of their lines, for the file's metadata."""
    found = {}
    for line in lines:
        for key, value in asdict(line).items():
            number = value["value"] if isinstance(value, dict) else value
            if isinstance(number, float):
                found[f"{line.key}.{key}"] = round(number, 4)
        found[f"{line.key}.pictures"] = float(line.pictures)
    return found


def to_markdown(lines: Sequence[Line]) -> str:
    """Return the table for a model card."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(line.cells() for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def nearest(lesson: Lesson, art: Pixels) -> tuple[list[str], Shares]:
    """Compare the drawings kept out with every trained one, both on white.

    Returns the name of the most similar one, and H x names scores: the nearest of each name.
    """
    trained, held = (_coarse(art, rows) for rows in (lesson.train, lesson.held_out))
    distance = torch.cdist(held, trained)
    index = {name: i for i, name in enumerate(lesson.names)}
    columns = torch.tensor([index[row.name] for row in lesson.train]).expand(len(held), -1)
    scores = torch.full((len(held), len(lesson.names)), -torch.inf)
    scores = scores.scatter_reduce(1, columns, -distance, reduce="amax")
    return [lesson.names[i] for i in scores.argmax(dim=1).tolist()], scores.numpy()


def _coarse(art: Pixels, rows: Sequence[Row]) -> torch.Tensor:
    laid = torch.from_numpy(on_colour(art[[row.row for row in rows]])).permute(0, 3, 1, 2)
    return functional.adaptive_avg_pool2d(laid.float() / 255, _COARSE).flatten(1)


def _baseline(lesson: Lesson, scores: Shares, seed: int) -> Line:
    rows, names = lesson.held_out, lesson.names
    right, first = _ranked(scores, [row.name for row in rows], names, seed)
    return Line(
        key="nearest",
        name="drawings kept out, by the most similar trained one",
        pictures=len(rows),
        right=figure(right, _prompts_of(rows), seed),
        first=float(first.mean()),
    )


def _drawings(
    key: str, name: str, describer: Describer, rows: Sequence[Row], art: Pixels, seed: int
) -> Line:
    """Measure on drawings as they are, on white."""
    if not rows:
        return Line(key=key, name=name, pictures=0)
    pictures = [Image.fromarray(laid) for laid in on_colour(art[[row.row for row in rows]])]
    words = describer.vocabulary
    shares, styles = describer.look(pictures)
    right, first = _ranked(shares, [row.name for row in rows], words.names, seed)
    guessed = [words.styles[i] for i in styles.argmax(axis=1)]
    return Line(
        key=key,
        name=name,
        pictures=len(rows),
        right=figure(right, _prompts_of(rows), seed),
        first=float(first.mean()),
        offered=_offered(describer, pictures, [row.name for row in rows]),
        style=float(
            np.mean([style == row.style for style, row in zip(guessed, rows, strict=True)])
        ),
        background=_named(describer, pictures, [WHITE] * len(rows)),
    )


def _backgrounds(describer: Describer, rows: Sequence[Row], art: Pixels, seed: int) -> Line:
    """Measure on the same drawings, each on one of the named colours in turn."""
    colours = [BACKGROUNDS[i % len(BACKGROUNDS)] for i in range(len(rows))]
    pictures = [
        Image.fromarray(on_colour(art[row.row][None], colour.rgb)[0])
        for row, colour in zip(rows, colours, strict=True)
    ]
    names = [row.name for row in rows]
    shares, _ = describer.look(pictures)
    right, first = _ranked(shares, names, describer.vocabulary.names, seed)
    return Line(
        key="coloured",
        name="drawings kept out, on a named colour",
        pictures=len(rows),
        right=figure(right, _prompts_of(rows), seed),
        first=float(first.mean()),
        offered=_offered(describer, pictures, names),
        background=_named(describer, pictures, colours),
    )


def _painted(
    describer: Describer, lesson: Lesson, model: Model, count: int, seed: int, report: Report
) -> Line:
    """Measure on what the model paints for names that it was taught."""
    known = sorted(
        {r.name for r in lesson.train if r.name in lesson.known and r.style in lesson.painted}
    )
    order = np.random.default_rng(seed).permutation(len(known))[:count]
    names, done = [known[int(i)] for i in order], 0

    def counted(images: int) -> None:
        nonlocal done
        done += images
        report(done, _IMAGES * len(names))

    pictures = [
        p for each in paint(model, names, images=_IMAGES, seed=seed, report=counted) for p in each
    ]
    wanted = [name for name in names for _ in range(_IMAGES)]
    right, first = _ranked(describer.look(pictures)[0], wanted, describer.vocabulary.names, seed)
    return Line(
        key="painted",
        name=f"painted by the model, {len(names)} names it was taught",
        pictures=len(pictures),
        right=figure(right, [i // _IMAGES for i in range(len(pictures))], seed),
        first=float(first.mean()),
        offered=_offered(describer, pictures, wanted),
        background=_named(describer, pictures, [WHITE] * len(pictures)),
    )


def _ranked(
    scores: Shares, wanted: Sequence[str], names: Sequence[str], seed: int
) -> tuple[Values, Values]:
    """Say of each row whether its name wins among the candidates, and among all; a tie is wrong."""
    index = {name: i for i, name in enumerate(names)}
    sayable = [i for i, name in enumerate(wanted) if name in index]
    columns = np.array([index[wanted[i]] for i in sayable], dtype=np.int64)
    others = min(CANDIDATES - 1, len(names) - 1)
    right, first = np.zeros(len(wanted)), np.zeros(len(wanted))
    some = scores[sayable]
    right[sayable] = right_among(some, columns, others, seed)
    first[sayable] = right_among(some, columns, len(names) - 1, seed)
    return right, first


def _prompts_of(rows: Sequence[Row]) -> list[int]:
    """Number the pairs of name and style: two drawings of one pair are no independent witnesses."""
    pairs = {(row.name, row.style): i for i, row in enumerate(rows)}
    return [pairs[row.name, row.style] for row in rows]


def _offered(describer: Describer, pictures: Sequence[Image.Image], names: Sequence[str]) -> float:
    hits = [
        any(
            prompt == name or prompt.startswith(f"{name},")
            for prompt in describer.prompts(p, PROMPTS)
        )
        for p, name in zip(pictures, names, strict=True)
    ]
    return float(np.mean(hits))


def _named(
    describer: Describer, pictures: Sequence[Image.Image], colours: Sequence[Colour]
) -> float:
    found = [describer.background(picture) for picture in pictures]
    return float(np.mean([name == c.name for name, c in zip(found, colours, strict=True)]))


def _interval(value: Figure | None) -> str:
    return "" if value is None else f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
