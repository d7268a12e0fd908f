"""/admin forget: somebody is forgotten by an admin of the bot, and by nobody else."""

from collections.abc import AsyncIterator
from pathlib import Path

import discord
import pytest

from bot.app import App
from bot.playground import MessageRecord
from tests.asking import answer, press, use, use_at
from tests.bot_room import QUICK, Room, open_room

FORGED = "v1:forgetone:"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def admins(room: Room, who: str) -> str:
    return f"{QUICK}[moderation]\nadmins = [{room.pg.people[who].id}]\n"


async def jobs_of(app: App, room: Room, who: str) -> int:
    return len(await app.services.store.history(requester_id=room.pg.people[who].id))


async def forged(room: Room, app: App, state: str) -> MessageRecord:
    """Make a message of the bot's with one button."""
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label="x", custom_id=FORGED + state))
    view.stop()
    channel = app.client.get_partial_messageable(room.pg.channel_id)
    sent = await channel.send("forged", view=view)
    return room.pg.ledger.messages[sent.id]


async def test_an_admin_has_somebody_forgotten_after_one_question(room: Room) -> None:
    async with room.bot(admins(room, "alice")) as app:
        theirs = await room.grid("bob", "a needle")
        other = await room.grid("carol", "a blue fish")
        await app.services.store.people.set_macro(room.pg.people["bob"].id, "mine", "a needle")
        await room.settled(app)
        direct = room.pg.direct_messages("alice")
        bob = str(room.pg.people["bob"].id)
        asked = await use_at(room, "alice", direct, "admin forget", user=bob)
        assert f"about <@{bob}> ({bob})" in asked.content
        assert await jobs_of(app, room, "bob") == 1
        await press(room, "alice", asked, FORGED)
        await room.find(lambda _: asked if "Nothing is kept" in asked.content else None)
        assert "about this person" in asked.content
        # The picture and its ping.
        assert "2 of 2 messages were removed" in asked.content
        assert theirs.deleted_at is not None
        assert other.deleted_at is None
        assert await jobs_of(app, room, "bob") == 0
        assert await jobs_of(app, room, "carol") == 1
        assert await app.services.store.people.macros(room.pg.people["bob"].id) == {}


async def test_who_may_only_manage_a_server_may_not(room: Room) -> None:
    async with room.bot() as app:
        await room.grid("bob", "a needle")
        bob = str(room.pg.people["bob"].id)
        refused = await use(room, "carol", "admin forget", user=bob)
        assert "Only an admin named in the bot's settings" in refused.content
        assert not refused.custom_ids
        message = await forged(room, app, bob)
        for who in ("alice", "bob", "carol"):
            ix = await press(room, who, message, FORGED)
            assert "Only an admin named in the bot's settings" in answer(room, ix).content
        assert await jobs_of(app, room, "bob") == 1


@pytest.mark.parametrize("state", ["", "0", "-1", "1:2", "9" * 19, "९", "all"])
async def test_a_button_that_names_nobody_forgets_nobody(room: Room, state: str) -> None:
    async with room.bot(admins(room, "alice")) as app:
        await room.grid("alice", "a needle")
        message = await forged(room, app, state)
        ix = await press(room, "alice", message, FORGED)
        assert "I do not know this button" in answer(room, ix).content
        assert await jobs_of(app, room, "alice") == 1
