"""Pictures that mean harm, opened in a process of their own whose memory and time are measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MIB, SECONDS = 150, 2


def opened(bombs: int, mutated: int) -> dict[str, dict[str, float]]:
    """Open so many of each elsewhere; a process that crashes fails the test."""
    command = [sys.executable, "-m", "tests.hostile_pictures", str(bombs), str(mutated)]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, dict[str, float]] = json.loads(done.stdout)
    for each in figures.values():
        assert each["most MiB"] < MIB, figures
        assert each["most seconds"] < SECONDS, figures
    return figures


def test_bombs_and_damage_cost_little() -> None:
    figures = opened(11, 300)
    assert figures["bombs"]["decoded"] >= 7, "what is allowed was refused: nothing was measured"
    assert figures["bombs"]["refused"] >= 4
    assert figures["mutated"]["decoded"] >= 10
    assert figures["mutated"]["refused"] >= 100


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_hundred_bombs_and_ten_thousand_damaged_pictures() -> None:
    figures = opened(200, 10_000)
    assert figures["bombs"]["decoded"] >= 40
    assert figures["bombs"]["refused"] >= 60
    assert figures["mutated"]["decoded"] >= 500
    assert figures["mutated"]["refused"] >= 2500
