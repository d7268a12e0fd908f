"""What options offer while somebody types."""

from collections.abc import Iterable
from typing import Final

MOST_CHOICES: Final = 25


def matching(typed: str, names: Iterable[str]) -> list[str]:
    """Return the names that contain what was typed, those that begin with it first."""
    wanted = typed.strip().casefold()
    found = [name for name in names if wanted in name.casefold()]
    found.sort(key=lambda name: not name.casefold().startswith(wanted))
    return found[:MOST_CHOICES]
