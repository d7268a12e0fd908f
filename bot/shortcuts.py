"""What may be kept as a shortcut or a suffix: checked when it is set, so that it works when typed.

Promises that no kept shortcut leads back to itself, that each makes a readable prompt behind the
words of another, and that a suffix has no words. Pure: what is kept is given.
"""

import re
from collections.abc import Mapping
from typing import Final

from bot.escape import code, escape
from bot.language import tr
from bot.preferences import MAX_SUFFIX
from bot.prompt import ParsedPrompt, PromptError, expand_macros, parse
from bot.prompt.flags import KNOWN
from bot.prompt.scan import fold_name, tidy

MAX_NAME: Final = 32
MAX_TEXT: Final = 1000
_NAME: Final = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
# Any words do: what is checked is what stands behind them.
_WORDS: Final = "x"


class ShortcutError(ValueError):
    """What cannot be kept; the text is a sentence for who typed it."""


def checked_name(typed: str) -> str:
    """Return a shortcut's name as it is kept, without the dashes somebody may have typed."""
    name = fold_name(typed.strip()).lstrip("-")
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise ShortcutError(
            tr(
                "A shortcut's name has letters a to z, digits and dashes, begins with a letter, "
                "and is at most {most} long; {name} is not.",
                most=MAX_NAME,
                name=code(typed, 60),
            )
        )
    if name in KNOWN:
        raise ShortcutError(
            tr("{flag} is a flag already; choose another name.", flag=code(f"--{name}", 60))
        )
    return name


def checked_text(name: str, typed: str, kept: Mapping[str, str]) -> str:
    """Return what a shortcut stands for, if it can be read with all that it names."""
    text = tidy(typed).strip()
    _check_length(text, MAX_TEXT)
    after = {**kept, name: text}
    _read(f"{_WORDS} --{name}", after, text)
    # Others may lead through the one that changes; what was broken before is not its fault.
    for each in kept:
        if _is_readable(each, kept):
            _read(f"{_WORDS} --{each}", after, text)
    return text


def _is_readable(name: str, kept: Mapping[str, str]) -> bool:
    try:
        _read(f"{_WORDS} --{name}", kept, "")
    except ShortcutError:
        return False
    return True


def checked_suffix(typed: str, kept: Mapping[str, str]) -> str:
    """Return a suffix, if it has flags alone and can be read."""
    text = tidy(typed).strip()
    _check_length(text, MAX_SUFFIX)
    if _read(f"{_WORDS} {text}", kept, text).prompt != _WORDS:
        raise ShortcutError(
            tr("A suffix has flags alone, such as {example}.", example=code("--ar 3:2 --no text"))
        )
    return text


def _check_length(text: str, most: int) -> None:
    if not text:
        raise ShortcutError(tr("There is nothing to keep in this."))
    if len(text) > most:
        raise ShortcutError(
            tr("This has {length:,} signs; {most:,} are the most.", length=len(text), most=most)
        )


def _read(text: str, kept: Mapping[str, str], shown: str) -> ParsedPrompt:
    try:
        return parse(expand_macros(text, kept))
    except PromptError as error:
        raise ShortcutError(
            tr(
                "{text} makes no readable prompt: {reason}",
                text=code(shown, 200),
                reason=escape(error.message, 400),
            )
        ) from error
