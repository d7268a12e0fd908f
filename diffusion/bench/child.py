"""One side of a measurement in a process of its own, where its memory and its start are its own.

Promises: a question goes in as one JSON argument, numbers come back as the last line of output; an
expected fault comes back as its sentence. Run by `ask` alone: python -m diffusion.bench.child.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from diffusion.bench.errors import BenchError

_REFUSED: Final = 78


def ask(what: str, question: Mapping[str, object]) -> dict[str, float]:
    """Ask a fresh process; BenchError with its own words where it fails."""
    command = [sys.executable, "-m", "diffusion.bench.child", what, json.dumps(question)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    if done.returncode:
        raise BenchError(lines[-1] if lines else f"a measurement ended with {done.returncode}")
    found: dict[str, float] = json.loads(lines[-1])
    return found


def main(what: str, question: str) -> int:
    """Answer one question on standard output; return the exit code."""
    given = json.loads(question)
    try:
        found = answer(what, given)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def answer(what: str, given: dict[str, Any]) -> dict[str, float]:
    """Answer one question in this process; BenchError for one that is not known."""
    if what == "solo":
        from diffusion.bench.child_solo import peak

        return peak(**given)
    if what == "load":
        from diffusion.bench.child_switch import cold

        return cold(**given)
    if what == "write":
        from diffusion.bench.peer_files import write

        return write(**given)
    raise BenchError(f"nobody here answers {what!r}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
