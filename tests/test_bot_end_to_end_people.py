"""What people set, keep and mark, through real sockets: it holds in the next picture they ask for,
it lasts over a restart, and nobody else's is touched.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.playground import MessageRecord
from storage import Scope
from tests.asking import press, use, use_at
from tests.bot_room import QUICK, Room, job_id, open_room, results
from tests.fakes import model_info

TWO = QUICK + '[models.emoji]\npath = "emoji"\n[models.large]\npath = "emoji"\n'


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def test_settings_hold_in_the_next_picture_and_flags_win(room: Room) -> None:
    room.engine.models = ("emoji", "large")
    models = {"emoji": model_info(), "large": model_info("large")}
    async with room.bot(TWO, models=models) as app:
        panel = await use(room, "alice", "settings")
        await press(room, "alice", panel, "v1:set:u:model", choose="large")
        await press(room, "alice", panel, "v1:set:u:quality", choose="2")
        await room.grid("alice", "a red heart")
        await room.grid("alice", "a red heart --model emoji --quality 0.5")
        await room.grid("bob", "a red heart")
        await room.settled(app)
        asked = [(params.model, params.steps) for params in room.engine.submitted]
        assert asked == [("large", 8), ("emoji", 2), ("emoji", 4)]


async def test_the_servers_defaults_hold_for_everybody_else(room: Room) -> None:
    async with room.bot() as app:
        panel = await use(room, "carol", "settings")
        await press(room, "carol", panel, "v1:set:g:tab")
        await press(room, "carol", panel, "v1:set:g:quality", choose="0.5")
        await room.grid("bob", "a red heart")
        own = await use(room, "alice", "settings")
        await press(room, "alice", own, "v1:set:u:quality", choose="1")
        await room.grid("alice", "a red heart")
        await room.settled(app)
        assert [params.steps for params in room.engine.submitted] == [2, 4]


async def test_shortcuts_and_a_suffix_are_painted(room: Room) -> None:
    async with room.bot() as app:
        await use(room, "alice", "prefer option set", name="foggy", value="in fog --no sun")
        await use(room, "alice", "prefer suffix", suffix="--seed 5 --tile")
        await room.grid("alice", "a tree --foggy")
        await room.grid("bob", "a tree --seed 9")
        await room.settled(app)
        mine, others = room.engine.submitted
        assert (mine.prompt, mine.negative_prompt) == ("a tree in fog", "sun")
        assert (mine.seed, mine.tile) == (5, True)
        assert (others.seed, others.tile) == (9, False)


async def test_private_pictures_are_hidden_from_others(room: Room) -> None:
    async with room.bot() as app:
        panel = await use(room, "alice", "settings")
        await press(room, "alice", panel, "v1:set:u:private:on")
        secret = await room.result_of(await room.imagine("alice", "a needle"))
        await press(room, "alice", panel, "v1:set:u:private:off")
        plain = await room.result_of(await room.imagine("alice", "a fish"))
        await room.settled(app)
        alice = str(room.pg.people["alice"].id)
        seen = await use(room, "bob", "history", user=alice)
        assert job_id(plain) in seen.content
        assert job_id(secret) not in seen.content
        assert "There is no job" in (await use(room, "bob", "show", job=job_id(secret))).content
        own = await use(room, "alice", "history")
        assert job_id(secret) in own.content


async def hearts(room: Room, who: str, count: int) -> list[MessageRecord]:
    """Paint some grids, and mark each picture of each by its button."""
    found = []
    for number in range(count):
        grid = await room.grid(who, f"heart number{number}")
        single = await room.result_of(await room.press(who, grid, "upscale", 1))
        await room.press(who, single, "fav")
        found.append(single)
    return found


async def test_favourites_are_ones_own_and_turn_after_a_restart(room: Room) -> None:
    async with room.bot(QUICK + "[queue]\nmax_waiting_user = 50\n") as app:
        marked = await hearts(room, "alice", 7)
        await room.settled(app)
        first = await use(room, "alice", "history", favourites=True)
        assert "Your favourites" in first.content
        assert "number6" in first.content
        assert "number1" not in first.content
        assert first.attachments[0]["filename"] == "easel-history.jpg"
        none = await use(room, "bob", "history", favourites=True)
        assert "No favourites yet" in none.content
        found = await use(room, "alice", "history", favourites=True, search="NUMBER3")
        assert job_id(marked[3]) in found.content
        assert "number4" not in found.content
        direct = room.pg.direct_messages("alice")
        there = await use_at(room, "alice", direct, "history", favourites=True)
        assert "number6" in there.content
    async with room.bot() as app:
        await press(room, "alice", first, "v1:favs:0:1")
        await room.find(lambda _: first if "number0" in first.content else None)
        assert "number6" not in first.content
        await room.press("alice", marked[0], "fav")
        await press(room, "alice", first, "v1:favs:0:0")
        await room.find(lambda _: first if "number6" in first.content else None)
        assert len(await app.services.store.people.favourites(room.pg.people["alice"].id)) == 6


async def test_a_favourite_that_may_not_be_seen_here_is_left_out(room: Room) -> None:
    async with room.bot() as app:
        theirs = await room.grid("bob", "a blue fish")
        await room.settled(app)
        alice = room.pg.people["alice"].id
        await app.services.store.people.favourite(alice, job_id(theirs), 2, on=True)
        here = await use(room, "alice", "history", favourites=True)
        assert "a blue fish" in here.content
        assert here.content.endswith("picture 2")
        direct = room.pg.direct_messages("alice")
        there = await use_at(room, "alice", direct, "history", favourites=True)
        assert "No favourites yet" in there.content


async def test_a_favourite_whose_picture_went_is_left_out(room: Room) -> None:
    async with room.bot() as app:
        (single,) = await hearts(room, "alice", 1)
        await room.settled(app)
        await app.services.store.delete_pictures(job_id(single))
        assert "No favourites" in (await use(room, "alice", "history", favourites=True)).content


async def test_what_is_behind_a_spoiler_stays_there(room: Room) -> None:
    room.engine.flagged = (False, True, False, False)
    async with room.bot(QUICK + '[moderation]\nunsafe = "spoiler"\n') as app:
        await room.imagine("alice", "a red heart")
        name = "SPOILER_easel-"
        posted = await room.find(
            lambda ledger: next(
                (
                    each
                    for each in ledger.messages.values()
                    if any(str(file["filename"]).startswith(name) for file in each.attachments)
                ),
                None,
            )
        )
        await room.settled(app)
        listed = await use(room, "alice", "history")
        assert listed.attachments[0]["filename"] == "SPOILER_easel-history.jpg"
        shown = await use(room, "alice", "show", job=job_id(posted))
        assert str(shown.attachments[0]["filename"]).startswith(name)
        assert shown.custom_ids == posted.custom_ids


async def test_what_is_said_is_for_the_asker_alone_and_pings_nobody(room: Room) -> None:
    async with room.bot():
        for command in ("settings", "help", "models", "presets", "loras", "random", "my-data"):
            said = await use(room, "bob", command)
            assert said.ephemeral
            assert said.content
            assert not said.data["mention_everyone"]


async def test_every_command_is_offered_and_described(room: Room) -> None:
    async with room.bot() as app:
        names = {one.name for one in app.client.tree.get_commands()}
        assert names >= {
            "settings", "prefer", "models", "presets", "loras", "random",
            "help", "show", "history", "lineage", "verify", "forget-me", "my-data",
        }  # fmt: skip
        for command in app.client.tree.walk_commands():
            assert 1 <= len(command.description) <= 100
            for option in getattr(command, "parameters", ()):
                assert 2 < len(str(option.description)) <= 100


async def test_who_wants_that_gets_a_copy_at_home(room: Room) -> None:
    async with room.bot() as app:
        alice = room.pg.people["alice"].id
        await app.services.store.people.set_preference(Scope.USER, alice, "dm", True)
        grid = await room.grid("alice")
        other = await room.grid("bob")
        await room.settled(app)
        home = room.pg.direct_messages("alice")
        (copy,) = [each for each in results(room.pg.ledger) if each.channel_id == home]
        assert job_id(copy) == job_id(grid)
        assert copy.custom_ids == grid.custom_ids
        assert not any(
            each.channel_id == room.pg.direct_messages("bob") for each in results(room.pg.ledger)
        )
        assert other.channel_id == room.pg.channel_id
