"""Braces taken apart: `{a, b}` asks for several prompts, `{a|b}` for one that is drawn.

Promises: pure, total and linear in the length of the text. A backslash makes the sign behind it
plain, and spaces around an option do not count. Braces without a separator are plain text. An
unbalanced brace is a `Flaw`, never a guess.

A group with a `|` on its own level, or with a count such as `2$$`, is drawn; else one with a comma
is several prompts. Names of word lists (`__file__`) are not looked at here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from bot.language import tr
from bot.prompt.errors import Flaw
from bot.prompt.scan import find_marks

DEEPEST: Final = 20
_TOKEN: Final = re.compile(r"\\.|\$\$|[{},|]|[^\\{},|$]+|.", re.DOTALL)
_COUNT: Final = re.compile(r"\s*(\d{1,3})?\s*(-)?\s*(\d{1,3})?\s*", re.ASCII)


class Kind(StrEnum):
    """What a group means."""

    SEVERAL = "several"
    DRAWN = "drawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many options are drawn, and what stands between them."""

    low: int
    high: int
    joiner: str
    typed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One pair of braces with choices; `start` and `end` are its place in the text."""

    kind: Kind
    options: "tuple[Pieces, ...]"
    start: int
    end: int
    count: Count | None = None


Piece: TypeAlias = str | Group
Pieces: TypeAlias = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class _Sign:
    """A separator, as long as it is open what it separates."""

    text: str


@dataclass(slots=True)
class _Open:
    start: int
    items: list[Piece | _Sign] = field(default_factory=list)


def has_braces(text: str) -> bool:
    """Say whether there is anything to take apart."""
    return "{" in text or "}" in text


def read_braces(text: str) -> Pieces:
    """Take a text apart; Flaw for a brace that opens or closes nothing, or too many in another."""
    opened = [_Open(start=-1)]
    for match in _TOKEN.finditer(text):
        sign = match[0]
        if sign == "{":
            if len(opened) > DEEPEST:
                raise _too_deep(match.start())
            opened.append(_Open(start=match.start()))
        elif sign == "}":
            if len(opened) == 1:
                raise _not_opened(text, match.start())
            opened[-2].items += _close(opened.pop(), match.end())
        elif sign in (",", "|", "$$") and len(opened) > 1:
            opened[-1].items.append(_Sign(sign))
        else:
            opened[-1].items.append(sign)
    if len(opened) > 1:
        raise _not_closed(text, opened[-1])
    return _joined(opened[0].items)


def _close(opened: _Open, end: int) -> list[Piece | _Sign]:
    """Return what a closed pair of braces is to what stands around it."""
    items, count = _counted(opened.items)
    signs = {item.text for item in items if isinstance(item, _Sign)}
    if count is not None or "|" in signs:
        kind, separator = Kind.DRAWN, "|"
    elif "," in signs:
        kind, separator = Kind.SEVERAL, ","
    else:
        # Nothing to choose: the braces are plain, and so is what separated nothing.
        return ["{", *(_plain(item) for item in items), "}"]
    options: list[list[Piece | _Sign]] = [[]]
    for item in items:
        if item == _Sign(separator):
            options.append([])
        else:
            options[-1].append(item)
    read = tuple(_stripped(_joined(option)) for option in options)
    return [Group(kind=kind, options=read, start=opened.start, end=end, count=count)]


def _counted(items: list[Piece | _Sign]) -> tuple[list[Piece | _Sign], Count | None]:
    """Read the count at the beginning of a group: `2$$`, `1-3$$`, `2$$ and $$`."""
    places = [place for place, item in enumerate(items) if item == _Sign("$$")][:2]
    if not places or any(not isinstance(item, str) for item in items[: places[0]]):
        return items, None
    typed = "".join(str(item) for item in items[: places[0]])
    match = _COUNT.fullmatch(typed)
    if match is None or not (match[1] or match[3]):
        return items, None
    low = int(match[1] or 1)
    high = int(match[3]) if match[3] else low
    middle = items[places[0] + 1 : places[1]] if len(places) == 2 else None
    if middle is not None and all(isinstance(item, str) or item == _Sign(",") for item in middle):
        joiner = "".join(item if isinstance(item, str) else "," for item in map(_plain, middle))
        head = Count(low=low, high=high, joiner=joiner, typed=f"{typed}$${joiner}$$")
        return items[places[1] + 1 :], head
    return items[places[0] + 1 :], Count(low=low, high=high, joiner=", ", typed=f"{typed}$$")


def _plain(item: Piece | _Sign) -> Piece:
    return item.text if isinstance(item, _Sign) else item


def _joined(items: Sequence[Piece | _Sign]) -> Pieces:
    """Join neighbouring texts; separators that separate nothing are text."""
    joined: list[Piece] = []
    run: list[str] = []
    for item in map(_plain, items):
        if isinstance(item, str):
            run.append(item)
            continue
        if run:
            joined.append("".join(run))
            run = []
        joined.append(item)
    return (*joined, "".join(run)) if run else tuple(joined)


def _stripped(pieces: Pieces) -> Pieces:
    """Take the spaces off both ends of an option."""
    trimmed = list(pieces)
    if trimmed and isinstance(trimmed[0], str):
        trimmed[0] = trimmed[0].lstrip()
    if trimmed and isinstance(trimmed[-1], str):
        trimmed[-1] = trimmed[-1].rstrip()
    return tuple(piece for piece in trimmed if piece != "")


def _too_deep(place: int) -> Flaw:
    return Flaw(
        tr("More than {most} braces stand inside each other here.", most=DEEPEST),
        start=place,
        end=place + 1,
    )


def _not_opened(text: str, place: int) -> Flaw:
    return Flaw(
        tr("This brace closes nothing. Write \\}} where you mean the sign itself."),
        start=place,
        end=place + 1,
        mended=f"{text[:place]}\\{text[place:]}",
    )


def _not_closed(text: str, opened: _Open) -> Flaw:
    """Refuse an open brace; mended, it ends before the next flag, or is a plain sign."""
    place = opened.start
    if any(isinstance(item, _Sign) for item in opened.items):
        stop = next((mark.start for mark in find_marks(text) if mark.start > place), len(text))
        head = text[:stop].rstrip()
        mended = f"{head}}}{text[len(head) :]}"
    else:
        mended = f"{text[:place]}\\{text[place:]}"
    return Flaw(
        tr("This brace is never closed. Write \\{{ where you mean the sign itself."),
        start=place,
        end=place + 1,
        mended=mended,
    )
