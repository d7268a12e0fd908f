"""The first look at a text: tidy it, and find where flags begin.

Promises to be total and linear in the length of the text. Tidying takes out only what no person
can see (control signs, direction marks, halves of surrogate pairs); every visible sign stays.
"""

import re
import unicodedata
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final

_INVISIBLE: Final = re.compile("[\u200b\u200e\u200f\u061c\u202a-\u202e\u2060-\u206f\ufeff\u00ad]")
# Control signs and line ends, and the letters that look like nothing at all.
_BLANK: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u115f\u1160\u2800\u3164\uffa0]")
_HALF: Final = re.compile("[\ud800-\udfff]")

_LONG_DASHES: Final = "‒–—―⸺"
_DASH: Final = f"[-‐‑−﹣－{_LONG_DASHES}]"
# A flag stands at the start or after a space; a letter must follow its dashes.
_FLAG: Final = re.compile(rf"(?<!\S)({_DASH}+)(?=[^\W\d_])(\S+)")
_NAME: Final = re.compile(r"[^\W\d_][\w-]*")
# What a flag looks like when it was typed nearly right: glued to a word, with one dash, or with
# a space behind the dashes.
_NEARLY: Final = re.compile(
    rf"(?<!{_DASH})(?P<dash>{_DASH}+)(?P<gap>\s*)(?P<name>[A-Za-z]+)(?=(?P<number>\s+[\d.])|\s|$)"
)
LINK: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{1,15}://\S*|(?<!\S)www\.\S+|data:image/\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One flag as found: where it starts, its folded name, and where its name and body end."""

    start: int
    name: str
    typed: str
    after: int
    stop: int
    long_dash: bool


def tidy(text: str) -> str:
    """Take out what cannot be seen, and put the text on one line."""
    text = _INVISIBLE.sub("", text)
    return _HALF.sub("\ufffd", _BLANK.sub(" ", text))


def fold_name(name: str) -> str:
    """Reduce a flag's name to one spelling."""
    return unicodedata.normalize("NFKC", name).casefold().replace("_", "-")


def find_marks(text: str) -> Iterator[Mark]:
    """Find every flag of a tidied text, known or not, in order."""
    last: re.Match[str] | None = None
    for match in _FLAG.finditer(text):
        if _is_flag(match):
            if last is not None:
                yield _mark(last, match.start())
            last = match
    if last is not None:
        yield _mark(last, len(text))


def find_nearly(text: str, stop: int, names: Container[str]) -> re.Match[str] | None:
    """Find, before `stop`, a known flag that was typed nearly right; prose has the doubt."""
    for match in _NEARLY.finditer(text, 0, stop):
        if fold_name(match["name"]) in names and _is_nearly(text, match):
            return match
    return None


def _is_nearly(text: str, match: re.Match[str]) -> bool:
    glued = match.start() > 0 and not text[match.start() - 1].isspace()
    single = len(match["dash"]) == 1 and match["dash"] not in _LONG_DASHES
    if match["number"] is not None:
        return not single or not (glued or match["gap"])
    return glued and not match["gap"] and match["dash"] == "--"


def _is_flag(match: re.Match[str]) -> bool:
    dashes = match[1]
    if any(dash in _LONG_DASHES for dash in dashes):
        # A long dash before kana or an umlaut is punctuation; phones make it only from `--ar`.
        return unicodedata.normalize("NFKC", match[2][0]).isascii()
    return len(dashes) > 1


def _mark(match: re.Match[str], stop: int) -> Mark:
    name = _NAME.match(match[2])
    typed = name[0] if name else match[2]
    after = match.start(2) + len(typed)
    return Mark(
        start=match.start(),
        name=fold_name(typed),
        typed=typed,
        after=after,
        stop=stop,
        long_dash=match[1][0] in _LONG_DASHES,
    )
