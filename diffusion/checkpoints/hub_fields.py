"""Reading the JSON files of hub folders: bounded, typed, every refusal a sentence.

Promises: nothing is believed: sizes have limits, types are checked, and a field that asks for what
our networks do not have is refused, never ignored. Never imports torch.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from diffusion.errors import CheckpointError

MAX_JSON_BYTES: Final = 20_000_000
MAX_WIDTH: Final = 65_536
MAX_COUNT: Final = 200
_NOTHING: Final = (None, False)


def read_object(path: Path, limit: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Return the object in a JSON file; CheckpointError when it is missing, long or malformed."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise CheckpointError(f"{path} has {size} bytes; the limit is {limit}.")
            data = file.read(size)
        value = json.loads(data.decode("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold one object, not {type(value).__name__}.")
    return value


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one configuration; `where` names its file."""

    table: Mapping[str, Any]
    where: str

    def refuse(self, name: str, wanted: str) -> CheckpointError:
        """Return the error for a field that is not as wanted."""
        return CheckpointError(
            f"{self.where}: {name} is {self.table.get(name)!r:.120}, must be {wanted}."
        )

    def integer(self, name: str, default: int, low: int = 1, high: int = MAX_WIDTH) -> int:
        """Return a whole number within bounds."""
        value = self.table.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(name, f"a whole number from {low} to {high}")
        return value

    def optional(self, name: str) -> int:
        """Return a whole number, 0 where the field is absent or null."""
        return 0 if self.table.get(name) is None else self.integer(name, 0)

    def number(self, name: str, default: float) -> float:
        """Return a finite number above 0."""
        value = self.table.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(name, "a number")
        if not 0 < value < 1e9:
            raise self.refuse(name, "a number above 0")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.table.get(name, default)
        if not isinstance(value, bool):
            raise self.refuse(name, "true or false")
        return value

    def widths(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return a list of 1 to 12 whole numbers."""
        value = self.table.get(name, default)
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= 12:
            raise self.refuse(name, "a list of 1 to 12 whole numbers")
        if not all(type(each) is int and 1 <= each <= MAX_WIDTH for each in value):
            raise self.refuse(name, f"whole numbers from 1 to {MAX_WIDTH}")
        return tuple(value)

    def per_level(self, name: str, default: int, levels: int) -> tuple[int, ...]:
        """Return one whole number a level, given as such or as one for all."""
        if type(self.table.get(name, default)) is int:
            return (self.integer(name, default),) * levels
        value = self.widths(name, (default,) * levels)
        if len(value) != levels:
            raise self.refuse(name, f"{levels} numbers, one a level")
        return value

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """Return a list of at most 64 numbers, or None."""
        value = self.table.get(name)
        if value is None:
            return None
        real = isinstance(value, list) and len(value) <= 64
        if not real or not all(type(each) in (int, float) for each in value):
            raise self.refuse(name, "a list of numbers")
        return tuple(float(each) for each in value)

    def names(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return a list of at most 12 names."""
        value = self.table.get(name, default)
        if not isinstance(value, list | tuple) or len(value) > 12:
            raise self.refuse(name, "a list of names")
        if not all(isinstance(each, str) for each in value):
            raise self.refuse(name, "a list of names")
        return tuple(value)

    def text(self, name: str, default: str) -> str:
        """Return a name."""
        value = self.table.get(name, default)
        if not isinstance(value, str) or len(value) > 200:
            raise self.refuse(name, "a name")
        return value

    def check(self, fixed: Mapping[str, tuple[object, ...]], known: frozenset[str]) -> None:
        """Refuse fields with a value that our networks have not, and fields that are unknown."""
        for name, value in self.table.items():
            if name in fixed:
                allowed = fixed[name]
                if not any(value == each and type(value) is type(each) for each in allowed):
                    shown = " or ".join(repr(each) for each in allowed)
                    raise self.refuse(name, f"{shown}: nothing else is known here")
            elif name not in known and not name.startswith("_") and value not in _NOTHING:
                raise self.refuse(name, "absent: this field is not known here")
