"""/help: every flag, button and command is explained, and nothing that does not exist."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import reactions, texts_help
from bot.escape import MESSAGE_LIMIT, utf16_length
from bot.help_pages import BUTTONS, REACTIONS, TITLES, UNSEEN, WEIGHTS, WILDCARDS
from bot.permissions import Action
from bot.playground import MessageRecord
from bot.prompt import FLAGS, LATER, draw, expand, parse
from diffusion.prompts import parse_prompt
from tests.asking import entries, press, use
from tests.bot_room import Room, open_room


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def all_pages(room: Room, who: str) -> dict[str, str]:
    """Turn through every page, and return their texts."""
    message = await use(room, who, "help")
    found = {}
    for key in entries(message, "v1:help:"):
        await press(room, who, message, "v1:help:", choose=key)
        found[key] = message.content
    return found


async def test_it_begins_with_what_to_type(room: Room) -> None:
    async with room.bot():
        first = await use(room, "carol", "help")
        assert first.ephemeral
        assert "/imagine prompt:" in first.content
        assert chosen(first) == ["start"]


def chosen(message: MessageRecord) -> list[str]:
    """Return what the menu shows as chosen."""
    (menu,) = (each for each in message.components if each["type"] == 3)
    return [option["value"] for option in menu["options"] if option.get("default")]


async def test_every_flag_button_and_command_is_there(room: Room) -> None:
    async with room.bot() as app:
        pages = await all_pages(room, "carol")
        assert {key.rstrip("0123456789") for key in pages} == set(TITLES)
        everything = "\n".join(pages.values())
        for text in pages.values():
            assert utf16_length(text) <= MESSAGE_LIMIT
        for flag in FLAGS:
            assert texts_help.flag_line(flag) in everything
        for later in LATER:
            assert f"--{later.names[0]}" in everything
        commands = [one for one in app.client.tree.walk_commands() if not hasattr(one, "commands")]
        assert len(commands) >= 15
        for command in commands:
            assert f"`/{command.qualified_name}` {command.description}" in everything
        assert "/forget-me" in pages["privacy"]


async def test_every_flag_that_is_named_exists(room: Room) -> None:
    async with room.bot():
        everything = "\n".join((await all_pages(room, "bob")).values())
        known = {name for flag in FLAGS for name in flag.names}
        known |= {name for later in LATER for name in later.names}
        named = set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", everything))
        # What /prefer's own line calls a shortcut.
        assert named - known <= {"name"}
        offered = set(re.findall(r"`/([a-z-]+)", everything))
        assert offered <= {one.name for one in room.app.client.tree.get_commands()}


async def test_pages_turn_after_a_restart_and_forged_ones_are_the_first(room: Room) -> None:
    async with room.bot():
        message = await use(room, "bob", "help")
    async with room.bot():
        await press(room, "bob", message, "v1:help:", choose="buttons")
        assert "**U1–4**" in message.content
        assert chosen(message) == ["buttons"]
        text = json.dumps(message.data["components"]).replace('"privacy"', '"nosuch"')
        message.data["components"] = json.loads(text)
        await press(room, "bob", message, "v1:help:", choose="nosuch")
        assert chosen(message) == ["start"]


def test_every_button_is_explained_once() -> None:
    explained = [action for actions in BUTTONS for action in actions]
    assert len(explained) == len(set(explained))
    assert set(explained) | UNSEEN == set(Action)
    assert set(REACTIONS) == set(reactions._ANSWERS)


@pytest.mark.parametrize("example", [example for example, _ in (*WEIGHTS, *WILDCARDS)])
def test_every_example_can_be_typed(example: str) -> None:
    lists = {"colour": ("red", "blue")}
    for text in expand(example):
        drawn = draw(parse(text).prompt, 7, lists)
        assert parse_prompt(drawn, 20).parts
        assert not re.search(r"[{}|]|__", drawn.replace("[fox|cat]", ""))
