"""What an admin may write into a style template, checked when config.toml is read.

Promises that whatever passes can be put around any prompt: no flags among words, no parts, one slot
for the prompt. Each check returns the text or raises ValueError with the end of a sentence.
"""

from typing import Final

from bot.presets import SLOT, is_multi
from bot.prompt import PromptError, parse
from bot.prompt.scan import find_marks
from diffusion import ParamsError
from diffusion.prompts import split_and

_NOT_OF_A_PRESET: Final = frozenset({"preset", "style", "raw", "seed", "repeat", "sref", "cref"})
_WORD: Final = "cat"


def check_style(value: str) -> str:
    """Accept words that can stand beside any others."""
    if not value:
        return value
    _check_words(value)
    try:
        plain = not is_multi(value) and len(split_and(value)) == 1
    except ParamsError:
        plain = False
    if not plain or "{" in value or "}" in value:
        raise ValueError("must be words alone, without ::, AND and braces")
    return value


def check_template(value: str) -> str:
    """Accept words around one slot."""
    if value.count(SLOT) != 1:
        raise ValueError("must hold {prompt} once, where the words of a prompt go")
    check_style(value.replace(SLOT, _WORD))
    return value


def check_preset_flags(value: str) -> str:
    """Accept flags that can be read, and that a template may decide."""
    if not value:
        return value
    try:
        parsed = parse(f"{_WORD} {value}")
    except PromptError as error:
        raise ValueError(f"must be flags that can be read: {error.message}") from error
    if parsed.prompt != _WORD:
        raise ValueError("must be flags alone, as in --ar 3:2")
    refused = sorted(_NOT_OF_A_PRESET & parsed.spans.keys())
    if refused:
        raise ValueError(f"must leave --{refused[0]} to whoever asks")
    return value


def _check_words(value: str) -> None:
    if next(find_marks(value), None) is not None:
        raise ValueError("must not hold a flag; flags have a key of their own")
    try:
        parse(value)
    except PromptError as error:
        raise ValueError(f"must be words that can be read: {error.message}") from error
