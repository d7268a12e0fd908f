"""`python -m tests.parity.results`: run every comparison and write RESULTS.md beside this file.

Ends with status 1 when a comparison exceeds its limit or fails; the table then says so.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.parity.cases import Case, cases

COMMITTED: Final = Path(__file__).with_name("RESULTS.md")
PACKAGES: Final = ("torch", "diffusers", "transformers", "peft")
HEAD: Final = """# What was compared with the reference

Written by `python -m tests.parity.results`; every row is a test of `tests/parity/test_pipelines.py`
(`pytest -m ""` runs the slow ones, too). The weights are random, of order one, in small networks of
each family, read from a hub folder and from one file in the original names; both sides start from
the same noise. Pictures are compared before they are rounded, in steps of eight bits (1/255 of the
range); outputs of networks in parts of the reference's largest value, in float32.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a case measured, or why it could not."""

    case: Case
    difference: float | None
    problem: str = ""

    @property
    def ok(self) -> bool:
        return self.difference is not None and self.difference <= self.case.limit


def row_start(case: Case) -> str:
    """Return how a case's row begins; no other row begins like it."""
    return f"| {case.family} | {case.layout} | {case.what} |"


def measured(every: Sequence[Case]) -> Iterator[Result]:
    """Run the cases, one after another."""
    for case in every:
        try:
            yield Result(case=case, difference=case.measure())
        except Exception as error:
            # A failure is a row of the table like any other; the status tells of it.
            yield Result(case=case, difference=None, problem=f"{type(error).__name__}: {error}")


def table(results: Sequence[Result], *, day: str, seconds: float) -> str:
    """Return the whole text of RESULTS.md."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    worst = {
        unit: max((r.difference or 0.0 for r in results if r.case.unit == unit), default=0.0)
        for unit in ("1/255", "relative")
    }
    count = Counter(result.ok for result in results)
    lines = [
        HEAD,
        f"{day}, on a CPU, with {versions}: {count[True]} of {len(results)} comparisons within",
        f"their limits, in {seconds:.0f} seconds. Largest difference of pictures "
        f"{worst['1/255']:.2g}/255, of outputs {worst['relative']:.1g}.",
        "",
        "| family | layout | compared | largest difference | limit | the reference is told |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(result) for result in results),
    ]
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    case, found = result.case, result.difference
    ending = "/255" if case.unit == "1/255" else ""
    shown = f"{found:.1e}" if case.unit == "relative" and found is not None else f"{found or 0:.4f}"
    value = f"**{result.problem[:80]}**" if found is None else shown + ending
    if found is not None and not result.ok:
        value = f"**{value}**"
    limit = f"{case.limit:g}{ending}"
    return f"{row_start(case)} {value} | {limit} | {case.note} |"


def main() -> int:
    """Run everything, write the table, return the exit status."""
    every = tuple(cases())
    # Their advice on every pipeline that is built would drown what went wrong here.
    for name in ("diffusers", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    started = time.monotonic()
    results = list(measured(every))
    day = datetime.now(tz=UTC).date().isoformat()
    text = table(results, day=day, seconds=time.monotonic() - started)
    COMMITTED.write_text(text, encoding="utf-8")
    bad = [result for result in results if not result.ok]
    for result in bad:
        sys.stderr.write(f"{result.case.name}: {result.problem or result.difference}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
