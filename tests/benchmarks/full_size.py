"""Full-size random weights through our loader and diffusers', in turn: time, memory, one step.

Run: python -m tests.benchmarks.full_size [sd15|sd21|sdxl|all|tiny-…] [--folder DIR] [--runs N]
Writes the rows of the full sizes it measured into tests/benchmarks/RESULTS.md. Promises: each
figure is taken in a process of its own, both sides in turn with the files in the page cache;
families are written, measured and deleted one after the other.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from rich.console import Console
from safetensors.torch import load_file

from tests.benchmarks.full_size_families import FAMILIES, FOLDER, SINGLE
from tests.benchmarks.full_size_models import numbers
from tests.benchmarks.full_size_sides import DIFFUSERS, EASEL

RESULTS: Final = Path(__file__).parent / "RESULTS.md"
FULL: Final = ("sd15", "sd21", "sdxl")
STEP_LIMIT: Final = 1e-4
PEAK_LIMIT: Final = 1.2
INTRODUCTION: Final = """\
# Full-size models

Written by `python -m tests.benchmarks.full_size`: random weights in the published sizes, loaded by
Easel and by diffusers in turn, each load in a process of its own with the files in the page cache;
the median of the pairs and their range. Easel refuses numbers that are not finite, so it has read
every weight when the call returns, while diffusers has mapped the file and read none. The first
time therefore ends when every page of every weight has been read once. Peak is the growth of
resident memory as a multiple of the weights (goal 1.2), mapped pages included. Differences are
relative to the largest value (goal 1e-4), in float32.

"""
HEAD: Final = (
    "| model | layout | loaded and read once, ours / diffusers | call returns, ours / diffusers "
    "| peak / weights: ours | diffusers | text | U-Net | autoencoder | measured |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)
_GIB: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """The loads of one family and layout: every run of both sides."""

    family: str
    layout: str
    easel: tuple[Mapping[str, float], ...]
    diffusers: tuple[Mapping[str, float], ...]

    def ratios(self, field: str) -> list[float]:
        """Return our figures as multiples of diffusers', pair by pair."""
        pairs = zip(self.easel, self.diffusers, strict=True)
        return [a[field] / b[field] for a, b in pairs]

    def peak(self, side: str) -> float:
        """Return a side's highest memory as a multiple of the weights."""
        runs = self.easel if side == EASEL else self.diffusers
        return max(run["peak"] / run["weights"] for run in runs)


def ask(what: str, side: str, name: str, layout: str, root: Path, target: str = "") -> str:
    """Ask one side in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.full_size_sides"]
    command += [what, side, name, layout, str(root), target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise SystemExit(f"{side} failed on {name} ({layout}):\n{done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1] if done.stdout else ""


def write(name: str, root: Path) -> None:
    """Write a family's files; SystemExit when the disk has no room for them."""
    needed = 2.2 * numbers(name) * FAMILIES[name].dtype.itemsize
    free = shutil.disk_usage(root).free
    if free < needed:
        raise SystemExit(
            f"{name} needs {needed / _GIB:.1f} GiB in {root} and {free / _GIB:.1f} are free; "
            "name another disk with --folder"
        )
    command = [sys.executable, "-m", "tests.benchmarks.full_size_models", name, str(root)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own code


def measure(name: str, layout: str, root: Path, runs: int) -> Loads:
    """Load in turn; the first load of each side only warms the page cache."""
    found: dict[str, list[Mapping[str, float]]] = {EASEL: [], DIFFUSERS: []}
    for run in range(runs + 1):
        # Whoever comes second finds the files warmer.
        for side in (EASEL, DIFFUSERS)[:: 1 if run % 2 else -1]:
            result = json.loads(ask("measure", side, name, layout, root))
            if run:
                found[side].append(result)
    return Loads(
        family=name,
        layout=layout,
        easel=tuple(found[EASEL]),
        diffusers=tuple(found[DIFFUSERS]),
    )


def differences(name: str, layout: str, root: Path) -> dict[str, float]:
    """Return the largest relative difference of every tensor of one denoising step."""
    states = []
    for side in (EASEL, DIFFUSERS):
        target = root / f"{side}.safetensors"
        ask("step", side, name, layout, root, str(target))
        states.append(load_file(target))
        target.unlink()
    ours, theirs = states
    return {
        key: float((ours[key] - theirs[key]).abs().max() / theirs[key].abs().max())
        for key in theirs
    }


def rows(name: str, root: Path, runs: int) -> list[tuple[Loads, dict[str, float]]]:
    """Write a family, measure both layouts, delete it."""
    home = Path(tempfile.mkdtemp(prefix=f"easel-{name}-", dir=root))
    try:
        write(name, home)
        return [
            (measure(name, layout, home, runs), differences(name, layout, home))
            for layout in (FOLDER, SINGLE)
        ]
    finally:
        shutil.rmtree(home)


def line_of(loads: Loads, apart: Mapping[str, float]) -> str:
    """Return a row of the Markdown table."""
    family = FAMILIES[loads.family]
    precision = str(family.dtype).removeprefix("torch.")
    return (
        f"| {family.title} ({precision}) | {loads.layout} "
        f"| {_spread(loads.ratios('seconds_touched'))} | {_spread(loads.ratios('seconds'))} "
        f"| {loads.peak(EASEL):.2f} | {loads.peak(DIFFUSERS):.2f} "
        f"| {apart['text']:.1e} | {apart['unet']:.1e} | {apart['vae']:.1e} "
        f"| {datetime.now(tz=UTC).date().isoformat()}, {len(loads.easel)} pairs |"
    )


def _spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def page(lines: Sequence[str]) -> str:
    """Return the page of results."""
    made = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "transformers"))
    return (
        INTRODUCTION
        + "".join(f"{line}\n" for line in [*HEAD, *lines])
        + f"\nTwo CPU cores, 24 GiB, no GPU; {made}.\n"
    )


def merged(old: str, new: Sequence[str]) -> list[str]:
    """Return a page's lines of the full sizes, those measured now in place of what it had."""
    known = {_cells(line)[:2]: line for line in [*old.splitlines(), *new] if line.startswith("| ")}
    titles = [FAMILIES[name].title for name in FULL]
    return [
        line
        for title in titles
        for (model, _), line in known.items()
        if model.startswith(f"{title} (")
    ]


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip("|").split("|"))


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", nargs="?", default="all", choices=[*FAMILIES, "all"])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--runs", type=int, default=6)
    asked = parser.parse_args()
    names = FULL if asked.family == "all" else (asked.family,)
    console = Console(soft_wrap=True, markup=False)
    for name in names:
        found = [line_of(*each) for each in rows(name, asked.folder, asked.runs)]
        console.print(*found, sep="\n")
        if name in FULL:
            old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
            RESULTS.write_text(page(merged(old, found)), encoding="utf-8")


if __name__ == "__main__":
    main()
