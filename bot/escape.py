"""What people typed, made safe to show: no markup, no mention, no link, no trick with directions.

Promises that text which went through `escape` or `code` shows its own signs and nothing else: it
pings nobody, links nowhere, starts no heading and breaks out of no code. Nothing is added that
cannot be seen. Lengths are counted in UTF-16 units where Discord counts so.
"""

import re
import unicodedata
from typing import Final

VISIBLE_LIMIT: Final = 200
MESSAGE_LIMIT: Final = 2000
ALT_LIMIT: Final = 1024
ELLIPSIS: Final = "…"

_SPACES: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u2800\u3164\uffa0\u115f\u1160]+")
_NO_WIDTH: Final = re.compile("[\u034f\u17b4\u17b5\u180b-\u180f\U000e0100-\U000e01ef]")
_HALF: Final = re.compile("[\ud800-\udfff]")
_MARKUP: Final = re.compile(r"([\\*_~|`>#\[\]()<])")
_LIST_START: Final = re.compile(r"^(\d*)([-+.)])")
# An address becomes a link by its "//" or, for invitations, by its "/".
_ADDRESS: Final = re.compile(r"(?<=:)//|(?i:(?<=\.gg)|(?<=\.com))/")
_MENTION: Final = re.compile(r"<(?=[@#:/]|a:|t:|id:|sound:)|@(?=everyone|here|[!&]?\d)", re.I)
_LOOK_ALIKE: Final = {"<": "‹", "@": "＠"}


def utf16_length(text: str) -> int:
    """Count a text as Discord does."""
    return len(text) + sum(sign > "\uffff" for sign in text)


def cut_utf16(text: str, limit: int) -> str:
    """Cut a text to a number of UTF-16 units, with an ellipsis, never inside a character."""
    if utf16_length(text) <= limit:
        return text
    room, kept = limit - 1, 0
    for sign in text:
        room -= 2 if sign > "\uffff" else 1
        if room < 0:
            break
        kept += 1
    return text[: _whole_character(text, kept)].rstrip() + ELLIPSIS


def one_line(text: str, limit: int = VISIBLE_LIMIT) -> str:
    """Put a text on one line without invisible signs, cut to a number of characters."""
    text = _NO_WIDTH.sub("", _HALF.sub("\ufffd", text))
    text = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    text = _SPACES.sub(" ", text).strip()
    if len(text) <= limit:
        return text
    return text[: _whole_character(text, limit - 1)].rstrip() + ELLIPSIS


def escape(text: str, limit: int = VISIBLE_LIMIT) -> str:
    """Make a person's text safe to stand in a message outside of code."""
    text = plain(text, limit)
    return _LIST_START.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", text))


def plain(text: str, limit: int = VISIBLE_LIMIT) -> str:
    """Make a person's text safe for a place that knows no markup, such as an alt text."""
    return _inert(one_line(text, limit))


def code(text: str, limit: int = VISIBLE_LIMIT) -> str:
    """Put a person's text into inline code that it cannot break out of."""
    return f"`{_unticked(plain(text, limit)) or ' '}`"


def code_block(text: str, limit: int = MESSAGE_LIMIT - 200) -> str:
    """Put lines into a code block that they cannot break out of; lines stay lines."""
    lines = (_inert(_unticked(line)) for line in text.split("\n"))
    return f"```\n{cut_utf16(chr(10).join(lines), limit)}\n```"


def _unticked(text: str) -> str:
    return text.replace("`", "ˋ")


def _inert(text: str) -> str:
    """Give mentions and addresses look-alike signs, so that no client acts on them."""
    text = _MENTION.sub(lambda found: _LOOK_ALIKE[found[0]], text)
    return _ADDRESS.sub(lambda found: found[0].replace("/", "⁄"), text)


def _whole_character(text: str, end: int) -> int:
    """Move a cut to the left until it parts no accent or emoji colour from its base."""
    while 0 < end < len(text) and (
        unicodedata.category(text[end]) in {"Mn", "Me", "Mc"} or "🏻" <= text[end] <= "🏿"
    ):
        end -= 1
    return end
