"""Emphasis: `(x)`, `[x]`, `(x:1.3)` and `BREAK`, with the results of AUTOMATIC1111.

Promises: every text gives a result, unbalanced brackets included, and the weights are theirs to the
last bit (multiplied in the order in which brackets close), kept within what a network survives.
Never tokenises.
"""

import re
from itertools import groupby
from typing import TypeAlias

import numpy as np

_Weights: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]

# The piece that forces a new window, as (text, weight).
BREAK = ("BREAK", -1.0)

_PIECE = re.compile(
    r"\\[()\[\]\\]?"  # an escape, or a lone backslash
    r"|[(\[\])]"
    r"|:\s*(?P<weight>[+-]?[.\d]+)\s*\)"
    r"|[^\\()\[\]:]+"
    r"|:"
)
_BREAK = re.compile(r"\bBREAK\b")
_UP, _DOWN = 1.1, 1 / 1.1
_HEAVIEST = 1000.0


def parse_emphasis(text: str) -> tuple[tuple[str, float], ...]:
    """Return pieces of text with their weights, neighbours of equal weight joined.

    `(x)` multiplies by 1.1, `[x]` divides by 1.1, `(x:1.3)` multiplies by 1.3, nesting multiplies,
    a backslash makes a bracket literal. A forced window break is the piece `BREAK`.
    """
    texts: list[str] = []
    weights = np.ones(len(text) + 1)
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(bracket: str, factor: float) -> None:
        weights[opened[bracket].pop() : len(texts)] *= factor

    # Weights beyond the range of floats are infinite, as they are in Python.
    with np.errstate(all="ignore"):
        for match in _PIECE.finditer(text):
            piece = match[0]
            weight = _number(match["weight"])
            if piece.startswith("\\"):
                texts.append(piece[1:])
            elif piece in opened:
                opened[piece].append(len(texts))
            elif weight is not None and opened["("]:
                close("(", weight)
            elif piece == ")" and opened["("]:
                close("(", _UP)
            elif piece == "]" and opened["["]:
                close("[", _DOWN)
            else:
                _add_words(piece, texts, weights)
        for bracket, factor in (("(", _UP), ("[", _DOWN)):
            for start in opened[bracket]:
                weights[start : len(texts)] *= factor
    bounded = np.nan_to_num(weights[: len(texts)]).clip(-_HEAVIEST, _HEAVIEST)
    return _joined(texts, bounded.tolist())


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:  # "1.2.3", which the grammar lets through
        return None


def _add_words(piece: str, texts: list[str], weights: _Weights) -> None:
    """Append words, with a BREAK wherever they say so; it eats the white space around it."""
    parts = _BREAK.split(piece)
    for number, part in enumerate(parts):
        if number > 0:
            part = part.lstrip()
            weights[len(texts)] = BREAK[1]
            texts.append(BREAK[0])
        texts.append(part.rstrip() if number < len(parts) - 1 else part)


def _joined(texts: list[str], weights: list[float]) -> tuple[tuple[str, float], ...]:
    runs = groupby(zip(texts, weights, strict=True), key=lambda piece: piece[1])
    return tuple(("".join(t for t, _ in run), weight) for weight, run in runs) or (("", 1.0),)
