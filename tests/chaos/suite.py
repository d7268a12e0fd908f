"""What a chaos suite is, and what it reports.

Promises that a suite that did not do all its work, or saw one thing it must not see, is not held.
"""

import json
import random
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MOST_FAILURES = 20
Figure = int | float | str


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of a suite: what it is to do, and what it found."""

    count: int
    folder: Path
    scale: str = "commit"
    seed: int = 20260801
    figures: dict[str, Figure] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    done: int = 0

    def random(self, *more: object) -> random.Random:
        """Return a source of chance of this run's own, the same every time."""
        return random.Random(f"{self.seed} {more}")  # noqa: S311 - faults of a test, no secrets

    def must(self, holds: object, what: str) -> None:
        """Note what had to hold and did not."""
        if not holds:
            self.failures.append(what)

    def add(self, name: str, number: float = 1) -> None:
        """Add to a figure."""
        before = self.figures.get(name, 0)
        if isinstance(before, str):
            raise TypeError(f"{name} is a text")
        self.figures[name] = before + number

    def most(self, name: str, number: float) -> None:
        """Keep the largest of a figure."""
        before = self.figures.get(name, number)
        if isinstance(before, str):
            raise TypeError(f"{name} is a text")
        self.figures[name] = max(before, number)

    def passed(self) -> None:
        """Count one fault that was met, and show on standard error how far it is."""
        self.done += 1
        if self.done % max(1, self.count // 20) == 0:
            print(f"{self.done}/{self.count}", file=sys.stderr, flush=True)  # noqa: T201


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One row of the chaos matrix.

    `alone` is one that measures, or keeps all cores busy by itself, and wants no neighbour.
    """

    name: str
    about: str
    commit: int
    night: int
    run: Callable[[Run], Coroutine[Any, Any, None]]
    alone: bool = False

    def count(self, scale: str) -> int:
        """Return how many faults a run of some scale has."""
        return {"commit": self.commit, "night": self.night}[scale]


def line_of(suite: Suite, run: Run, seconds: float) -> str:
    """Return the machine-readable line of a finished run."""
    failures = list(run.failures)
    if run.done != run.count:
        failures.insert(0, f"{run.done} of {run.count} faults were met")
    found = {
        "suite": suite.name,
        "about": suite.about,
        "scale": run.scale,
        "date": datetime.now(UTC).date().isoformat(),
        "count": run.count,
        "held": not failures,
        "seconds": round(seconds, 1),
        "figures": {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in run.figures.items()
        },
        "failed": len(failures),
        "failures": failures[:MOST_FAILURES],
    }
    return json.dumps(found)
