"""Help, and the words on commands and buttons. The flags come from the parser's own table."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from bot.escape import MESSAGE_LIMIT, cut_utf16, escape
from bot.language import mark, tr
from bot.prompt.flags import FLAGS, Flag, Kind
from bot.prompt.flags import LATER as LATER

# Nothing else in a model's description becomes a link.
_PROJECT: Final = re.compile(r"https://github\.com/[A-Za-z0-9._-]{1,60}/[A-Za-z0-9._-]{1,60}")

COMMANDS: Final = MappingProxyType(
    {
        "imagine": mark("Paint four pictures from words"),
        "info": mark("Your jobs that wait or run, the queue, the models"),
        "show": mark("Post an earlier job again, with its buttons"),
        "history": mark("Your earlier pictures"),
        "help": mark("What can be typed and pressed"),
        "about": mark("What this bot is, and whose work its models learned from"),
    }
)
OPTIONS: Final = MappingProxyType(
    {
        "prompt": mark("What to paint: words first, then flags such as --ar 3:2"),
        "model": mark("Which model paints; --model in the prompt wins"),
        "job": mark("A job's id, or a link to its message"),
        "user": mark("Whose pictures; yours without it"),
        "search": mark("Words to look for in the prompts"),
    }
)
LABELS: Final = MappingProxyType(
    {
        "upscale": "U{index}",
        "vary": "V{index}",
        "reroll": "🔄",
        "info": mark("Info"),
        "cancel": mark("Cancel"),
        "delete": "🗑️",
        "fix": mark("Fix and run"),
        "yes": mark("Yes, delete"),
        "no": mark("Keep"),
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
    about, default = tr(flag.help), tr("Default: {default}.", default=tr(flag.default))
    return f"`{names}{value}`{_range(flag)} {about} {default}"


def flag_lines() -> tuple[str, ...]:
    """Explain every flag, in the order of the table."""
    return tuple(flag_line(flag) for flag in FLAGS)


def about(
    software: str,
    credits: Mapping[str, Sequence[str]],
    describers: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> str:
    """Say what the bot is and, for each model that names them, whose work it learned from.

    `describers` are the same for what names pictures; whoever is named already is left out there.
    """
    lines = [
        tr(
            "**{software}** paints with diffusion models on the machine it runs on. "
            "Every picture is made by a machine. The code is under the MIT licence.",
            software=escape(software),
        )
    ]
    for name, credit in sorted(credits.items()):
        if credit:
            lines += [
                tr(
                    "**{name}** was trained on these drawings, rasterised, mirrored, recoloured "
                    "and put together; their authors do not endorse it:",
                    name=escape(name),
                ),
                *(f"- {_credit(line)}" for line in credit),
            ]
        more = [line for line in describers.get(name, ()) if line not in credit]
        if more:
            lines += [
                tr("What names pictures for **{name}** saw these, too:", name=escape(name)),
                *(f"- {_credit(line)}" for line in more),
            ]
    return cut_utf16("\n".join(lines), MESSAGE_LIMIT)


def _credit(line: str) -> str:
    """Escape a line, but for a project's address at its end: attribution has to lead somewhere."""
    words, found, address = line.rpartition(", ")
    if found and _PROJECT.fullmatch(address):
        return f"{escape(words, MESSAGE_LIMIT)}, <{address}>"
    return escape(line, MESSAGE_LIMIT)
