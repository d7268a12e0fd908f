"""What a measurement found: figures, as a table, as JSON, and as rows of Markdown.

Promises: never imports torch; a figure keeps every value it was taken from, one a round.
"""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Final

_VERSIONS: Final = ("torch", "diffusers", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured line: its values, one a round.

    `unit` "×" is a ratio, "%" a share (values are then in hundredths), anything else is spelled
    out. `goal` is what is wanted, in words, `note` the seconds behind it or what was counted.
    Figures that follow one another with one `group` are one line of a table, each by its `label`.
    """

    name: str
    values: tuple[float, ...]
    unit: str = "×"
    goal: str = ""
    note: str = ""
    group: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name}: a figure needs one value at least")

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    @property
    def text(self) -> str:
        """The median, and the range where there was more than one round."""
        if len(self.values) == 1:
            return f"{_short(self.values[0])} {self.unit}".rstrip()
        low, high = _short(min(self.values)), _short(max(self.values))
        return f"{_short(self.median)} {self.unit} ({low} to {high})".replace("  ", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a table, in words."""

    name: str
    measured: str
    goal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of one command on one machine.

    `command` repeats the measurement; `load` is the machine's one-minute load average when it was
    over (None where there is none); `facts` is what was counted on the way.
    """

    command: str
    model: str
    device: str
    figures: tuple[Figure, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    date: str = field(default_factory=lambda: datetime.now(tz=UTC).date().isoformat())
    machine: str = field(default_factory=lambda: machine_name())
    load: float | None = field(default_factory=lambda: load_average())
    versions: Mapping[str, str] = field(default_factory=lambda: installed())

    def figure(self, name: str) -> Figure:
        """Return the figure of a name; LookupError when there is none."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise LookupError(
            f"no figure {name!r}; there are {', '.join(f.name for f in self.figures)}"
        )

    def to_json(self) -> str:
        """Return one line of JSON with every value, and the median of each figure."""
        whole = asdict(self)
        for told, figure in zip(whole["figures"], self.figures, strict=True):
            told["median"] = figure.median
        return json.dumps(whole, ensure_ascii=False, allow_nan=False)

    def markdown(self) -> str:
        """Return the rows of a Markdown table: figure, measured, goal, command."""
        return "\n".join(
            f"| {self.model}: {line.name} | {line.measured} | {line.goal} | `{self.command}` |"
            for line in self.lines()
        )

    def lines(self) -> list["Line"]:
        """Return what a table shows, a line for every figure or group of them."""
        found = []
        for _, same in groupby(enumerate(self.figures), lambda f: f[1].group or f[0]):
            figures = [figure for _, figure in same]
            first = figures[0]
            told = [f"{f.label} {f.text}" if f.group else f.text for f in figures]
            goals = [f"{f.label} {f.goal}" if f.group else f.goal for f in figures if f.goal]
            notes = [figure.note for figure in figures if figure.note]
            found.append(
                Line(
                    name=first.group or first.name,
                    measured="; ".join([", ".join(told), *notes]),
                    goal=", ".join(goals),
                )
            )
        return found

    def page(self) -> str:
        """Return a whole Markdown table with the hardware and the date below it."""
        head = "| figure | measured | goal | command |\n| --- | --- | --- | --- |"
        made = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        load = "" if self.load is None else f", load average {self.load:.1f}"
        foot = f"{self.date}, {self.machine}, {self.device}; {made}{load}."
        return f"{head}\n{self.markdown()}\n\n{foot}\n"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values, no percentile")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratios(first: Sequence[float], second: Sequence[float]) -> tuple[float, ...]:
    """Return first / second, round by round."""
    return tuple(a / b for a, b in zip(first, second, strict=True))


def seconds(value: float) -> str:
    """Write a duration, in seconds, for people."""
    if value < 1e-3:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def machine_name() -> str:
    """Return the processor's name and the number of its cores that are ours."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = platform.processor() or platform.machine()
    source = Path("/proc/cpuinfo")
    if source.is_file():
        lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
        found = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = found[0] if found else name
    return f"{name}, {cores} cores"


def load_average() -> float | None:
    """Return how many threads wanted a core in the last minute, or None where nobody counts."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def installed() -> dict[str, str]:
    """Return the versions that the figures depend on."""
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _short(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.2g}"
