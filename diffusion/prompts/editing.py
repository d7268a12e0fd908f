"""Prompt editing: `[from:to:when]` and `[a|b|c]`, a prompt that changes while the picture forms.

Promises: the results of AUTOMATIC1111 for what its grammar accepts, equal neighbours joined. Where
its parser gives up on a whole prompt, only the offending brackets are literal here. Never raises
for any text, and never recurses: nesting may be as deep as the text is long.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from diffusion.errors import ParamsError

_TOKEN = re.compile(r"(?:[^\\\[\]():|]|\\.)+|[\s\S]")
_WHEN = re.compile(r"\s*([+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Switch:
    """`before` up to step `when` (as far as it is written with a point: a share), then `after`."""

    before: list["_Piece"]
    after: list["_Piece"]
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turns:
    """One option a step, in turns."""

    options: list[list["_Piece"]]


_Piece = str | _Switch | _Turns


@dataclass(slots=True)
class _Open:
    """An open bracket: where it and its separators stand in the list of pieces."""

    bracket: str
    start: int
    cuts: dict[str, list[int]] = field(default_factory=lambda: {":": [], "|": []})


def schedule(
    text: str, steps: int, *, first_pass: int | None = None
) -> tuple[tuple[int, str], ...]:
    """Return (last step, prompt) pairs in order; steps count from 1, the last pair ends at `steps`.

    `[a:b:0.5]` changes a to b after half the steps, `[a:b:10]` after step 10, `[a::10]` removes,
    `[a:10]` and `[:a:10]` add, `[a|b]` alternates. `first_pass` is the number of steps of the first
    pass when this is the second of a high-resolution job: whole numbers then count on from it, and
    shares from 1.0 on belong to the second. Raises ParamsError for `steps` below 1.
    """
    if steps < 1:
        raise ParamsError("steps", steps, "use at least 1")
    pieces = _parse(text)
    moments: dict[str, int] = {}
    period = 1
    for piece in _walk(pieces):
        if isinstance(piece, _Switch):
            moments[piece.when] = _moment(piece.when, steps, first_pass)
        elif isinstance(piece, _Turns):
            period = min(math.lcm(period, len(piece.options)), steps)
    changes = sorted({moment for moment in moments.values() if moment >= 1} | {steps})
    ends = changes if period == 1 else list(range(1, steps + 1))
    texts: dict[tuple[int, int], str] = {}

    def text_at(end: int) -> str:
        # The text is the same where the same switches are thrown and the same turn has come.
        state = bisect_left(changes, end), end % period
        if state not in texts:
            texts[state] = _text_at(pieces, end, moments)
        return texts[state]

    runs = groupby(((end, text_at(end)) for end in ends), key=lambda pair: pair[1])
    return tuple((max(end for end, _ in run), words) for words, run in runs)


def _moment(when: str, steps: int, first_pass: int | None) -> int:
    value = float(when)
    if "." in when:
        value = (value - (0.0 if first_pass is None else 1.0)) * steps
    else:
        value -= first_pass or 0
    return int(max(-1.0, min(float(steps), value)))


def _parse(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    opened: list[_Open] = []
    for match in _TOKEN.finditer(text):
        part = match[0]
        pieces.append(part)
        if part in ("(", "["):
            opened.append(_Open(part, len(pieces) - 1))
        elif part in (")", "]"):
            fits = opened and opened[-1].bracket + part in ("()", "[]")
            if not fits or not _close(opened.pop(), pieces):
                # A bracket that means nothing makes every bracket around it literal too.
                opened.clear()
        elif opened and part in opened[-1].cuts:
            opened[-1].cuts[part].append(len(pieces) - 1)
    return _joined(pieces)


def _close(group: _Open, pieces: list[_Piece]) -> bool:
    """Turn a closed group into a node where it is one; False when it has no meaning at all."""
    colons, bars = group.cuts[":"], group.cuts["|"]
    if group.bracket == "(":
        return len(colons) <= 1
    node: _Switch | _Turns | None
    if colons:
        node = _switch(group.start, colons, pieces)
        if node is None:
            return False
        if bars and "." in node.when and float(node.when) > 1:
            # A weight written after alternatives would make every word of them disappear.
            return True
    elif bars:
        edges = pairwise([group.start, *bars, len(pieces) - 1])
        node = _Turns(options=[_joined(pieces[a + 1 : b]) for a, b in edges])
    else:
        return True
    del pieces[group.start :]
    pieces.append(node)
    return True


def _switch(start: int, colons: list[int], pieces: list[_Piece]) -> "_Switch | None":
    """Read `[before:after:when]` or `[after:when]`, which starts at `start` and ends the pieces."""
    last = colons[-1]
    tail = [piece for piece in pieces[last + 1 : -1] if isinstance(piece, str)]
    when = _WHEN.fullmatch("".join(tail))
    if len(colons) > 2 or when is None or len(tail) < len(pieces) - last - 2:
        return None
    first = colons[0] if len(colons) == 2 else start
    return _Switch(
        before=_joined(pieces[start + 1 : first]),
        after=_joined(pieces[first + 1 : last]),
        when=when[1],
    )


def _joined(pieces: list[_Piece]) -> list[_Piece]:
    """Join neighbouring words, so that reading them costs little."""
    joined: list[_Piece] = []
    for is_text, run in groupby(pieces, key=lambda piece: isinstance(piece, str)):
        group = list(run)
        joined += ["".join(p for p in group if isinstance(p, str))] if is_text else group
    return joined


def _walk(pieces: list[_Piece]) -> Iterator[_Piece]:
    """Yield every piece, nested ones too, in no particular order."""
    todo = [pieces]
    while todo:
        for piece in todo.pop():
            yield piece
            if isinstance(piece, _Switch):
                todo += [piece.before, piece.after]
            elif isinstance(piece, _Turns):
                todo += piece.options


def _text_at(pieces: list[_Piece], step: int, moments: dict[str, int]) -> str:
    words: list[str] = []
    todo: list[Iterator[_Piece]] = [iter(pieces)]
    while todo:
        piece = next(todo[-1], None)
        if piece is None:
            todo.pop()
        elif isinstance(piece, str):
            words.append(piece)
        elif isinstance(piece, _Switch):
            todo.append(iter(piece.before if step <= moments[piece.when] else piece.after))
        else:
            todo.append(iter(piece.options[(step - 1) % len(piece.options)]))
    return "".join(words)
