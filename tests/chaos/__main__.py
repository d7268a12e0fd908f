"""`python -m tests.chaos [commit | night] [C1 C4 …]`: run the chaos suites, a line of JSON each.

Every suite is a process of its own; two run side by side, but for those that want to be alone.
`--record FILE` keeps the line of each finished suite in a file, one per suite and scale, and
`--resume` skips what is held there already.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import tests.chaos
from tests.chaos.suite import Run, Suite, line_of

ROOT = Path(__file__).parents[2]
_RECORDING = Lock()


def suites() -> dict[str, Suite]:
    """Find every suite: the `SUITE` of each module that is named after its row, in their order."""
    found = []
    for module in iter_modules(tests.chaos.__path__):
        if module.name[0] == "c" and module.name[1:3].isdigit():
            found.append(import_module(f"tests.chaos.{module.name}").SUITE)
    return {suite.name: suite for suite in sorted(found, key=_order)}


def _order(suite: Suite) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, suite.name))
    return int(digits), suite.name


def run_one(suite: Suite, scale: str, count: int | None) -> str:
    """Run one suite in this process and return its line."""
    started = time.monotonic()
    with TemporaryDirectory(prefix="easel-chaos-") as folder:
        run = Run(count=count or suite.count(scale), folder=Path(folder), scale=scale)
        try:
            asyncio.run(suite.run(run))
        except Exception as error:  # the line must say so, whatever it is
            run.failures.append(f"{type(error).__name__}: {error}")
            sys.excepthook(type(error), error, error.__traceback__)
    return line_of(suite, run, time.monotonic() - started)


def keep(path: Path, line: str) -> None:
    """Put a line into a record in place of the earlier one of the same suite and scale."""
    new = json.loads(line)
    old = [json.loads(each) for each in _lines(path)]
    kept = [each for each in old if (each["suite"], each["scale"]) != (new["suite"], new["scale"])]
    names = list(suites())
    kept.append(new)
    kept.sort(key=lambda each: (each["scale"], names.index(each["suite"])))
    path.write_text("".join(f"{json.dumps(each)}\n" for each in kept), encoding="utf-8")


def held(path: Path | None, scale: str) -> set[str]:
    """Return the suites that a record shows as held."""
    found: Iterable[dict[str, Any]] = map(json.loads, _lines(path) if path else ())
    return {each["suite"] for each in found if each["scale"] == scale and each["held"]}


def _lines(path: Path) -> Sequence[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def main() -> None:
    """Run what is asked for; exit code 1 when anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scale", choices=("commit", "night"), nargs="?", default="commit")
    parser.add_argument("suite", nargs="*", help="as C1; none: all")
    parser.add_argument("--count", type=int, help="so many faults instead of the usual number")
    parser.add_argument("--record", type=Path, help="a file of lines to keep up to date")
    parser.add_argument("--resume", action="store_true", help="skip what is held in the record")
    parser.add_argument("--at-once", type=int, default=2, help="suites side by side")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    known = suites()
    names = [name.upper().replace("B", "b") for name in asked.suite] or list(known)
    for name in names:
        if name not in known:
            parser.error(f"no suite is called {name}; there are {', '.join(known)}")
    if asked.here:
        print(run_one(known[names[0]], asked.scale, asked.count))  # noqa: T201
        return
    if asked.resume:
        names = [name for name in names if name not in held(asked.record, asked.scale)]

    def start(name: str) -> bool:
        command = [sys.executable, "-m", "tests.chaos", asked.scale, name, "--here"]
        command += ["--count", str(asked.count)] if asked.count else []
        done = subprocess.run(  # noqa: S603 - our own command
            command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True, check=False
        )
        line = (done.stdout.splitlines() or [""])[-1]
        try:
            found = json.loads(line)
        except ValueError:
            print(json.dumps({"suite": name, "held": False, "exit": done.returncode}), flush=True)  # noqa: T201
            return False
        print(line, flush=True)  # noqa: T201
        if asked.record and not asked.count:
            with _RECORDING:
                keep(asked.record, line)
        return bool(found["held"])

    with ThreadPoolExecutor(max_workers=max(1, asked.at_once)) as pool:
        ends = list(pool.map(start, (name for name in names if not known[name].alone)))
    ends += [start(name) for name in names if known[name].alone]
    sys.exit(0 if all(ends) else 1)


def _environment() -> dict[str, str]:
    # One thread each: suites run side by side, and none of them computes much.
    return {**os.environ, "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    main()
