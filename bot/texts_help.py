"""Help, and the words on commands and buttons. The flags come from the parser's own table."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from bot.escape import MESSAGE_LIMIT, cut_utf16, escape
from bot.prompt.flags import FLAGS, LATER, Flag, Kind

# Nothing else in a model's description becomes a link.
_PROJECT: Final = re.compile(r"https://github\.com/[A-Za-z0-9._-]{1,60}/[A-Za-z0-9._-]{1,60}")

COMMANDS: Final = MappingProxyType(
    {
        "imagine": "Paint four pictures from words",
        "info": "Your jobs that wait or run, the queue, the models",
        "show": "Post an earlier job again, with its buttons",
        "history": "Your earlier pictures",
        "help": "What can be typed and pressed",
        "about": "What this bot is, and whose work its models learned from",
    }
)
OPTIONS: Final = MappingProxyType(
    {
        "prompt": "What to paint: words first, then flags such as --ar 3:2",
        "model": "Which model paints; --model in the prompt wins",
        "job": "A job's id, or a link to its message",
        "user": "Whose pictures; yours without it",
        "search": "Words to look for in the prompts",
    }
)
LABELS: Final = MappingProxyType(
    {
        "upscale": "U{index}",
        "vary": "V{index}",
        "reroll": "🔄",
        "info": "Info",
        "cancel": "Cancel",
        "delete": "🗑️",
        "fix": "Fix and run",
        "yes": "Yes, delete",
        "no": "Keep",
    }
)


def _range(flag: Flag) -> str:
    if flag.kind is Kind.RATIO or flag.minimum is None or flag.maximum is None:
        return ""
    return f" ({flag.minimum:.10g}–{flag.maximum:.10g})"


def flag_line(flag: Flag) -> str:
    """Explain one flag: spellings, range, meaning, default."""
    names = ", ".join(f"--{name}" for name in flag.names)
    value = f" {flag.example}" if flag.example else ""
    return f"`{names}{value}`{_range(flag)} {flag.help} Default: {flag.default}."


def flag_lines() -> tuple[str, ...]:
    """Explain every flag, in the order of the table."""
    return tuple(flag_line(flag) for flag in FLAGS)


def help_text() -> str:
    """Explain prompt, flags and buttons in one message."""
    later = " ".join(f"--{name}" for one in LATER for name in one.names[:1])
    lines = [
        "`/imagine` paints what you describe: words first, then flags, each behind two dashes.",
        *flag_lines(),
        "Under a grid: **U1–U4** post one picture alone, **V1–V4** vary it, **🔄** paints again, "
        "**Info** shows everything. The order is 1 2 above 3 4.",
        f"Known elsewhere, not here yet: {later}",
    ]
    return cut_utf16("\n".join(lines), MESSAGE_LIMIT)


def about(software: str, credits: Mapping[str, Sequence[str]]) -> str:
    """Say what the bot is and, for each model that names them, whose work it learned from."""
    lines = [
        f"**{escape(software)}** paints with diffusion models on the machine it runs on. "
        "Every picture is made by a machine. The code is under the MIT licence.",
    ]
    for name, credit in sorted(credits.items()):
        if credit:
            lines += [
                f"**{escape(name)}** was trained on these drawings, rasterised, mirrored, "
                "recoloured and put together; their authors do not endorse it:",
                *(f"- {_credit(line)}" for line in credit),
            ]
    return cut_utf16("\n".join(lines), MESSAGE_LIMIT)


def _credit(line: str) -> str:
    """Escape a line, but for a project's address at its end: attribution has to lead somewhere."""
    words, found, address = line.rpartition(", ")
    if found and _PROJECT.fullmatch(address):
        return f"{escape(words, MESSAGE_LIMIT)}, <{address}>"
    return escape(line, MESSAGE_LIMIT)
