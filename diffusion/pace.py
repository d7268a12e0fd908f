"""How long rows take: what is charged to whom, and where larger batches stop paying.

Promises: figures come from passes that ran, never from a table; a size past the knee (where a row
no longer gets cheaper) is not used, because longer passes make everybody wait and gain nothing. A
size that was refused is tried again now and then: the machine may have been busy.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

# A doubled batch must make a row this much cheaper to be worth the longer wait…
_GAIN: Final = 0.95
# … unless the whole pass is so short (in seconds) that nobody waits for it.
_SHORT: Final = 0.05
# After so many passes, sizes that were refused are forgotten, and tried again.
_AGAIN: Final = 64
# Passes of a size that are remembered, and that decide. The quickest counts: others were disturbed.
_KEPT: Final = 8
_ENOUGH: Final = 2


@dataclass(slots=True)
class Pace:
    """Seconds a row for each kind of rows and size of a batch, by powers of two."""

    smallest: int = 2
    _seconds: dict[Hashable, dict[int, deque[float]]] = field(default_factory=dict)
    _passes: dict[Hashable, int] = field(default_factory=dict)

    def note(self, kind: Hashable, rows: int, seconds: float) -> None:
        """Remember one pass of `rows` rows; `seconds` for all of them."""
        levels = self._seconds.setdefault(kind, {})
        kept = levels.setdefault(self._level(rows), deque(maxlen=_KEPT))
        kept.append(seconds / rows)
        self._passes[kind] = self._passes.get(kind, 0) + 1
        if self._passes[kind] % _AGAIN == 0:
            best = self.cap(kind, max(levels))
            for level in [level for level in levels if level > best]:
                del levels[level]

    def row_seconds(self, kind: Hashable) -> float | None:
        """Return the seconds that a row takes at the best size so far; None before the first."""
        levels = self._seconds.get(kind)
        return min(min(kept) for kept in levels.values()) if levels else None

    def cap(self, kind: Hashable, most: int) -> int:
        """Return the most rows that a pass should have: up to the knee, at most `most`."""
        levels = self._seconds.get(kind, {})
        level = self._level(self.smallest)
        while 2 * level <= most:
            here, above = levels.get(level), levels.get(2 * level)
            if here is None or len(here) < _ENOUGH:
                break
            level *= 2
            if above is None or len(above) < _ENOUGH:
                # One that has not been tried is tried.
                break
            if min(above) * level > _SHORT and min(above) > _GAIN * min(here):
                level //= 2
                break
        return min(level, most)

    def _level(self, rows: int) -> int:
        """Return the power of two that a size belongs to."""
        return max(self.smallest, 1 << (rows - 1).bit_length())
