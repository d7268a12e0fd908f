"""Every sentence of the bot in every language: nothing missing, nothing left over, values kept, and
as short as Discord wants it.
"""

import io
import re
import string
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import discord
import pytest
from babel.messages.catalog import Catalog, Message

from bot import texts, texts_community, texts_help, texts_people, texts_pictures, texts_prompting
from bot.client import EaselClient
from bot.help_pages import TITLES
from bot.language import FOLDER, SOURCE, languages, speaking, tr
from bot.permissions import Action
from bot.preferences import Name, Origin
from bot.prompt import PromptError
from bot.translator import CommandTranslator
from tests import translations
from tests.translations import Id, is_name, offered, sentences, translated

OTHERS = [language for language in languages() if language != SOURCE]
ADVICE = "run `python -m tests.translations {language}`, then translate what it left empty"
MESSAGE, BUTTON, TITLE, HINT = 2000, 80, 45, 100
# What stays as it is in every language: code, flags, commands, marks of Discord's, emoji.
_KEPT = re.compile(
    r"`[^`]*`|(?<![\w{-])--[a-z]+|(?<![\w`])/[a-z]+(?:-[a-z]+)?|<[@#:]?[@{]|\*\*|~~|[❤🔄⭐✉❌]"
)


@cache
def catalogue(language: str) -> Catalog:
    return translations.catalogue(language)


def everything() -> dict[Id, str]:
    """Every sentence and name there is, and where it stands."""
    found: dict[Id, str] = dict(sentences())
    found.update(offered())
    return found


def entries(language: str) -> Iterator[Message]:
    """Every entry but the header."""
    return (entry for entry in catalogue(language) if entry.id)


def source_of(message: object) -> str:
    """The English text of an entry, with all its values: the plural form, where there is one."""
    return str(message[-1] if isinstance(message, list | tuple) else message)


def fields(text: str) -> list[str]:
    """Names of the values in a sentence, with their formats."""
    parts = string.Formatter().parse(text)
    return sorted(f"{name}:{spec}" for _, name, spec, _ in parts if name is not None)


def test_sentences_are_found() -> None:
    assert "Cancelled." in sentences()
    assert "Yours:" in sentences(), "a sentence inside an f-string"
    assert ("… and one more", "… and {count} more") in sentences(), "a plural"
    assert len(sentences()) > 600


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_has_its_translation(language: str) -> None:
    def is_missing(message: Id) -> bool:
        entry = catalogue(language).get(message if isinstance(message, str) else message[0])
        done = entry is not None and entry.id == message and not entry.fuzzy
        return not done or not all(translated(entry))

    missing = {message: place for message, place in everything().items() if is_missing(message)}
    assert not missing, ADVICE.format(language=language)


@pytest.mark.parametrize("language", OTHERS)
def test_no_translation_is_of_a_sentence_that_is_gone(language: str) -> None:
    left = [entry.id for entry in entries(language) if entry.id not in everything()]
    assert not left, ADVICE.format(language=language)


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_the_values(language: str) -> None:
    for entry in entries(language):
        for text in filter(None, translated(entry)):
            if not is_name(entry.id):
                assert fields(text) == fields(source_of(entry.id)), f"{entry.id}: {text}"


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_what_is_typed_and_how_it_is_set(language: str) -> None:
    for entry in entries(language):
        for text in filter(None, translated(entry)):
            if not is_name(entry.id):
                kept = sorted(_KEPT.findall(source_of(entry.id)))
                assert sorted(_KEPT.findall(text)) == kept, f"{entry.id}: {text}"


@pytest.mark.parametrize("language", OTHERS)
def test_translations_fit_into_a_message(language: str) -> None:
    for entry in entries(language):
        for text in translated(entry):
            # Half of it is for the values.
            assert len(text.encode("utf-16-le")) // 2 <= MESSAGE // 2, entry.id
            assert text == text.strip(), entry.id


@pytest.mark.parametrize("language", OTHERS)
def test_labels_fit_onto_buttons_and_modals(language: str) -> None:
    with speaking(language):
        buttons = [texts_pictures.label(action, 4) or "" for action in Action]
        for table in (texts_help.LABELS, texts_community.LABELS, texts_prompting.LABELS):
            buttons += [tr(label, index=4) for label in table.values()]
        buttons += [texts_people.paint_it(), texts_people.another(), texts_people.reset()]
        buttons += [texts_people.tab(origin) for origin in (Origin.USER, Origin.CHANNEL)]
        buttons += [texts_people.setting_choice(name, True) for name in Name]
        titles = [texts_pictures.title(action) for action in Action]
        titles += [tr(field) for field in texts_pictures.FIELDS.values()]
        options = [tr(title) for title in TITLES.values()]
        options += [tr(texts_pictures.CELL, row=4, column=4)]
        options += [texts_people.as_before(name) for name in Name]
        hints = [tr(hint) for hint in texts_pictures.HINTS.values()]
    # Five buttons stand in a row: each is shorter than Discord would take it.
    assert not [text for text in buttons if len(text) > BUTTON // 2]
    assert not [text for text in titles if not 0 < len(text) <= TITLE]
    assert not [text for text in (*options, *hints) if not 0 < len(text) <= HINT]


@pytest.mark.parametrize("language", OTHERS)
async def test_discord_takes_the_names(language: str) -> None:
    client = EaselClient(status="", guilds=())
    await client.tree.set_translator(CommandTranslator())
    siblings: list[str] = []
    for kind in (discord.AppCommandType.chat_input, discord.AppCommandType.message):
        for command in client.tree.get_commands(type=kind):
            payload: Any = await command.get_translated_payload(client.tree, CommandTranslator())
            siblings.append(f"{kind}{payload['name_localizations'][language]}")
            if kind is discord.AppCommandType.chat_input:
                check_payload(payload, language)
    assert len(set(siblings)) == len(siblings)


def check_payload(payload: Mapping[str, Any], language: str) -> None:
    """Check what Discord gets of a command, a group or an option, and of all inside it."""
    name = payload["name_localizations"][language]
    # Letters and digits of any script, and these three signs.
    assert re.fullmatch(r"[-_'\w]{1,32}", name), payload["name"]
    assert name == name.lower()
    assert 0 < len(payload["description_localizations"][language]) <= HINT, payload["name"]
    for choice in payload.get("choices", []):
        assert choice["name_localizations"][language]
    inner = payload.get("options", [])
    names = [each["name_localizations"][language] for each in inner]
    assert len(set(names)) == len(names), payload["name"]
    for each in inner:
        check_payload(each, language)


@pytest.mark.parametrize("language", OTHERS)
def test_a_mended_prompt_is_found_again_in_the_language(language: str) -> None:
    error = PromptError("?", text="a fox --x", start=6, end=9, suggestion="a fox --ar 3:2")
    with speaking(language):
        shown = texts.prompt_error(error)
    assert texts.mended_prompt(shown) == "a fox --ar 3:2"


def test_the_language_files_are_shipped() -> None:
    assert {path.stem for path in Path(FOLDER).glob("*.po")} == set(OTHERS)


@pytest.mark.parametrize("language", OTHERS)
def test_bringing_a_file_up_to_date_changes_nothing_twice(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = translations.merged(language)
    (tmp_path / f"{language}.po").write_bytes(first)
    monkeypatch.setattr(translations, "FOLDER", tmp_path)
    assert translations.merged(language) == first
    texts_then = {entry.id: entry.string for entry in translations.catalogue(language)}
    for entry in entries(language):
        assert texts_then[entry.id] == entry.string


def test_a_new_language_begins_with_every_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(translations, "FOLDER", tmp_path)
    translations.main(["de"])
    begun = translations.catalogue("de")
    assert {entry.id for entry in begun if entry.id} == set(everything())
    assert b"POT-Creation-Date" not in (tmp_path / "de.po").read_bytes()
    assert f"{len(begun)} of {len(begun)} are" in capsys.readouterr().out


def test_calls_are_found_wherever_they_stand() -> None:
    code = b"""tr("one")\nf"{tr('two', n=1)}!"\ntrn("a", "b", 3)\nmark(NAME)\nother("three")\n"""
    found = translations.extract(io.BytesIO(code), {"tr", "trn", "mark"}, (), {})
    assert {(line, name, tuple(args)) for line, name, args, _ in found} == {
        (1, "tr", ("one",)),
        (2, "tr", ("two",)),
        (3, "trn", ("a", "b", None)),
        (4, "mark", (None,)),
    }
