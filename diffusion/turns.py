"""Whose jobs go on, where models do not fit beside each other: a bounded wait and few changes.

Promises: pure, so it can be proved on paper and in tests; nobody waits for ever; changes take a
small part of the time. Never knows where weights are, only what it is told.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

# Others wait this many times what their change costs, so changes take at most the reciprocal.
PATIENCE: Final = 8.0
Rank: TypeAlias = tuple[float, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model with work to do. rank: its first job's turn, lowest first; ready: its weights are
    there, or fit beside those of the others that have work; waited: seconds since it could have
    gone on; change: seconds that bringing it takes.
    """

    key: Hashable
    rank: Rank
    ready: bool
    waited: float = 0.0
    change: float = 0.0


def prefer(
    candidates: Sequence[Candidate], *, stayed: float, last_change: float
) -> frozenset[Hashable]:
    """Return the models whose jobs may go on now: those that are ready, or one that is brought.

    `stayed`: seconds since the last change, which took `last_change`. One that is not ready is
    brought when nobody is, or when it has waited `PATIENCE` times its change and those that are
    there have had as much of theirs; of several, who has waited longest. So of n models that do not
    fit beside each other none waits longer than `PATIENCE` times its own change and n - 1 stays of
    the others, changes included; and while those that are there have work, changes take at most
    1 / `PATIENCE` of the time.
    """
    ready = frozenset(each.key for each in candidates if each.ready)
    outside = [each for each in candidates if not each.ready]
    if ready:
        outside = [each for each in outside if each.waited >= PATIENCE * each.change]
        if stayed < PATIENCE * last_change:
            return ready
    if not outside:
        return ready
    longest = max(each.waited for each in outside)
    first = min((each for each in outside if each.waited == longest), key=lambda each: each.rank)
    return frozenset({first.key})
