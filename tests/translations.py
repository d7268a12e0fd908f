"""The sentences of the bot beside the language files: what is said, and what is translated.

`python -m tests.translations ja` brings a language's file up to date: sentences that are new stand
in it with an empty translation, those that are gone leave it, and the order is that of the code, so
that a file changes where sentences do and nowhere else. A file that does not exist yet is begun.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from io import BytesIO
from typing import Any, BinaryIO, Final

import discord
from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po
from discord import app_commands

from bot.client import EaselClient
from bot.language import FOLDER

METHOD: Final = "tests.translations:extract"
KEYWORDS: Final[dict[str, Any]] = {"tr": (1,), "trn": (1, 2), "mark": (1,)}
# What the names in Discord's menus are told apart by; the rest of an entry is a name.
PREFIXES: Final = ("/", "option:", "menu:")
WIDTH: Final = 100
BOT: Final = FOLDER.parent

Id = str | tuple[str, ...]


def extract(
    file: BinaryIO, keywords: Iterable[str], comments: object, options: object
) -> Iterator[tuple[int, str, list[str | None], list[str]]]:
    """Find the calls in a file, for Babel, whose own way sees none inside an f-string."""
    for node in ast.walk(ast.parse(file.read())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id in keywords:
            yield node.lineno, node.func.id, [_literal(each) for each in node.args], []


def _literal(node: ast.expr) -> str | None:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if is_text and isinstance(node, ast.Constant) else None


@cache
def sentences() -> dict[Id, str]:
    """Return every sentence of the code, and where it stands first."""
    found = extract_from_dir(BOT, keywords=KEYWORDS, method_map=[("**.py", METHOD)])
    places: dict[Id, tuple[str, int]] = {}
    for file, line, message, _, _ in found:
        places[message] = min((file, line), places.get(message, (file, line)))
    in_order = sorted(places.items(), key=lambda each: each[1])
    return {message: f"{file}:{line}" for message, (file, line) in in_order}


@cache
def offered() -> dict[str, str]:
    """Return what Discord shows of the commands, as the files name it, and whose it is."""
    client = EaselClient(status="", guilds=())
    found: dict[str, str] = {}
    for command in commands(client):
        if isinstance(command, app_commands.ContextMenu):
            found[f"menu:{command.name}"] = command.name
            continue
        found[f"/{command.name}"] = command.qualified_name
        found[command.description] = command.qualified_name
        if isinstance(command, app_commands.Group):
            continue
        for option in command.parameters:
            found[f"option:{option.display_name}"] = command.qualified_name
            found[str(option.description)] = command.qualified_name
            for choice in option.choices:
                found[choice.name] = command.qualified_name
    return dict(sorted(found.items(), key=lambda each: (each[1], each[0])))


def commands(client: EaselClient) -> Iterator[Any]:
    """Yield every command, group and menu entry, also those inside groups."""
    waiting: list[Any] = list(client.tree.get_commands())
    while waiting:
        command = waiting.pop(0)
        yield command
        if isinstance(command, app_commands.Group):
            waiting += command.commands
    yield from client.tree.get_commands(type=discord.AppCommandType.message)


def catalogue(language: str) -> Catalog:
    """Return the language's file, an empty one where there is none."""
    path = FOLDER / f"{language}.po"
    data = path.read_bytes() if path.exists() else b""
    return read_po(BytesIO(data), locale=language.replace("-", "_"))


def translated(entry: Message | None) -> list[str]:
    """Return the translations of an entry: one, or one for each plural form; none for no entry."""
    if entry is None:
        return []
    return [entry.string] if isinstance(entry.string, str) else list(entry.string or [""])


def is_name(message: object) -> bool:
    """Say whether an entry is the name of a command, an option or a menu's entry."""
    return isinstance(message, str) and message.startswith(PREFIXES) and " " not in message


def merged(language: str) -> bytes:
    """Return the language's file with the sentences that there are now."""
    old = catalogue(language)
    fresh = Catalog(locale=language.replace("-", "_"), fuzzy=False)
    for message in (*sentences(), *offered()):
        entry = old.get(message if isinstance(message, str) else message[0])
        if entry is not None and entry.id == message:
            fresh.add(message, entry.string, flags=entry.flags, user_comments=entry.user_comments)
        else:
            fresh.add(message)
    body = BytesIO()
    write_po(body, fresh, width=WIDTH, no_location=True, omit_header=True)
    return _header(language, fresh).encode() + body.getvalue().lstrip(b"\n")


def _header(language: str, fresh: Catalog) -> str:
    """Return a header without dates and versions, which change although nothing did."""
    name = Locale.parse(language, sep="-").english_name
    lines = (
        f"Language: {language}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        f"Plural-Forms: {fresh.plural_forms}",
    )
    entries = "".join(f'"{line}\\n"\n' for line in lines)
    return f'# Easel in {name}.\nmsgid ""\nmsgstr ""\n{entries}\n'


def main(languages: list[str]) -> None:
    """Bring the named languages up to date, and count what is still to be translated."""
    for language in languages:
        path = FOLDER / f"{language}.po"
        path.write_bytes(merged(language))
        entries = [entry for entry in catalogue(language) if entry.id]
        left = sum(not all(translated(entry)) for entry in entries)
        sys.stdout.write(f"{path.name}: {left} of {len(entries)} are still to be translated\n")


if __name__ == "__main__":
    main(sys.argv[1:])
