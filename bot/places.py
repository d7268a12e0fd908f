"""Places of a picture in words: "top left", "the right side and the middle", as cells of a grid.

Promises that words beside each other narrow a place down and that "and" or a comma adds another;
a word that names no place is named back, never ignored. Pure.
"""

import re
from typing import Final

from bot.canvases import COLUMNS, ROWS, Cell

_ALL: Final = frozenset((row, column) for row in range(ROWS) for column in range(COLUMNS))
_MIDDLE: Final = frozenset(
    (row, column) for row, column in _ALL if 0 < row < ROWS - 1 and 0 < column < COLUMNS - 1
)
_PLACES: Final = {
    "left": frozenset(cell for cell in _ALL if cell[1] < COLUMNS // 2),
    "right": frozenset(cell for cell in _ALL if cell[1] >= COLUMNS // 2),
    "top": frozenset(cell for cell in _ALL if cell[0] < ROWS // 2),
    "bottom": frozenset(cell for cell in _ALL if cell[0] >= ROWS // 2),
    "middle": _MIDDLE,
    "edges": _ALL - _MIDDLE,
    "all": _ALL,
}
_OTHER_WORDS: Final = {
    "upper": "top",
    "above": "top",
    "lower": "bottom",
    "below": "bottom",
    "center": "middle",
    "centre": "middle",
    "edge": "edges",
    "border": "edges",
    "borders": "edges",
    "everything": "all",
    "whole": "all",
}
# Japanese writes them without spaces.
_UNSPACED: Final = {
    "真ん中": "middle",
    "中央": "middle",
    "全部": "all",
    "左": "left",
    "右": "right",
    "上": "top",
    "下": "bottom",
    "端": "edges",
    "の": "of",
    "と": "and",
}
# Words that say nothing about where: "the left half of the picture".
_FILLING: Final = frozenset(
    {"the", "a", "of", "in", "on", "at", "half", "side", "corner", "part", "picture", "image"}
)


class UnknownPlaceError(ValueError):
    """A word names no place; it is the message."""


def cells_of(text: str) -> frozenset[Cell]:
    """Return the cells that a text names; none for an empty one. Raises UnknownPlaceError."""
    text = text.lower()
    for word, name in _UNSPACED.items():
        text = text.replace(word, f" {name} ")
    found: frozenset[Cell] = frozenset()
    for part in re.split(r"[,;、]|\band\b", text):
        words = [word for word in re.findall(r"[^\W_]+", part) if word not in _FILLING]
        if not words:
            continue
        place = _ALL
        for word in words:
            name = _OTHER_WORDS.get(word, word)
            if name not in _PLACES:
                raise UnknownPlaceError(word)
            place &= _PLACES[name]
        found |= place
    return found
