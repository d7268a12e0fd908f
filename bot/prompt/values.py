"""The values of flags: from the text behind a flag to a number, a shape, a name.

Promises that a value is either read exactly as typed or refused with its place, its range and,
where one can be guessed, the value that was meant. Never rounds or clamps on its own.
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from bot.language import tr
from bot.prompt.errors import Flaw
from bot.prompt.flags import QUALITIES, Flag
from bot.prompt.mend import clip, splice
from bot.prompt.parsed import Aspect

_QUOTES: Final = ('"“”„‟«»「」『』＂', "'‘’‚‛`")
_WHOLE: Final = re.compile(r"\d{1,20}")
_DECIMAL: Final = re.compile(r"\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}")
_RATIO: Final = re.compile(r"(\d{1,4}):(\d{1,4})")
_LOOSE_RATIO: Final = re.compile(r"(\d{0,5}\.?\d{0,4})\s*[:/x×∶-]\s*(\d{0,5}\.?\d{0,4})")
_SHAPES: Final = {"square": "1:1", "landscape": "3:2", "portrait": "2:3", "widescreen": "16:9"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One typed value: its text without quotes, and its place with them."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a value is being read: the whole text, the flag as typed, the ends of its body."""

    text: str
    flag: Flag
    label: str
    start: int
    after: int
    stop: int

    def refuse(self, piece: Piece, message: str, meant: str | None = None) -> Flaw:
        """Make the flaw for a bad value; without a guess the mended text has no such flag."""
        if meant is None:
            mended = splice(self.text, self.start, piece.end, "")
        else:
            mended = splice(self.text, self.start, piece.end, f"--{self.flag.name} {meant}")
        return Flaw(message, start=piece.start, end=piece.end, mended=mended)

    def missing(self) -> Flaw:
        """Make the flaw for a flag with nothing behind it."""
        example = f"--{self.flag.name} {self.flag.example}"
        return Flaw(
            tr(
                "{label} needs a value after it, as in {example}.",
                label=self.label,
                example=example,
            ),
            start=self.start,
            end=self.after,
            mended=splice(self.text, self.start, self.after, ""),
        )


def body(site: Site) -> Piece:
    """Return everything between the flag's name and the next flag."""
    raw = site.text[site.after : site.stop]
    start = site.after + len(raw) - len(raw.lstrip())
    return Piece(text=raw.strip(), start=start, end=site.after + len(raw.rstrip()))


def first_value(site: Site) -> Piece:
    """Return the first word behind the flag, or all of it inside quotes."""
    whole = body(site)
    if not whole.text:
        raise site.missing()
    for quotes in _QUOTES:
        if whole.text[0] in quotes:
            return _quoted(site, whole, quotes)
    word = whole.text.split(maxsplit=1)[0]
    return Piece(text=word, start=whole.start, end=whole.start + len(word))


def is_quoted(piece: Piece) -> bool:
    """Say whether the typed value stood in quotes."""
    return piece.end - piece.start != len(piece.text)


def _quoted(site: Site, whole: Piece, quotes: str) -> Piece:
    close = next((i for i, sign in enumerate(whole.text) if i and sign in quotes), None)
    if close is None:
        raise Flaw(
            tr("The quote that opens behind {label} is never closed.", label=site.label),
            start=whole.start,
            end=whole.start + 1,
            mended=splice(site.text, whole.start, whole.start + 1, ""),
        )
    inner = whole.text[1:close].strip()
    if not inner:
        raise site.missing()
    return Piece(text=inner, start=whole.start, end=whole.start + close + 1)


def plain(text: str) -> str:
    """Fold full-width digits and letters into plain ones."""
    return unicodedata.normalize("NFKC", text)


def read_whole(site: Site, piece: Piece) -> int:
    """Read a whole number within the flag's range."""
    low, high = int(site.flag.minimum or 0), int(site.flag.maximum or 0)
    value = plain(piece.text)
    if _WHOLE.fullmatch(value) and value.isdecimal():
        number = int(value)
        if low <= number <= high:
            return number
        # Once is what happens without --repeat, so its mended text has no such flag.
        once = site.flag.name == "repeat" and number < low
        meant = None if once else str(min(max(number, low), high))
        raise site.refuse(piece, _outside(site, low, high, number), meant)
    message = tr(
        "{label} needs a whole number from {low} to {high}, not “{value}”.",
        label=site.label,
        low=low,
        high=high,
        value=clip(piece.text),
    )
    raise site.refuse(piece, message, _whole_meant(value, low, high))


def _outside(site: Site, low: object, high: object, number: object) -> str:
    return tr(
        "{label} goes from {low} to {high}; {number} is outside.",
        label=site.label,
        low=low,
        high=high,
        number=number,
    )


def _whole_meant(value: str, low: int, high: int) -> str | None:
    value = value.rstrip(",.;%")
    number = _decimal(value.replace(",", "."))
    if number is None:
        return None
    return str(min(max(round(number), low), high))


def read_decimal(site: Site, piece: Piece) -> float:
    """Read a number within the flag's range."""
    low, high = site.flag.minimum or 0.0, site.flag.maximum or 0.0
    number = _decimal(plain(piece.text))
    if number is not None and low <= number <= high:
        return number
    if number is not None:
        meant = f"{min(max(number, low), high):g}"
        message = _outside(site, f"{low:g}", f"{high:g}", f"{number:g}")
        raise site.refuse(piece, message, meant)
    guess = _decimal(plain(piece.text).rstrip(",.;").replace(",", "."))
    meant_or_none = None if guess is None else f"{min(max(guess, low), high):g}"
    message = tr(
        "{label} needs a number from {low:g} to {high:g}, not “{value}”.",
        label=site.label,
        low=low,
        high=high,
        value=clip(piece.text),
    )
    raise site.refuse(piece, message, meant_or_none)


def read_quality(site: Site, piece: Piece) -> float:
    """Read one of the four qualities."""
    number = _decimal(plain(piece.text))
    if number in QUALITIES:
        return number
    guess = _decimal(plain(piece.text).rstrip(",.;").replace(",", "."))
    meant = None if guess is None else f"{min(QUALITIES, key=lambda one: abs(one - guess)):g}"
    message = tr(
        "{label} is one of 0.25, 0.5, 1 and 2, not “{value}”.",
        label=site.label,
        value=clip(piece.text),
    )
    raise site.refuse(piece, message, meant)


def _decimal(value: str) -> float | None:
    return float(value) if value.isascii() and _DECIMAL.fullmatch(value) else None


def read_aspect(site: Site, piece: Piece) -> Aspect:
    """Read a shape made of two whole numbers."""
    match = _RATIO.fullmatch(plain(piece.text))
    if match and piece.text and match[0].replace(":", "").isdecimal():
        width, height = int(match[1]), int(match[2])
        if width and height:
            return Aspect(width=width, height=height)
    whole = piece if is_quoted(piece) else body(site)
    meant = _aspect_meant(plain(whole.text)) if len(whole.text) <= 2 * len("99999.9999:") else None
    if meant is None:
        whole, meant = piece, _aspect_meant(plain(piece.text.rstrip(",.;")))
    message = tr(
        "{label} needs two whole numbers, width:height, not “{value}”.",
        label=site.label,
        value=clip(whole.text),
    )
    if meant is not None:
        message += " " + tr("Did you mean {meant}?", meant=meant)
    raise site.refuse(whole, message, meant)


def _aspect_meant(value: str) -> str | None:
    """Guess the shape behind `1.85:1`, `16/9`, `1920x1080`, `1.5` or `portrait`."""
    value = value.casefold()
    if value in _SHAPES:
        return _SHAPES[value]
    match = _LOOSE_RATIO.fullmatch(value)
    sides = (match[1], match[2]) if match else (value, "1")
    if any(_decimal(side) is None for side in sides):
        return None
    width, height = (Fraction(side.strip(".") if side[-1:] == "." else side) for side in sides)
    if not width or not height:
        return None
    ratio = (width / height).limit_denominator(999)
    if not 0 < ratio <= 9999:
        return None
    return f"{ratio.numerator}:{ratio.denominator}"


def read_word(site: Site, piece: Piece) -> str:
    """Read a name of one word, in lower case."""
    word = plain(piece.text).casefold()
    if len(word) <= 64 and not any(sign.isspace() for sign in word):
        return word
    message = tr(
        "{label} needs a name of one word, not “{value}”.",
        label=site.label,
        value=clip(piece.text),
    )
    raise site.refuse(piece, message)
