"""Axes of a comparison: `steps=10,20,30`, or `prompt=red,blue` to put words in place of the first.

Promises that an axis which cannot be read is an `AxisError` with a sentence, and that a cell is a
prompt like any other: the grammar reads it, so every flag can be compared. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from bot import texts_ideas
from bot.prompt import FLAGS, Flag, Kind

WORDS: Final = "prompt"
MOST_CELLS: Final = 25
_BEYOND_LATIN: Final = "\u0180"
# These choose how many pictures there are, or who waits; a comparison has one in each cell.
_NOT_COMPARED: Final = frozenset({"repeat", "draft", "fast", "relax", "turbo", "video"})


class AxisError(ValueError):
    """An axis that cannot be read; the text is a sentence for who typed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What changes along one side: a flag's main name, or `prompt`, and its values."""

    name: str
    values: tuple[str, ...]

    def applied(self, text: str, value: str) -> str:
        """Return a prompt with one of the values."""
        if self.name == WORDS:
            return text.replace(self.values[0], value)
        return f"{text} --{self.name} {value}"

    def label(self, value: str) -> str:
        """Return what stands beside a row or above a column."""
        return value if self.name == WORDS else f"{self.name} {value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All cells of a sheet, row by row: `texts` are their prompts."""

    x: Axis
    y: Axis | None
    texts: tuple[str, ...]


def read_axis(typed: str, prompt: str) -> Axis:
    """Read an axis; AxisError."""
    name, found, listed = typed.partition("=")
    values = tuple(part.strip() for part in listed.split(",") if part.strip())
    name = name.strip().lstrip("-").casefold()
    if not found or not name or not values:
        raise AxisError(texts_ideas.axis_unreadable(typed))
    if name == WORDS:
        if values[0] not in prompt:
            raise AxisError(texts_ideas.axis_word_missing(values[0]))
        return Axis(name=WORDS, values=values)
    flag = next((each for each in FLAGS if name in each.names), None)
    if flag is None or not is_compared(flag):
        raise AxisError(texts_ideas.axis_unknown(name))
    return Axis(name=flag.name, values=values)


def is_compared(flag: Flag) -> bool:
    """Say whether a flag can be an axis."""
    return flag.kind is not Kind.TOGGLE and flag.name not in _NOT_COMPARED


def compare(prompt: str, x: Axis, y: Axis | None) -> Comparison:
    """Return the cells of a comparison; AxisError when there are too many."""
    if y is not None and x.name == y.name:
        raise AxisError(texts_ideas.axes_alike())
    cells = len(x.values) * (1 if y is None else len(y.values))
    if cells > MOST_CELLS:
        raise AxisError(texts_ideas.too_many_cells(cells=cells, limit=MOST_CELLS))
    if y is None:
        return Comparison(x=x, y=None, texts=tuple(x.applied(prompt, each) for each in x.values))
    pairs = product(y.values, x.values)
    texts = tuple(x.applied(y.applied(prompt, down), across) for down, across in pairs)
    return Comparison(x=x, y=y, texts=texts)


def drawn(labels: Sequence[str]) -> list[str]:
    """Return labels as they are drawn: Pillow's font knows Latin letters, numbers name others."""
    return [
        label if _is_latin(label) else f"#{number}" for number, label in enumerate(labels, start=1)
    ]


def legend(labels: Sequence[str]) -> str:
    """Return what the numbers of `drawn` stand for; nothing where there are none."""
    pairs = zip(drawn(labels), labels, strict=True)
    return ", ".join(f"{shown} {label}" for shown, label in pairs if shown != label)


def _is_latin(label: str) -> bool:
    return all(sign.isascii() or (sign.isalnum() and sign < _BEYOND_LATIN) for sign in label)
