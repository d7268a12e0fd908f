"""Permutations: `{red, green} bird --ar {1:1, 3:2}` is four prompts.

Promises: pure and total; the prompts are counted before a single one is written, so that no text
costs more than its own length and the hard cap. The first group changes slowest. A backslash keeps
a comma plain, options may be empty, and what is to be drawn (`{a|b}`) is left for `draw`.
"""

import math
import re
from functools import partial
from itertools import product
from typing import Final

from bot.language import tr
from bot.prompt.braces import Kind, Piece, Pieces, has_braces, read_braces
from bot.prompt.errors import Flaw, PromptError
from bot.prompt.parser import cleaned

HARD_CAP: Final = 40
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_ROUNDS: Final = 8
# Beyond this a count is only a number to frighten with.
_COUNTABLE: Final = 10**9


def expand(text: str) -> tuple[str, ...]:
    """Return every prompt that a text asks for, one at least.

    PromptError for braces that do not match, and for more than `HARD_CAP` prompts.
    """
    text = cleaned(text)
    if not has_braces(text):
        return (text,)
    try:
        pieces = _counted(text)
    except Flaw as flaw:
        raise PromptError(
            flaw.message, text=text, start=flaw.start, end=flaw.end, mend=partial(_mend, flaw)
        ) from None
    return tuple(_texts(pieces))


def _counted(text: str) -> Pieces:
    pieces = read_braces(text)
    total = _count(pieces)
    if total > HARD_CAP:
        shown = f"{total:,}" if total < _COUNTABLE else tr("more than a thousand million")
        message = tr(
            "These braces ask for {count} prompts; {most} is the most.", count=shown, most=HARD_CAP
        )
        first = text.index("{")
        raise Flaw(message, start=first, end=text.rindex("}") + 1)
    return pieces


def _mend(flaw: Flaw) -> str | None:
    for _ in range(_ROUNDS):
        if flaw.mended is None:
            return None
        mended = cleaned(flaw.mended)
        try:
            _counted(mended)
        except Flaw as other:
            flaw = other
        else:
            return mended
    return None


def _count(pieces: Pieces) -> int:
    return math.prod(_count_one(piece) for piece in pieces)


def _count_one(piece: Piece) -> int:
    if isinstance(piece, str):
        return 1
    counts = [_count(option) for option in piece.options]
    return sum(counts) if piece.kind is Kind.SEVERAL else math.prod(counts)


def _texts(pieces: Pieces, *, inside: bool = False) -> list[str]:
    choices = [_choices(piece, inside=inside) for piece in pieces]
    return ["".join(parts) for parts in product(*choices)]


def _choices(piece: Piece, *, inside: bool) -> list[str]:
    if isinstance(piece, str):
        return [_ESCAPED.sub(_comma, piece) if inside else piece]
    several = piece.kind is Kind.SEVERAL
    options = [_texts(option, inside=several) for option in piece.options]
    if several:
        return [text for texts in options for text in texts]
    head = "" if piece.count is None else piece.count.typed
    return ["{" + head + "|".join(parts) + "}" for parts in product(*options)]


def _comma(match: re.Match[str]) -> str:
    return "," if match[1] == "," else match[0]
