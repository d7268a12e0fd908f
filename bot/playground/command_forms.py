"""What Discord refuses in application commands: names, translations, options, choices, sizes.

Promises "Invalid Form Body" at the path of what is wrong, translations included.
Never changes what it looks at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import discord

from bot.playground.errors import Problems
from bot.playground.wire import Json

# Letters and numbers of every script; the marks of Devanagari and Thai, which are no letters.
NAME = re.compile(r"[-_'\w\u0900-\u0963\u0966-\u097f\u0e00-\u0e7f]{1,32}")
CHAT_INPUT, MENUS = 1, (2, 3)
AT_MOST = ((CHAT_INPUT, 100), (2, 15), (3, 15))
SIZE_LIMIT = 8000
# What a choice may be, by the type of its option: text, a whole number, a number.
VALUES: dict[int, tuple[type, ...]] = {3: (str,), 4: (int,), 10: (int, float)}
# Two of them are unknown to discord.py 2.7.
LOCALES = frozenset({"ar", "he"} | {locale.value for locale in discord.Locale})


def check_commands(problems: Problems, listed: list[Json]) -> None:
    """Note what Discord refuses in a whole list of commands."""
    for kind, most in AT_MOST:
        if sum((item.get("type") or CHAT_INPUT) == kind for item in listed) > most:
            problems.add("_", "APPLICATION_COMMAND_TOO_MANY", f"At most {most} of type {kind}.")
    seen: set[tuple[int, str, str]] = set()
    for index, item in enumerate(listed):
        kind = item.get("type") or CHAT_INPUT
        translated = item.get("name_localizations") or {}
        names = {(kind, "", str(item.get("name")))}
        names |= {(kind, locale, str(name)) for locale, name in translated.items()}
        if names & seen:
            code = "APPLICATION_COMMANDS_DUPLICATE_NAME"
            problems.add(str(index), code, "Application command names must be unique")
        seen |= names
        check_command(problems, item, str(index))


def check_command(problems: Problems, item: Json, path: str) -> None:
    """Note what Discord refuses in a command."""
    if item.get("type") in MENUS:
        for where, name in in_every_language(problems, item, "name", path):
            if not isinstance(name, str) or not 1 <= len(name) <= 32:
                message = "Must be between 1 and 32 in length."
                problems.add(where, "BASE_TYPE_BAD_LENGTH", message)
        if item.get("description"):
            message = "Context menu commands cannot have description"
            code = "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION"
            problems.add(f"{path}.description", code, message)
    else:
        check_words(problems, item, path)
    check_options(problems, item.get("options") or [], path)
    if size(item) > SIZE_LIMIT:
        code = "APPLICATION_COMMAND_TOO_LARGE"
        message = f"Command exceeds maximum size ({SIZE_LIMIT})"
        problems.add(path, code, message)


def check_options(problems: Problems, options: list[Json], path: str) -> None:
    """Note what Discord refuses in options, subcommands included."""
    problems.too_many(f"{path}.options", options, 25)
    names: list[Any] = [option.get("name") for option in options]
    optional_seen = False
    for index, option in enumerate(options):
        where = f"{path}.options.{index}"
        check_words(problems, option, where)
        if names.index(option.get("name")) != index:
            code = "APPLICATION_COMMAND_OPTIONS_NAME_DUPLICATE"
            problems.add(f"{where}.name", code, "Option names must be unique")
        if option.get("required") and optional_seen:
            code = "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID"
            problems.add(where, code, "Required options must be placed before optional options")
        optional_seen = optional_seen or not option.get("required")
        check_choices(problems, option, where)
        check_options(problems, option.get("options") or [], where)


def check_choices(problems: Problems, option: Json, where: str) -> None:
    """Note what Discord refuses in the choices of an option."""
    choices = option.get("choices") or []
    problems.too_many(f"{where}.choices", choices, 25)
    for number, choice in enumerate(choices):
        place = f"{where}.choices.{number}"
        for path, name in in_every_language(problems, choice, "name", place):
            if not isinstance(name, str) or not 1 <= len(name) <= 100:
                problems.add(path, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
        problems.too_long(f"{place}.value", choice.get("value"), 100)
        wanted = VALUES.get(option.get("type", 0), ())
        if wanted and type(choice.get("value")) not in wanted:
            problems.add(f"{place}.value", "BASE_TYPE_COERCE", "Could not interpret the value.")
    if choices and option.get("autocomplete"):
        code = "APPLICATION_COMMAND_OPTIONS_CHOICES_AUTOCOMPLETE"
        problems.add(where, code, "Choices and autocomplete are mutually exclusive")


def check_words(problems: Problems, item: Json, path: str) -> None:
    """Note a name that no command or option may have and a description of a wrong length."""
    for where, name in in_every_language(problems, item, "name", path):
        if not isinstance(name, str) or not NAME.fullmatch(name) or name != name.lower():
            problems.add(where, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    for where, text in in_every_language(problems, item, "description", path):
        if not isinstance(text, str) or not 1 <= len(text) <= 100:
            problems.add(where, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")


def in_every_language(
    problems: Problems, item: Json, key: str, path: str
) -> Iterator[tuple[str, object]]:
    """Yield a text and its translations with their paths, noting languages that do not exist."""
    yield f"{path}.{key}", item.get(key)
    for locale, text in (item.get(f"{key}_localizations") or {}).items():
        where = f"{path}.{key}_localizations.{locale}"
        if locale in LOCALES:
            yield where, text
        else:
            message = f'Value "{locale}" is not a valid enum value.'
            problems.add(where, "ENUM_TYPE_COERCE", message)


def size(item: Json) -> int:
    """Count the characters of a command as Discord does: of each text its longest translation."""
    total = 0
    for key in ("name", "description"):
        translated = (item.get(f"{key}_localizations") or {}).values()
        total += max(len(str(text)) for text in (item.get(key) or "", *translated))
    if isinstance(item.get("value"), str):
        total += len(item["value"])
    inner = [*(item.get("options") or []), *(item.get("choices") or [])]
    return total + sum(size(part) for part in inner)
