"""Large families of cases: some of each run always, all of them with the slow tests."""

from collections.abc import Iterable
from typing import Any

import pytest


def thinned(cases: Iterable[Any], every: int) -> list[Any]:
    """Return parameters of which one in so many runs by default; the others are marked slow.

    A case is a value, a tuple of values, or what `pytest.param` made.
    """
    found = []
    for number, case in enumerate(cases):
        values = case.values if _is_param(case) else case if isinstance(case, tuple) else (case,)
        marks = list(case.marks) if _is_param(case) else []
        name = case.id if _is_param(case) else None
        if number % every and not any(mark.name == "slow" for mark in marks):
            marks.append(pytest.mark.slow)
        found.append(pytest.param(*values, marks=marks, id=name))
    return found


def _is_param(case: object) -> bool:
    return hasattr(case, "marks") and hasattr(case, "values")
