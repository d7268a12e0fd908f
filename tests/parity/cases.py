"""Every comparison of a whole pipeline's parts and pictures with the reference, as a list.

The tests run them, and `python -m tests.parity.results` writes the table of what they measured.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

# A picture's difference is counted in steps of eight bits; the issue allows one.
ALLOWED: Final = 1.0
# What is demanded where the reference's own rounding allows it: a tenth of a step.
DEMANDED: Final = 0.1
PARTS: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison. measure: the largest difference, which is at most `limit`.

    unit: "1/255" for pictures, "relative" for outputs of networks. note: what the reference was
    told so that both do the same thing, where it is not the obvious.
    """

    family: str
    layout: str
    what: str
    measure: Callable[[], float]
    limit: float = DEMANDED
    unit: str = "1/255"
    note: str = ""
    slow: bool = False

    @property
    def name(self) -> str:
        """Return what no other case is called."""
        return f"{self.family}, {self.layout}: {self.what}"


def cases() -> Iterator[Case]:
    """Return every case, those of the default suite and the slow ones."""
    # Imported late: the lists are made of this module's cases.
    from tests.parity import (
        cases_families,
        cases_features,
        cases_k,
        cases_parts,
        cases_samplers,
        cases_starts,
    )

    for module in (
        cases_parts,
        cases_families,
        cases_samplers,
        cases_k,
        cases_starts,
        cases_features,
    ):
        yield from module.cases()
