"""The table as data, as JSON and as Markdown.

Promises: the same text for the same figures; a figure that is missing is said to be, with the
reason. Never: a figure without its interval where it has one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

from diffusion.train.evaluate.figures import Figure

Unit = Literal["share", "distance", "dB"]

COLUMNS: Final = (
    "measure",
    "prompts",
    "model (95 %)",
    "chance",
    "real drawings",
    "reconstructed",
    "of real",
    "target",
)
NOTES: Final = (
    "Chance: the same pictures, each measured as if it were painted for another prompt of the set.",
    "Real drawings: the drawing that a prompt names, or a picture put together from drawings "
    "(recoloured, on a colour, two or several on one canvas). The judge was trained on most of "
    "them, so the last row gives its answers on drawings that it never saw.",
    "Held-out colour, thing: the judge knows things by their usual colours, so it sees the picture "
    "in every named hue and each name's best score counts, the distractors' too.",
    "Reconstructed: those real pictures through the model's autoencoder.",
    "Intervals: 95 %, bootstrap over prompts, seed fixed.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measure with what it gives on each kind of picture; None: not measured there.

    lower: whether less is better. lacking: why the model has no figure.
    """

    key: str
    name: str
    unit: Unit = "share"
    model: Figure | None = None
    chance: Figure | None = None
    real: Figure | None = None
    reconstructed: Figure | None = None
    target: str = ""
    lacking: str = ""

    @property
    def of_real(self) -> float | None:
        """The model's figure divided by that of real drawings, where that means something."""
        if self.model is None or self.real is None or self.real.value == 0:
            return None
        if self.key.startswith("copies"):
            return None
        return self.model.value / self.real.value

    def cells(self) -> tuple[str, ...]:
        """Return the line as text, one cell for each of `COLUMNS`."""
        figures = [f for f in (self.model, self.real, self.reconstructed) if f is not None]
        mine = f"not measured: {self.lacking}" if self.lacking else _long(self.model, self.unit)
        share = "" if self.of_real is None else f"{100 * self.of_real:.0f} %"
        return (
            self.name,
            str(figures[0].prompts) if figures else "",
            mine,
            *(_short(f, self.unit) for f in (self.chance, self.real, self.reconstructed)),
            share,
            self.target,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole table, with what it was measured on; `sha256` is that of the model's weights."""

    model: str
    sha256: str | None
    steps: int
    guidance_scale: float
    sampler: str
    seed: int
    trained: int
    held_out: int
    lines: tuple[Line, ...]

    def line(self, key: str) -> Line:
        """Return a line by its key; KeyError when there is none."""
        for line in self.lines:
            if line.key == key:
                return line
        raise KeyError(f"no measure {key!r}; there are {', '.join(x.key for x in self.lines)}")

    @property
    def title(self) -> str:
        """What was measured, in one sentence."""
        return (
            f"Model {self.model}, {self.steps} steps of {self.sampler}, guidance "
            f"{self.guidance_scale:g}, seed {self.seed}; {self.trained} drawings trained, "
            f"{self.held_out} held out."
        )


def to_json(report: Report) -> str:
    """Return the report as JSON, with the shares of real beside the figures."""
    told = asdict(report)
    for line, each in zip(told["lines"], report.lines, strict=True):
        line["of_real"] = each.of_real
    return json.dumps({**told, "notes": NOTES}, indent=1) + "\n"


def to_markdown(report: Report) -> str:
    """Return the report as a Markdown table with its notes."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(line.cells() for line in report.lines)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"- {note}" for note in NOTES)
    return f"{report.title}\n\n{table}\n\n{notes}\n"


def _long(figure: Figure | None, unit: Unit) -> str:
    if figure is None:
        return ""
    digits = {"dB": 1, "share": 2, "distance": 3}[unit]
    low, high = f"{figure.low:.{digits}f}", f"{figure.high:.{digits}f}"
    return f"{_short(figure, unit)} ({low} to {high})"


def _short(figure: Figure | None, unit: Unit) -> str:
    if figure is None:
        return ""
    if unit == "dB":
        return f"{figure.value:.1f} dB"
    return f"{figure.value:.{3 if unit == 'distance' else 2}f}"
