"""What Discord shows of our commands in other languages: names, descriptions, choices.

Promises names that Discord takes (small letters, no spaces, at most 32 signs) and that whatever
has no translation is shown in English. In the language files a command's name stands with its
slash ("/imagine"), that of an option or a menu entry with a word before it ("option:prompt",
"menu:Info"), so that a name and a word of the same letters are told apart.
"""

import asyncio
import re
from typing import Final

import discord
from discord import app_commands
from discord.app_commands import TranslationContextLocation as Location

from bot.language import SOURCE, language_of, read_all, speaking, tr

_NAMES: Final = {
    Location.command_name: "/",
    Location.group_name: "/",
    Location.parameter_name: "option:",
}
_NAME: Final = re.compile(r"[-_'\w]{1,32}")
_MENU_LIMIT: Final = 32
_TEXT_LIMIT: Final = 100


class CommandTranslator(app_commands.Translator):
    """Hands discord.py the sentences of `bot.language`."""

    async def load(self) -> None:
        """Read the languages, before the first sentence would hold up the event loop for it."""
        await asyncio.to_thread(read_all)

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """Return the text in a locale; None where English stays."""
        if language_of(str(locale)) == SOURCE:
            return None
        prefix = _NAMES.get(context.location, "")
        is_menu = isinstance(context.data, app_commands.ContextMenu)
        if is_menu:
            prefix = "menu:"
        message = f"{prefix}{string.message}"
        with speaking(str(locale)):
            found = tr(message.replace("{", "{{").replace("}", "}}"))
        if found == message:
            return None
        if prefix and not is_menu and (not _NAME.fullmatch(found) or found != found.lower()):
            return None
        return found[: _MENU_LIMIT if is_menu else _TEXT_LIMIT]
