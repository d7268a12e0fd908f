"""Where in a TOML text a key stands: the line numbers that tomllib does not keep.

A small scanner walks the text as TOML is written (tables, arrays of tables, dotted and quoted
keys, inline tables, arrays, strings of all four kinds) and notes the first line of every path.
It promises never to raise and to stop quietly where the text is no TOML; whether it is TOML, and
what its values are, tomllib alone decides.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

Place = tuple[str | int, ...]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_BLANK: Final = re.compile(r"[ \t]+")
_BETWEEN: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")
_STRINGS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r'"""(?:[^\\]|\\[\s\S])*?"""(?:"{0,2})',
        r"'''[\s\S]*?'''(?:'{0,2})",
        r'"(?:[^"\\\n]|\\.)*"',
        r"'[^'\n]*'",
    )
)
_ESCAPE: Final = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(["\\bfnrt]))')
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_MAX_DEPTH: Final = 50


class _NotTomlError(Exception):
    """The text is no TOML from here on."""


@dataclass(slots=True)
class Lines:
    """The first line of every key, of the tables only named on the way, and of repeated keys."""

    first: dict[Place, int] = field(default_factory=dict)
    implied: dict[Place, int] = field(default_factory=dict)
    again: list[tuple[Place, int]] = field(default_factory=list)

    def of(self, path: Place) -> int | None:
        """Return the line of a path, or of the nearest table around it that has one."""
        for length in range(len(path), 0, -1):
            line = self.first.get(path[:length], self.implied.get(path[:length]))
            if line is not None:
                return line
        return None


def find_lines(text: str) -> Lines:
    """Walk a TOML text and note the line of every key, table and array element."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    with suppress(_NotTomlError):
        scanner.document()
    return scanner.lines


class _Scanner:
    """One walk over one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines = Lines()
        self.arrays: dict[Place, int] = {}

    def document(self) -> None:
        table: Place = ()
        while True:
            self.skip(_BETWEEN)
            if self.at >= len(self.text):
                return
            if self.text.startswith("[", self.at):
                table = self.header()
            else:
                self.pair(table, depth=0)
            self.skip(_BLANK)
            if self.at < len(self.text) and self.text[self.at] not in "#\n":
                raise _NotTomlError

    def header(self) -> Place:
        many = self.text.startswith("[[", self.at)
        line = self.line
        self.at += 2 if many else 1
        path = self.inside_arrays(self.key())
        self.expect("]]" if many else "]")
        if many:
            index = self.arrays.get(path, -1) + 1
            self.arrays[path] = index
            self.lines.first.setdefault(path, line)
            path = (*path, index)
        self.note(path, line)
        return path

    def inside_arrays(self, path: Place) -> Place:
        """Point `[a.b]` at the last element of a, where a is an array of tables."""
        found: Place = ()
        for position, part in enumerate(path):
            found = (*found, part)
            if position < len(path) - 1 and found in self.arrays:
                found = (*found, self.arrays[found])
        return found

    def pair(self, table: Place, *, depth: int) -> None:
        line = self.line
        path = (*table, *self.key())
        self.note(path, line)
        self.expect("=")
        self.skip(_BLANK)
        self.value(path, depth)

    def note(self, path: Place, line: int) -> None:
        for length in range(1, len(path)):
            self.lines.implied.setdefault(path[:length], line)
        if path in self.lines.first:
            self.lines.again.append((path, line))
        else:
            self.lines.first[path] = line

    def key(self) -> Place:
        parts: list[str | int] = []
        while True:
            self.skip(_BLANK)
            parts.append(self.key_part())
            self.skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return tuple(parts)
            self.at += 1

    def key_part(self) -> str:
        sign = self.text[self.at : self.at + 1]
        if sign == '"':
            return _ESCAPE.sub(_unescape, self.take(_STRINGS[2])[1:-1])
        return self.take(_STRINGS[3])[1:-1] if sign == "'" else self.take(_BARE)

    def value(self, path: Place, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _NotTomlError
        sign = self.text[self.at : self.at + 1]
        if sign == "[":
            self.array(path, depth)
        elif sign == "{":
            self.inline_table(path, depth)
        elif sign in {'"', "'"}:
            self.string()
        else:
            self.take(_SCALAR)

    def string(self) -> None:
        for pattern in _STRINGS:
            if pattern.match(self.text, self.at):
                self.take(pattern)
                return
        raise _NotTomlError

    def array(self, path: Place, depth: int) -> None:
        self.at += 1
        index = 0
        while True:
            self.skip(_BETWEEN)
            if self.text.startswith("]", self.at):
                self.at += 1
                return
            self.lines.first.setdefault((*path, index), self.line)
            self.value((*path, index), depth + 1)
            index += 1
            self.skip(_BETWEEN)
            if not self.text.startswith("]", self.at):
                self.expect(",")

    def inline_table(self, path: Place, depth: int) -> None:
        self.at += 1
        self.skip(_BETWEEN)
        while not self.text.startswith("}", self.at):
            self.pair(path, depth=depth + 1)
            self.skip(_BETWEEN)
            if not self.text.startswith("}", self.at):
                self.expect(",")
                self.skip(_BETWEEN)
        self.at += 1

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match:
            self.line += match[0].count("\n")
            self.at = match.end()

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise _NotTomlError
        self.line += match[0].count("\n")
        self.at = match.end()
        return match[0]

    def expect(self, sign: str) -> None:
        self.skip(_BLANK)
        if not self.text.startswith(sign, self.at):
            raise _NotTomlError
        self.at += len(sign)


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code is None:
        return _SHORT[match[3]]
    number = int(code, 16)
    return chr(number) if number <= 0x10FFFF else match[0]
