"""/prefer: shortcuts and a suffix that are checked when they are set, and switches."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.prompt import expand_macros, parse
from bot.prompt.flags import FLAG_BY_NAME
from bot.shortcuts import ShortcutError, checked_name, checked_suffix, checked_text
from storage import Scope
from tests.asking import use
from tests.bot_room import Room, open_room

HOSTILE = "`@everyone` **<@1>** [x](https://evil.example)"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def test_a_shortcut_is_kept_listed_and_dropped(room: Room) -> None:
    async with room.bot() as app:
        alice = room.pg.people["alice"].id
        said = await use(room, "alice", "prefer option set", name="wide", value="--ar 3:2")
        assert said.ephemeral
        assert "`--wide` now stands for `--ar 3:2`" in said.content
        assert await app.services.store.people.macros(alice) == {"wide": "--ar 3:2"}
        await use(room, "alice", "prefer option set", name="--Soft", value="in fog --wide")
        listed = await use(room, "alice", "prefer option list")
        assert "`--wide` `--ar 3:2`" in listed.content
        assert "`--soft` `in fog --wide`" in listed.content
        assert "no shortcuts" in (await use(room, "bob", "prefer option list")).content
        gone = await use(room, "alice", "prefer option set", name="soft")
        assert "no shortcut any more" in gone.content
        never = await use(room, "alice", "prefer option set", name="x")
        assert "was no shortcut" in never.content
        assert await app.services.store.people.macros(alice) == {"wide": "--ar 3:2"}


async def test_twenty_shortcuts_are_the_most(room: Room) -> None:
    async with room.bot() as app:
        alice = room.pg.people["alice"].id
        for number in range(20):
            await app.services.store.people.set_macro(alice, f"s{number}", "--tile")
        refused = await use(room, "alice", "prefer option set", name="more", value="--tile")
        assert "20 shortcuts" in refused.content
        changed = await use(room, "alice", "prefer option set", name="s3", value="--ar 3:2")
        assert "now stands for" in changed.content
        listed = await use(room, "alice", "prefer option list")
        assert all(f"--s{number}`" in listed.content for number in range(20))


async def test_the_names_complete(room: Room) -> None:
    async with room.bot() as app:
        alice = room.pg.people["alice"].id
        for name in ("wide", "soft", "softer"):
            await app.services.store.people.set_macro(alice, name, "--tile")
        command = "prefer option set"
        ix = await room.pg.autocomplete("alice", command, {"name": "so"}, "name")
        await ix.acknowledged
        assert [choice["value"] for choice in ix.choices] == ["soft", "softer"]
        ix = await room.pg.autocomplete("bob", command, {"name": ""}, "name")
        await ix.acknowledged
        assert ix.choices == []


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ar", "--tile", "is a flag already"),
        ("seed", "--tile", "is a flag already"),
        ("two words", "--tile", "letters a to z"),
        ("7", "--tile", "begins with a letter"),
        ("x" * 33, "--tile", "at most 32"),
        (HOSTILE, "--tile", "letters a to z"),
        ("mine", "--sede 7", "no flag"),
        ("mine", "--ar 100", "no readable prompt"),
        ("mine", "x" * 1001, "1,000"),
        ("mine", "--mine", "in a circle"),
        ("mine", "\u200b", "nothing to keep"),
        ("mine", HOSTILE, "no readable prompt"),
    ],
)
async def test_what_cannot_work_is_refused_at_once(
    room: Room, name: str, value: str, reason: str
) -> None:
    async with room.bot() as app:
        refused = await use(room, "alice", "prefer option set", name=name, value=value)
        assert refused.ephemeral
        assert reason in refused.content
        assert "@everyone" not in refused.content
        assert "://" not in refused.content
        assert await app.services.store.people.macros(room.pg.people["alice"].id) == {}


async def test_a_suffix_takes_flags_alone(room: Room) -> None:
    async with room.bot() as app:
        store, alice = app.services.store, room.pg.people["alice"].id
        await use(room, "alice", "prefer option set", name="wide", value="--ar 3:2")
        await use(room, "alice", "prefer option set", name="foggy", value="in fog --wide")
        said = await use(room, "alice", "prefer suffix", suffix="--wide --no text")
        assert "`--wide --no text`" in said.content
        kept = {"suffix": "--wide --no text"}
        assert await store.people.preferences(Scope.USER, alice) == kept
        panel = await use(room, "alice", "settings")
        assert "Suffix · `--wide --no text` · yours" in panel.content
        for wrong in ("in oil", "in oil --tile", "--foggy", "--nosuch 3"):
            refused = await use(room, "alice", "prefer suffix", suffix=wrong)
            assert "Behind every prompt" not in refused.content
        assert await store.people.preferences(Scope.USER, alice) == kept
        assert "any more" in (await use(room, "alice", "prefer suffix")).content
        assert await store.people.preferences(Scope.USER, alice) == {}


async def test_switches_switch_and_say_so(room: Room) -> None:
    async with room.bot() as app:
        for command, first, second in (
            ("prefer remix", "Remix: on", "Remix: off"),
            ("prefer auto_dm", "DM me: on", "DM me: off"),
            ("prefer variability", "Variation: subtle", "Variation: strong"),
            ("prefer prompt_in_files", "Prompt in files: on", "Prompt in files: off"),
        ):
            assert first in (await use(room, "bob", command)).content
            assert second in (await use(room, "bob", command)).content
        held = await app.services.store.people.preferences(Scope.USER, room.pg.people["bob"].id)
        assert held == {"remix": False, "dm": False, "variation": "strong", "words": False}


def test_a_longer_circle_is_found_through_all_of_it() -> None:
    kept = {"one": "--two", "two": "--three", "three": "--tile"}
    assert checked_text("three", "--stop 50", kept) == "--stop 50"
    with pytest.raises(ShortcutError, match="circle"):
        checked_text("three", "--one", kept)


def test_what_was_broken_before_stands_in_nobodys_way() -> None:
    kept = {"old": "--was-a-flag-once 3", "seed": "--tile"}
    assert checked_text("new", "--tile", kept) == "--tile"


def test_a_change_may_not_break_a_shortcut_that_uses_it() -> None:
    kept = {"both": "--one --tile", "one": "--stop 50"}
    with pytest.raises(ShortcutError, match="readable"):
        checked_text("one", "--stop 50 --tile", kept)


NAMES = st.sampled_from(["aa", "bb", "cc", "dd"])
TEXTS = st.lists(NAMES.map("--{}".format) | st.sampled_from(["--tile", "fog"]), max_size=4)


@given(st.lists(st.tuples(NAMES, TEXTS.map(" ".join)), max_size=12))
def test_whatever_is_kept_can_be_typed(sets: list[tuple[str, str]]) -> None:
    kept: dict[str, str] = {}
    for name, text in sets:
        try:
            kept[name] = checked_text(name, text, kept)
        except ShortcutError:
            continue
    for name in kept:
        parse(expand_macros(f"a fox --{name}", kept))


@given(st.text(max_size=60), st.dictionaries(NAMES, st.text(max_size=20), max_size=3))
def test_any_text_is_kept_or_refused_with_a_sentence(text: str, kept: dict[str, str]) -> None:
    for check in (checked_name, lambda one: checked_suffix(one, kept)):
        try:
            assert check(text)
        except ShortcutError as error:
            assert str(error)


@pytest.mark.parametrize("flag", sorted(FLAG_BY_NAME))
def test_no_flag_can_be_hidden(flag: str) -> None:
    with pytest.raises(ShortcutError):
        checked_name(flag)
