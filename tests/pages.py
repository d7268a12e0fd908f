"""The tables of the pages for people and admins, made from the code's own tables.

Promises that what stands between two marks of `bot/USERS.md` or `bot/ADMINS.md` is what the code
does: `python -m tests.pages` rewrites it, and a test compares. Everything else is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from discord import AppCommandType, app_commands

from bot.client import EaselClient
from bot.help_pages import BUTTONS, REACTIONS, WEIGHTS, WILDCARDS, button_lines
from bot.prompt.flags import FLAGS, LATER, Flag, Kind

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = (ROOT / "bot/USERS.md", ROOT / "bot/ADMINS.md")
COMMAND: Final = "python -m tests.pages"
# Whole numbers of which a picture says more than the range.
_NO_RANGE: Final = frozenset({Kind.RATIO})
_BLOCK: Final = re.compile(r"(<!-- ([a-z]+): python -m tests\.pages -->\n).*?(<!-- end -->)", re.S)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a table of Markdown."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    # A bar inside a cell ends it, also between backticks.
    return text.replace("|", "\\|")


def flags() -> str:
    """Every flag of the parser."""
    return table(("flag", "values", "without it", "does"), map(_flag_row, FLAGS))


def _flag_row(flag: Flag) -> tuple[str, ...]:
    names = " ".join(f"`--{name}`" for name in flag.names)
    values = f"`{flag.example}`" if flag.example else ""
    if flag.kind not in _NO_RANGE and flag.minimum is not None and flag.maximum is not None:
        values = f"{flag.minimum:.10g} to {flag.maximum:.10g}"
    return names, values, flag.default, flag.help


def elsewhere() -> str:
    """Flags that people know from elsewhere."""
    rows = ((" ".join(f"`--{name}`" for name in one.names), one.about) for one in LATER)
    return table(("flag", "about"), rows)


def signs() -> str:
    """What signs among the words mean."""
    return table(("typed", "means"), ((f"`{text}`", about) for text, about in WEIGHTS))


def wildcards() -> str:
    """What braces and lists mean."""
    return table(("typed", "means"), ((f"`{text}`", about) for text, about in WILDCARDS))


def buttons() -> str:
    """Every button."""
    lines = (line.rpartition("** ") for line in button_lines()[: len(BUTTONS)])
    return table(("button", "does"), ((f"{label}**", about) for label, _, about in lines))


def reactions() -> str:
    """Every reaction that is answered."""
    return table(("reaction", "the picture"), REACTIONS.items())


def commands() -> str:
    """Every command that is for all."""
    return table(("command", "does"), _rows(is_admins=False))


def admin() -> str:
    """Every command that is for those who keep order."""
    return table(("command", "does"), _rows(is_admins=True))


def menu() -> str:
    """The entries of a message's menu, in one line."""
    tree = EaselClient(status="", guilds=()).tree
    names = [one.name for one in tree.get_commands(type=AppCommandType.message)]
    return " · ".join(names) + "\n"


Command = app_commands.Command[Any, ..., Any]


def all_commands() -> list[Command]:
    """Return every slash command; of a group those that are in it."""
    tree = EaselClient(status="", guilds=()).tree
    found = tree.walk_commands(type=AppCommandType.chat_input)
    single = [one for one in found if isinstance(one, app_commands.Command)]
    return sorted(single, key=lambda one: one.qualified_name)


def _rows(*, is_admins: bool) -> Iterable[tuple[str, str]]:
    for one in all_commands():
        if (one.root_parent is not None and one.root_parent.name == "admin") is is_admins:
            options = (
                part.display_name if part.required else f"[{part.display_name}]"
                for part in one.parameters
            )
            yield f"`{' '.join([f'/{one.qualified_name}', *options])}`", one.description


TABLES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        made.__name__: made
        for made in (
            *(flags, elsewhere, signs, wildcards),
            *(buttons, reactions, commands, admin, menu),
        )
    }
)


def blocks(text: str) -> list[str]:
    """Return the names of the tables that a page holds."""
    return [found[2] for found in _BLOCK.finditer(text)]


def rewritten(text: str) -> str:
    """Return a page with every table as the code has it now."""
    return _BLOCK.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


def main() -> None:
    """Rewrite the tables of all pages."""
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
        done = "rewritten" if after != before else "as it was"
        sys.stdout.write(f"{page.relative_to(ROOT)}: {done}\n")


if __name__ == "__main__":
    main()
