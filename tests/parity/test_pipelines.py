"""Whole pictures, and what the networks in between answer, against the reference's pipelines."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.parity.cases import Case, cases
from tests.parity.results import COMMITTED, row_start
from tests.parity.shots import Shot, compare
from tests.thinning import thinned

CASES = tuple(cases())


def as_param(case: Case) -> Any:  # noqa: ANN401 - pytest's own type is private
    return pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else [])


@pytest.mark.parametrize("case", thinned(map(as_param, CASES), every=5))
def test_both_sides_agree(case: Case) -> None:
    difference = case.measure()
    assert difference <= case.limit, f"{difference:.3g} in {case.unit}"


def test_no_two_cases_are_called_the_same() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))


CHANGES: dict[str, Callable[[Shot], Shot]] = {
    "prompt": lambda shot: replace(shot, theirs={"prompt": ["a red fox, now in the snow"] * 2}),
    "negative prompt": lambda shot: replace(shot, theirs={"negative_prompt": ["blurred"] * 2}),
    "guidance": lambda shot: replace(shot, theirs={"guidance_scale": 3.01}),
    "steps": lambda shot: replace(shot, theirs={"num_inference_steps": 5}),
    "eta": lambda shot: replace(shot, theirs={"eta": 0.01}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_small_change_on_one_side_is_seen(change: str) -> None:
    shot = CHANGES[change](Shot())
    try:
        difference = compare("sd1", "folder", shot)
    except AssertionError:
        return  # more than a whole step of eight bits
    assert difference > 0.1


def test_the_committed_table_lists_every_case() -> None:
    lines = Path(COMMITTED).read_text(encoding="utf-8").splitlines()
    starts = [row_start(case) for case in CASES]
    missing = [start for start in starts if not any(line.startswith(start) for line in lines)]
    # Two more lines are the table's head.
    rows = sum(line.startswith("| ") for line in lines) - 2
    assert not missing, "run python -m tests.parity.results"
    assert rows == len(starts), "the table has rows of cases that are no more"
