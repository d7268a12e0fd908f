"""/settings: what a person reads and presses; whose choice wins; who may choose for others."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config import Config
from bot.playground import MessageRecord
from bot.preferences import PERSONAL, Name, Origin, effective, fallbacks
from storage import Scope
from tests.asking import answer, entries, label, press, use, use_at
from tests.bot_room import Room, open_room
from tests.fakes import model_info

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def line(message: MessageRecord, name: str) -> str:
    """Return the panel's line about a setting."""
    return next(each for each in message.content.split("\n") if each.startswith(f"{name} · "))


async def test_the_panel_shows_every_value_and_whose_it_is(room: Room) -> None:
    async with room.bot():
        panel = await use(room, "alice", "settings")
        assert panel.ephemeral
        assert line(panel, "Model") == "Model · `emoji` · as the bot comes"
        assert line(panel, "Stylize") == "Stylize · `100` · as the bot comes"
        switches = ("Remix", "Speed", "Raw", "Private", "DM me", "Prompt in files")
        for name in ("Quality", "Variation", *switches):
            assert "as the bot comes" in line(panel, name)
        assert entries(panel, "v1:set:u:quality") == ["=", "0.25", "0.5", "1", "2"]


async def test_a_choice_is_kept_and_shown_as_mine_and_taken_back(room: Room) -> None:
    async with room.bot() as app:
        alice = room.pg.people["alice"].id
        panel = await use(room, "alice", "settings")
        await press(room, "alice", panel, "v1:set:u:quality", choose="0.5")
        await press(room, "alice", panel, "v1:set:u:stylize", choose="750")
        await press(room, "alice", panel, "v1:set:u:remix:on")
        await press(room, "alice", panel, "v1:set:u:variation:subtle")
        await press(room, "alice", panel, "v1:set:u:speed:relax")
        await press(room, "alice", panel, "v1:set:u:dm:on")
        assert await app.services.store.people.preferences(Scope.USER, alice) == {
            "quality": 0.5,
            "stylize": 750,
            "remix": True,
            "variation": "subtle",
            "speed": "relax",
            "dm": True,
        }
        assert line(panel, "Quality") == "Quality · `0.5` · yours"
        assert label(panel, "v1:set:u:remix") == "Remix: on"
        assert "v1:set:u:remix:off" in panel.custom_ids
        await press(room, "alice", panel, "v1:set:u:quality", choose="=")
        assert line(panel, "Quality") == "Quality · `1` · as the bot comes"
        await press(room, "alice", panel, "v1:set:u:reset")
        assert await app.services.store.people.preferences(Scope.USER, alice) == {}
        assert panel.content.count("as the bot comes") == 10


async def test_the_wheel_of_speeds_goes_round(room: Room) -> None:
    async with room.bot():
        panel = await use(room, "alice", "settings")
        seen = []
        for _ in range(3):
            await press(room, "alice", panel, "v1:set:u:speed")
            seen.append(label(panel, "v1:set:u:speed"))
        assert seen == ["Speed: relax", "Speed: draft", "Speed: fast"]


async def test_the_panel_works_after_a_restart(room: Room) -> None:
    async with room.bot():
        panel = await use(room, "alice", "settings")
        await press(room, "alice", panel, "v1:set:u:raw:on")
    async with room.bot():
        assert line(panel, "Raw") == "Raw · `on` · yours"
        await press(room, "alice", panel, "v1:set:u:private:on")
        assert line(panel, "Private") == "Private · `on` · yours"
        again = await use(room, "alice", "settings")
        assert line(again, "Raw") == "Raw · `on` · yours"
        other = await use(room, "bob", "settings")
        assert line(other, "Raw") == "Raw · `off` · as the bot comes"


async def test_managers_set_what_holds_for_a_channel_and_the_server(room: Room) -> None:
    async with room.bot():
        panel = await use(room, "carol", "settings")
        await press(room, "carol", panel, "v1:set:g:tab")
        assert "This server's defaults" in panel.content
        assert "DM me" not in panel.content
        await press(room, "carol", panel, "v1:set:g:stylize", choose="250")
        await press(room, "carol", panel, "v1:set:c:tab")
        assert line(panel, "Stylize") == "Stylize · `250` · this server's"
        await press(room, "carol", panel, "v1:set:c:stylize", choose="50")
        of_bob = await use(room, "bob", "settings")
        assert line(of_bob, "Stylize") == "Stylize · `50` · this channel's"
        await press(room, "bob", of_bob, "v1:set:u:stylize", choose="1000")
        assert line(of_bob, "Stylize") == "Stylize · `1000` · yours"
        gallery = next(one.id for one in room.pg.world.guild_channels() if one.name == "gallery")
        elsewhere = await use_at(room, "alice", gallery, "settings")
        assert line(elsewhere, "Stylize") == "Stylize · `250` · this server's"


async def test_nobody_else_sees_or_moves_the_defaults(room: Room) -> None:
    async with room.bot() as app:
        panel = await use(room, "alice", "settings")
        assert not any(each.startswith(("v1:set:c", "v1:set:g")) for each in panel.custom_ids)
        managed = await use(room, "carol", "settings")
        # A press that no client of hers offers: the custom_id of another's panel.
        for custom_id in ("v1:set:g:stylize:", "v1:set:c:raw:on", "v1:set:g:reset:"):
            panel.data["components"] = [forged(custom_id)]
            ix = await room.pg.press("alice", panel.id, custom_id)
            await ix.acknowledged
            assert "Manage Server" in answer(room, ix).content
        assert await app.services.store.people.preferences(Scope.GUILD, room.pg.guild_id) == {}
        assert await app.services.store.people.preferences(Scope.CHANNEL, room.pg.channel_id) == {}
        assert managed.content != ""


async def test_in_direct_messages_there_are_no_tabs(room: Room) -> None:
    async with room.bot():
        direct = room.pg.direct_messages("carol")
        panel = await use_at(room, "carol", direct, "settings")
        assert not any(":tab:" in each for each in panel.custom_ids)
        await press(room, "carol", panel, "v1:set:u:raw:on")
        assert line(panel, "Raw") == "Raw · `on` · yours"


def forged(custom_id: str) -> dict[str, object]:
    """Return a row with a button that was never sent."""
    button = {"type": 2, "id": 9, "style": 2, "label": "x", "custom_id": custom_id}
    return {"type": 1, "id": 8, "components": [button]}


@pytest.mark.parametrize(
    "custom_id",
    [
        "v1:set:u:quality:7",
        "v1:set:u:stylize:1001",
        "v1:set:u:stylize:٣",
        "v1:set:u:model:nosuch",
        "v1:set:u:remix:perhaps",
        "v1:set:u:suffix:--ar 3:2",
        "v1:set:u:nosuch:on",
        "v1:set:x:raw:on",
        "v1:set:",
        "v1:set",
    ],
)
async def test_forged_presses_change_nothing(room: Room, custom_id: str) -> None:
    async with room.bot() as app:
        panel = await use(room, "alice", "settings")
        panel.data["components"] = [forged(custom_id)]
        ix = await room.pg.press("alice", panel.id, custom_id)
        await ix.acknowledged
        assert "no such choice" in answer(room, ix).content
        alice = room.pg.people["alice"].id
        assert await app.services.store.people.preferences(Scope.USER, alice) == {}


async def test_more_models_than_a_menu_holds(room: Room) -> None:
    names = {f"m{number:02}": model_info(f"m{number:02}") for number in range(30)}
    async with room.bot(models={"emoji": model_info(), **names}):
        panel = await use(room, "alice", "settings")
        first = entries(panel, "v1:set:u:model")
        assert len(first) == 25
        await press(room, "alice", panel, "v1:set:u:model", choose=first[-1])
        second = entries(panel, "v1:set:u:model")
        assert {"emoji", *names} == {*first, *second} - {"=", first[-1], second[-1]}
        await press(room, "alice", panel, "v1:set:u:model", choose="m29")
        assert line(panel, "Model") == "Model · `m29` · yours"


async def test_a_model_that_is_gone_counts_as_no_choice(room: Room) -> None:
    async with room.bot(models={"emoji": model_info(), "old": model_info("old")}):
        panel = await use(room, "alice", "settings")
        await press(room, "alice", panel, "v1:set:u:model", choose="old")
        assert line(panel, "Model") == "Model · `old` · yours"
    async with room.bot():
        panel = await use(room, "alice", "settings")
        assert line(panel, "Model") == "Model · `emoji` · as the bot comes"


@given(st.dictionaries(st.sampled_from([*Name]) | st.text(max_size=8), JSON))
def test_whatever_is_stored_every_value_that_holds_is_possible(stored: dict[str, object]) -> None:
    config = Config()
    holds = effective(
        {Origin.USER: stored, Origin.CHANNEL: stored, Origin.GUILD: stored}, config, {"emoji"}
    )
    none = fallbacks(config)
    assert set(holds.chosen) == set(Name)
    for name, chosen in holds.chosen.items():
        if chosen.origin is Origin.CONFIG:
            assert chosen.value == none[name]
        else:
            assert chosen.value == stored[name]
            assert type(chosen.value) in (type(none[name]), int, float)


def test_who_wins() -> None:
    layers = {Origin.GUILD: {"stylize": 1}, Origin.CHANNEL: {"stylize": 2}}
    layers[Origin.USER] = {"stylize": 3}
    for origin, value in ((Origin.USER, 3), (Origin.CHANNEL, 2), (Origin.GUILD, 1)):
        assert effective(layers, Config(), set())[Name.STYLIZE] == value
        del layers[origin]
    assert effective(layers, Config(), set())[Name.STYLIZE] == 100


@pytest.mark.parametrize("name", sorted(PERSONAL))
def test_a_server_has_no_say_in_what_is_personal(name: Name) -> None:
    value = "--tile" if name is Name.SUFFIX else True
    assert effective({Origin.GUILD: {name: value}}, Config(), set())[name] in (False, "")
    assert effective({Origin.USER: {name: value}}, Config(), set())[name] == value
