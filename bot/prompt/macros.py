"""Text put together before it is parsed: macros, a suffix, and what a variation takes over.

Promises: pure functions of texts, total (a text or a PromptError), and bounded: macros nest at most
`DEEPEST` deep, a cycle is an error that names it, and nothing grows beyond `LONGEST` characters.
Never looks a macro up anywhere; the caller gives them.
"""

from collections.abc import Collection, Container, Iterator, Mapping
from typing import Final

from bot.language import tr
from bot.prompt.errors import PromptError
from bot.prompt.flags import FLAG_BY_NAME, FLAGS, KNOWN
from bot.prompt.parser import cleaned
from bot.prompt.scan import Mark, find_marks, fold_name

DEEPEST: Final = 20
LONGEST: Final = 6000
# Names that say one thing: who typed one of them does not want the suffix's other one.
_TOGETHER: Final = ({"style", "raw", "preset"}, {"sampler", "schedule"})


def expand_macros(text: str, macros: Mapping[str, str]) -> str:
    """Put every `--name` of a macro's in place: its flags where it stood, its words behind the
    prompt's own.
    """
    text = cleaned(text)
    by_name = {fold_name(name): cleaned(value) for name, value in macros.items()}
    return _Unfolding(by_name).unfold(text, ())


class _Unfolding:
    """One text being unfolded; a macro that stands there twice is unfolded once."""

    def __init__(self, macros: Mapping[str, str]) -> None:
        self._macros = macros
        self._done: dict[str, str] = {}

    def unfold(self, text: str, path: tuple[str, ...]) -> str:
        marks = list(find_marks(text))
        if not any(self._is_macro(mark) for mark in marks):
            return text
        first = marks[0].start
        words, flags, place = [text[:first]], [], first
        for mark in marks:
            if not self._is_macro(mark):
                continue
            inner = self._inner(text, mark, path)
            cut = _words_end(inner)
            words.append(inner[:cut])
            flags += [text[place : mark.start], inner[cut:]]
            place = mark.after
        flags.append(text[place:])
        parts = (part.strip() for part in (*words, *flags))
        whole = " ".join(part for part in parts if part)
        if len(whole) > LONGEST:
            message = tr("With your options put in, this is too long to be painted.")
            raise PromptError(message, text=text, start=first, end=len(text))
        return whole

    def _is_macro(self, mark: Mark) -> bool:
        return mark.name in self._macros and mark.name not in KNOWN

    def _inner(self, text: str, mark: Mark, path: tuple[str, ...]) -> str:
        name = mark.name
        if name in path or len(path) >= DEEPEST:
            told = " → ".join(f"--{each}" for each in (*path[-4:], name))
            if name in path:
                message = tr("Your options go in a circle: {path}.", path=told)
            else:
                message = tr("Your options stand too deep inside each other: {path}.", path=told)
            raise PromptError(message, text=text, start=mark.start, end=mark.after)
        if name not in self._done:
            self._done[name] = self.unfold(self._macros[name], (*path, name))
        return self._done[name]


def with_flags(text: str, flags: str, *, besides: Collection[str] = ()) -> str:
    """Put those flags behind a text that it does not have itself.

    `besides` names flags that are decided elsewhere, as by an option of the command.
    """
    text = cleaned(text)
    taken = {each for mark in find_marks(text) for each in _said_by(mark.name)}
    taken |= {each for name in besides for each in _said_by(name)}
    added = [segment for mark, segment in _segments(cleaned(flags)) if mark.name not in taken]
    return " ".join([text.rstrip(), *added]) if added else text


def carried(text: str) -> str:
    """Return a prompt without the flags that a variation or a remix does not take over."""
    return without_flags(text, {flag.name for flag in FLAGS if not flag.carries})


def without_flags(text: str, names: Container[str]) -> str:
    """Return a prompt without the flags of these main names; what is no flag stays."""
    text = cleaned(text)
    kept = [
        segment
        for mark, segment in _segments(text)
        if mark.name not in FLAG_BY_NAME or FLAG_BY_NAME[mark.name].name not in names
    ]
    return " ".join([text[: _words_end(text)].strip(), *kept]).strip()


def _segments(text: str) -> Iterator[tuple[Mark, str]]:
    for mark in find_marks(text):
        yield mark, text[mark.start : mark.stop].strip()


def _words_end(text: str) -> int:
    first = next(find_marks(text), None)
    return len(text) if first is None else first.start


def _said_by(name: str) -> set[str]:
    """Return every name of every flag that says what this one says."""
    if name not in FLAG_BY_NAME:
        return {name}
    flag = FLAG_BY_NAME[name]
    same = {flag.name}
    for together in _TOGETHER:
        same |= together if flag.name in together else set()
    return {
        each
        for known in set(FLAG_BY_NAME.values())
        if known.name in same or (flag.group and known.group == flag.group)
        for each in known.names
    }
