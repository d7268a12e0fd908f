"""A parsed prompt written down again: the words, then the flags in the order of the table.

Promises that what is written parses to an equal `ParsedPrompt`. Never adds what was not typed.
"""

from types import MappingProxyType
from typing import Final

from bot.prompt.flags import FLAGS, Flag, Kind
from bot.prompt.parsed import ParsedPrompt
from bot.prompt.parser import cleaned

_FIELDS: Final = MappingProxyType(
    {"ar": "aspect", "no": "negative_prompt", "cfg": "guidance_scale"}
)
# Said by other flags of the table.
_SAID: Final = frozenset({"style", "niji"})


def to_text(parsed: ParsedPrompt) -> str:
    """Write a prompt as a person could have typed it."""
    flags = (_written(flag, parsed) for flag in FLAGS if flag.name not in _SAID)
    return " ".join([words_text(parsed.prompt), *(flag for flag in flags if flag)])


def words_text(words: str) -> str:
    """Write words so that their beginning is not taken for the option's name."""
    return words if cleaned(words) == words else f"prompt: {words}"


def _written(flag: Flag, parsed: ParsedPrompt) -> str:
    if flag.group == "share":
        return f"--{flag.name}" if parsed.share == flag.name else ""
    value = getattr(parsed, _FIELDS.get(flag.name, flag.name))
    if flag.kind is Kind.TOGGLE:
        return f"--{flag.name}" if value else ""
    if value is None:
        return ""
    return f"--{flag.name} {value:.12g}" if isinstance(value, float) else f"--{flag.name} {value}"
