"""What Discord gets of our commands in other languages: names, descriptions, and English."""

import threading
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.app_commands import TranslationContextLocation as Location

from bot import language, translator
from bot.translator import CommandTranslator

ENGLISH = (discord.Locale.american_english, discord.Locale.british_english, discord.Locale.german)


async def translated(
    message: str,
    location: Location = Location.command_description,
    *,
    data: app_commands.ContextMenu | None = None,
    locale: discord.Locale = discord.Locale.japanese,
) -> str | None:
    make: Any = app_commands.TranslationContext
    context = make(location=location, data=data)
    found: str | None = await CommandTranslator().translate(
        app_commands.locale_str(message), locale, context
    )
    return found


def knowing(monkeypatch: pytest.MonkeyPatch, sentences: dict[str, str]) -> None:
    """Let the language files hold these sentences alone."""

    def said(message: str) -> str:
        return sentences.get(message.replace("{{", "{").replace("}}", "}"), message)

    monkeypatch.setattr(translator, "tr", said)


async def test_names_and_words_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    knowing(monkeypatch, {"/info": "情報", "option:info": "詳細", "info": "お知らせ"})
    assert await translated("info", Location.command_name) == "情報"
    assert await translated("info", Location.group_name) == "情報"
    assert await translated("info", Location.parameter_name) == "詳細"
    assert await translated("info", Location.choice_name) == "お知らせ"


async def test_a_menu_entry_may_have_spaces_and_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(interaction: discord.Interaction, message: discord.Message) -> None:
        raise NotImplementedError

    menu = app_commands.ContextMenu(name="Info", callback=run)
    knowing(monkeypatch, {"menu:Info": "この画像の Info"})
    assert await translated("Info", Location.command_name, data=menu) == "この画像の Info"


@pytest.mark.parametrize("name", ["二つ 語", "", "Info", "あ" * 33, "a/b", "情報・詳細"])
async def test_a_name_that_discord_would_refuse_stays_english(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowing(monkeypatch, {"/info": name, "option:info": name})
    assert await translated("info", Location.command_name) is None
    assert await translated("info", Location.parameter_name) is None


async def test_what_has_no_translation_stays_english() -> None:
    assert await translated("no such sentence {with} braces") is None
    assert await translated("no-such-name", Location.command_name) is None


@pytest.mark.parametrize("locale", ENGLISH)
async def test_languages_without_a_file_get_english(locale: discord.Locale) -> None:
    assert await translated("What can be typed and pressed", locale=locale) is None


async def test_a_description_is_cut_to_what_discord_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    knowing(monkeypatch, {"long": "長" * 120})
    assert await translated("long") == "長" * 100


async def test_the_shipped_japanese_is_found() -> None:
    assert await translated("imagine", Location.command_name) == "imagine"
    assert await translated("history", Location.command_name) == "履歴"
    assert await translated("prompt", Location.parameter_name) == "プロンプト"
    assert await translated("Your earlier pictures") == "これまでの画像を表示します"


async def test_the_languages_are_read_before_they_are_needed_and_not_by_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[int] = []

    def read_all() -> None:
        threads.append(threading.get_ident())
        language.read_all()

    monkeypatch.setattr(translator, "read_all", read_all)
    language._catalogue.cache_clear()
    await CommandTranslator().load()
    assert threads
    assert threads != [threading.get_ident()]
    assert language._catalogue.cache_info().currsize == len(language.languages())
