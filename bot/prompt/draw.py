"""Wildcards: `{a|b}`, `{2$$a|b|c}`, `{0.5::a|b}` and `__list__`, drawn from a seed.

Promises: pure and total, and the same text with the same seed and the same word lists gives the
same words on every machine and in every version of Python: the numbers are SHA-256 of the seed and
a counter, not those of a library. `stream` keeps two texts of one job from drawing in step.

`{2$$a|b|c}` draws two different options and joins them with ", "; `{1-3$$ and $$a|b|c}` draws one
to three and joins them with " and ". A number with `::` before an option is its weight, 1 without.
An option may be empty, or hold further groups; a line of a list may, too. A backslash before `{`
or `}`, in a group also before `|`, `,` and `$`, makes that sign plain, and so do two of them for
`__`, as in `\\_\\_`. A group with commas alone is several prompts (`expand`), and a fault here.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

from bot.language import tr
from bot.prompt.braces import Count, Group, Kind, Pieces, has_braces, read_braces
from bot.prompt.errors import Flaw, PromptError
from bot.prompt.mend import clip, nearest

LONGEST: Final = 6000
_MOST_LINES: Final = 200
_DEEPEST_LIST: Final = 10
_NAME: Final = re.compile(r"(?<![^\W_])__([^\W_](?:[\w/-]*?[^\W_])?)__(?![^\W_])")
_PLAIN: Final = re.compile(r"\\([{}])|\\_\\_")
_PLAIN_INSIDE: Final = re.compile(r"\\([{}|,$])|\\_\\_")
_OTHER: Final = re.compile(r"\\\\")
_WEIGHT: Final = re.compile(r"\s*(\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})::\s*", re.ASCII)
_SIGNS: Final = re.compile(r"[{}]")
_UNDERSCORES: Final = re.compile(r"\\_\\_")
_PLAIN_UNDERSCORES: Final = r"\\_\\_"
_ROUNDS: Final = 8

Lists = Mapping[str, Sequence[str]]


def draw(text: str, seed: int, files: Lists, *, stream: str = "prompt") -> str:
    """Return the text with everything drawn; PromptError for what cannot be drawn from."""
    try:
        return draw_or_flaw(text, seed, files, stream=stream)
    except Flaw as flaw:
        mend = partial(mended, flaw, seed, files, stream)
        raise PromptError(
            flaw.message, text=text, start=flaw.start, end=flaw.end, mend=mend
        ) from None


def draw_or_flaw(text: str, seed: int, files: Lists, *, stream: str) -> str:
    """Do what `draw` does; the fault is raised as it is."""
    if not (has_braces(text) or "__" in text or "\\" in text):
        return text
    # What was drawn may have brought two escaped signs together.
    return _unescaped(_Drawing(seed, stream, files).text(text), _UNDERSCORES)


def mended(flaw: Flaw, seed: int, files: Lists, stream: str) -> str | None:
    """Mend one fault after the other until everything can be drawn."""
    for _ in range(_ROUNDS):
        if flaw.mended is None:
            return None
        try:
            draw_or_flaw(flaw.mended, seed, files, stream=stream)
        except Flaw as other:
            flaw = other
        else:
            return flaw.mended
    return None


def escaped(text: str) -> str:
    """Write drawn words so that they are drawn as themselves."""
    text = _NAME.sub(rf"{_PLAIN_UNDERSCORES}\1{_PLAIN_UNDERSCORES}", text)
    return _SIGNS.sub(r"\\\g<0>", text)


class _Drawing:
    """One text being drawn: the stream of numbers, and how many lines were taken."""

    def __init__(self, seed: int, stream: str, files: Lists) -> None:
        self._key = f"easel {stream} {seed}"
        self._drawn = 0
        self._lines = 0
        self._files = files
        self._length = 0

    def text(self, text: str, *, depth: int = 0) -> str:
        """Draw a whole text, what was typed or a line of a list."""
        pieces = read_braces(text)
        several = next(_several(pieces), None)
        if several is not None:
            message = tr("These braces ask for several prompts, and only one can be painted here.")
            raise Flaw(message, start=several.start, end=several.end)
        return self._pieces(pieces, text, inside=False, depth=depth)

    def _fraction(self) -> float:
        """Return the next number from 0 up to 1, of 53 bits."""
        self._drawn += 1
        digest = hashlib.sha256(f"{self._key} {self._drawn}".encode()).digest()
        return (int.from_bytes(digest[:8], "big") >> 11) / 2**53

    def _below(self, end: int) -> int:
        return min(end - 1, int(self._fraction() * end))

    def _pieces(self, pieces: Pieces, text: str, *, inside: bool, depth: int) -> str:
        place, out = 0, []
        for piece in pieces:
            if isinstance(piece, str):
                start = max(0, text.find(piece, place))
                out.append(self._words(piece, text, start, inside=inside, depth=depth))
                place = start + len(piece)
            else:
                out.append(self._group(piece, text, depth=depth))
                place = piece.end
        return "".join(out)

    def _words(self, words: str, text: str, start: int, *, inside: bool, depth: int) -> str:
        """Put lines of lists in place of their names, and make signs plain."""
        plain = _PLAIN_INSIDE if inside else _PLAIN
        out, place = [], 0
        for name in _NAME.finditer(words):
            out.append(_unescaped(words[place : name.start()], plain))
            out.append(self._line(name, text, start, depth=depth))
            place = name.end()
        return "".join([*out, _unescaped(words[place:], plain)])

    def _line(self, name: re.Match[str], text: str, start: int, *, depth: int) -> str:
        begin, end = start + name.start(), start + name.end()
        lines = self._files.get(name[1].casefold())
        if not lines:
            raise _no_list(name[1], self._files, text, begin, end)
        self._lines += 1
        if depth >= _DEEPEST_LIST or self._lines > _MOST_LINES:
            message = tr("The word list “{name}” names lists without an end.", name=clip(name[1]))
            raise Flaw(message, start=begin, end=end)
        line = lines[self._below(len(lines))]
        self._length += len(line)
        if self._length > LONGEST:
            raise Flaw(tr("What is drawn here is too long to be painted."), start=begin, end=end)
        try:
            return self.text(line, depth=depth + 1)
        except Flaw as flaw:
            # The fault is in the admin's list, not in what was typed.
            raise Flaw(flaw.message, start=begin, end=end) from None

    def _group(self, group: Group, text: str, *, depth: int) -> str:
        weighed = [_weighed(option) for option in group.options]
        weights = [weight for weight, _ in weighed]
        number = self._number(group, weights, text)
        picked = []
        for _ in range(number):
            place = self._pick(weights)
            weights[place] = 0.0
            picked.append(self._pieces(weighed[place][1], text, inside=True, depth=depth))
        return (", " if group.count is None else group.count.joiner).join(picked)

    def _number(self, group: Group, weights: list[float], text: str) -> int:
        """Say how many options of a group are drawn."""
        able = sum(weight > 0 for weight in weights)
        wanted = group.count or Count(low=1, high=1, joiner="", typed="")
        if 0 <= wanted.low <= wanted.high <= able:
            return wanted.low + self._below(wanted.high - wanted.low + 1)
        if able == 0:
            message = tr("All weights of this choice are 0, so nothing can be drawn.")
        else:
            message = tr(
                "{wanted} of {options} cannot be drawn here.",
                wanted=f"{wanted.low}-{wanted.high}" if wanted.low != wanted.high else wanted.low,
                options=able,
            )
        raise Flaw(message, start=group.start, end=group.end)

    def _pick(self, weights: list[float]) -> int:
        sums = list(accumulate(weights))
        wanted = self._fraction() * sums[-1]
        last = max(place for place, weight in enumerate(weights) if weight > 0)
        return next((place for place, upto in enumerate(sums) if wanted < upto), last)


def _several(pieces: Pieces) -> Iterator[Group]:
    """Yield the groups that stand for several prompts, inner ones too."""
    for piece in pieces:
        if isinstance(piece, Group):
            if piece.kind is Kind.SEVERAL:
                yield piece
            for option in piece.options:
                yield from _several(option)


def _weighed(option: Pieces) -> tuple[float, Pieces]:
    """Take the weight off the beginning of an option."""
    if not option or not isinstance(option[0], str):
        return 1.0, option
    weight = _WEIGHT.match(option[0])
    if weight is None:
        return 1.0, option
    return float(weight[1]), (option[0][weight.end() :], *option[1:])


def _unescaped(words: str, plain: re.Pattern[str]) -> str:
    # Two backslashes are one, and it is for the weights' grammar to say so.
    parts = _OTHER.split(words)
    return "\\\\".join(plain.sub(_sign, part) for part in parts)


def _sign(found: re.Match[str]) -> str:
    return found[0].replace("\\", "")


def _no_list(name: str, files: Lists, text: str, start: int, end: int) -> Flaw:
    near = nearest(name.casefold(), files)
    meant = name.replace("_", " ") if near is None else f"__{near}__"
    if files:
        message = tr(
            "There is no word list “{name}” on this server; there are: {known}.",
            name=clip(name),
            known=clip(", ".join(sorted(files))),
        )
    else:
        message = tr(
            "This server has no word lists, so “{name}” between underscores means nothing here.",
            name=clip(name),
        )
    return Flaw(message, start=start, end=end, mended=f"{text[:start]}{meant}{text[end:]}")
