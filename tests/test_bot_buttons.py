"""Every button, by everybody, also where it should do nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import discord
import pytest

from bot.buttons import HANDLERS
from bot.cards import custom_id
from bot.permissions import Action
from bot.playground import MessageRecord, PlayInteraction
from tests.bot_room import QUICK, Room, job_id, job_of, open_room, results
from tests.fakes import model_info


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def told(room: Room, ix: PlayInteraction) -> str:
    """Return the sentence that only the presser sees."""
    await room.pg.wait(lambda ledger: ix.followups or (ix.response or {}).get("type") == 4)
    message_id = ix.followups[0] if ix.followups else ix.message_id
    message = room.pg.ledger.messages[message_id or 0]
    assert message.ephemeral
    assert message.visible_to == ix.user_id
    return message.content


async def test_info_shows_every_parameter_to_the_presser_alone(room: Room) -> None:
    async with room.bot():
        grid = await room.grid("alice", "a red heart --seed 7 --steps 3 --ar 3:2 --no blue")
        ix = await room.press("bob", grid, "info")
        card = room.answer(ix)
        assert card.ephemeral
        fields = {each["name"]: each["value"] for each in card.data["embeds"][0]["fields"]}
        assert fields["Seed"] == "7"
        assert fields["Steps"] == "3"
        assert "blue" in fields["Without"]
        assert job_id(grid) in fields["Job"]
        assert "/imagine prompt:a red heart --ar" in fields["To copy"].replace("`", "")


async def test_info_of_a_variation_names_its_parent(room: Room) -> None:
    async with room.bot():
        grid = await room.grid()
        varied = await room.result_of(await room.press("alice", grid, "vary", 2))
        card = room.answer(await room.press("alice", varied, "info"))
        fields = {each["name"]: each["value"] for each in card.data["embeds"][0]["fields"]}
        assert job_id(grid) in fields["Lineage"]


@pytest.mark.parametrize(("who", "may"), [("alice", True), ("bob", False), ("carol", True)])
async def test_delete_is_for_the_requester_and_moderators(room: Room, who: str, may: bool) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        single = await room.result_of(await room.press("alice", grid, "upscale", 1))
        await room.settled(app)
        ix = await room.press(who, single, "delete")
        question = await told(room, ix)
        if not may:
            assert "can delete this" in question
            assert not room.answer(ix).custom_ids
            return
        sure = await room.press(who, room.answer(ix), "yes")
        await room.pg.wait(lambda ledger: ledger.messages[single.id].deleted_at)
        await room.shown(ix, lambda found: found.content == "Deleted." and not found.custom_ids)
        assert sure.state == "ack"
        assert await app.services.store.pictures(job_id(single)) == []
        assert len(await app.services.store.pictures(job_id(grid))) == 5


async def test_after_a_delete_the_grid_still_works(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        single = await room.result_of(await room.press("alice", grid, "upscale", 1))
        varied = await room.result_of(await room.press("alice", single, "vsub"))
        await room.settled(app)
        question = room.answer(await room.press("alice", single, "delete"))
        await room.press("alice", question, "yes")
        await room.pg.wait(lambda ledger: ledger.messages[single.id].deleted_at)
        await room.result_of(await room.press("bob", varied, "reroll"))
        await room.result_of(await room.press("bob", grid, "upscale", 1))


@pytest.mark.parametrize(("who", "may"), [("alice", True), ("bob", False), ("carol", True)])
async def test_cancel_is_for_the_requester_and_moderators(room: Room, who: str, may: bool) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(2)
        ix = await room.imagine()
        await gate.reached.wait()
        pressed = await room.press(who, room.answer(ix), "cancel")
        if may:
            await room.shown(ix, lambda found: "ancelled by" in found.content)
        else:
            assert "can cancel this" in await told(room, pressed)
            assert room.engine.running == 1
        gate.open.set()
        if not may:
            await room.result_of(ix)
            await room.settled(app)


async def test_a_waiting_job_can_be_cancelled(room: Room) -> None:
    async with room.bot(QUICK + "[queue]\nmax_running = 1\n") as app:
        gate = room.engine.hold(1)
        first = await room.imagine("alice")
        second = await room.imagine("bob")
        await room.press("bob", room.answer(second), "cancel")
        await room.shown(second, lambda found: "ancelled" in found.content)
        gate.open.set()
        await room.result_of(first)
        await room.settled(app)
        assert len(room.engine.submitted) == 1


async def test_cancel_after_the_end_says_so(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(2)
        ix = await room.imagine()
        await gate.reached.wait()
        job = await job_of(app, room.answer(ix))
        ghost = await forged(room, custom_id(Action.CANCEL, job.id))
        gate.open.set()
        await room.result_of(ix)
        await room.settled(app)
        pressed = await room.pg.press("alice", ghost.id, custom_id(Action.CANCEL, job.id))
        assert "already ended" in await told(room, pressed)


async def test_only_the_requester_may_press_where_the_settings_say_so(room: Room) -> None:
    async with room.bot(QUICK + '[moderation]\npress = "requester"\n'):
        grid = await room.grid()
        for action in ("upscale", "vary", "reroll"):
            index = 0 if action == "reroll" else 1
            assert "Only the person" in await told(
                room, await room.press("bob", grid, action, index)
            )
        assert room.answer(await room.press("bob", grid, "info")).data["embeds"]
        await room.result_of(await room.press("alice", grid, "upscale", 1))
        assert len(room.engine.submitted) == 1


async def forged(room: Room, *ids: str) -> MessageRecord:
    """Make a message of the bot's with these buttons."""
    app = room.app
    view = discord.ui.View(timeout=None)
    for each in ids:
        view.add_item(discord.ui.Button(label="x", custom_id=each))
    view.stop()
    channel = app.client.get_partial_messageable(room.pg.channel_id)
    sent = await channel.send("forged", view=view)
    return room.pg.ledger.messages[sent.id]


FORGED = (
    "v1:upscale:aaaaaaaaaaaaa:1",
    "v1:upscale:../../etc/passwd:1",
    "v1:upscale::1",
    "v1:upscale",
    "v1:",
    "v1:explode:aaaaaaaaaaaaa:1",
    "v9:later:aaaaaaaaaaaaa:1",
    "v2:info:aaaaaaaaaaaaa:0",
    "not one of ours",
    "v1:delete:aaaaaaaaaaaaa:-1",
    "v1:yes:AAAAAAAAAAAAA:99999999999999999999999",
    "v1:cancel:' OR 1=1 --:0",
)


async def test_forged_and_unknown_ids_get_a_sentence_and_do_nothing(room: Room) -> None:
    async with room.bot() as app:
        await room.grid()
        await room.settled(app)
        before = await app.services.store.counts()
        for each in FORGED:
            message = await forged(room, each)
            ix = await room.pg.press("bob", message.id, each)
            sentence = "There is no job" if each.startswith("v1:") else "I do not know this button"
            assert sentence in await told(room, ix)
        assert await app.services.store.counts() == before


async def test_an_index_that_the_grid_lacks_gets_a_sentence(room: Room) -> None:
    async with room.bot():
        grid = await room.grid()
        for action, index in (("upscale", 0), ("upscale", 5), ("vary", 17)):
            wrong = f"v1:{action}:{job_id(grid)}:{index}"
            message = await forged(room, wrong)
            ix = await room.pg.press("bob", message.id, wrong)
            await told(room, ix)
        assert len(results(room.pg.ledger)) == 1


async def test_a_forged_delete_cannot_reach_other_messages(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        single = await room.result_of(await room.press("alice", grid, "upscale", 1))
        await room.settled(app)
        victim = await forged(room, custom_id(Action.INFO, job_id(single)))
        wrong = f"v1:yes:{job_id(single)}:{victim.id}"
        ix = await room.pg.press("alice", (await forged(room, wrong)).id, wrong)
        await room.pg.wait(lambda ledger: ledger.messages[single.id].deleted_at)
        await ix.acknowledged
        assert victim.deleted_at is None
        assert grid.deleted_at is None


async def test_u_of_a_deleted_job_gets_a_sentence(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        await room.settled(app)
        await app.services.store.delete_pictures(job_id(grid))
        assert "deleted" in await told(room, await room.press("bob", grid, "upscale", 1))


async def test_v_and_reroll_need_the_model(room: Room) -> None:
    async with room.bot():
        grid = await room.grid()
    config = QUICK + '[defaults]\nmodel = "other"\n[models.other]\npath = "/nowhere"\n'
    async with room.bot(config, {"other": model_info("other")}):
        assert "no longer on this server" in await told(
            room, await room.press("bob", grid, "reroll")
        )
        assert "no longer on this server" in await told(
            room, await room.press("bob", grid, "vary", 1)
        )
        await room.result_of(await room.press("bob", grid, "upscale", 1))


async def test_pressing_twice_in_a_row_makes_two_and_replaying_makes_one(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        first = await room.press("bob", grid, "upscale", 1)
        room.pg.replay(first)
        second = await room.press("bob", grid, "upscale", 1)
        await room.result_of(first)
        await room.result_of(second)
        await room.settled(app)
        assert len(results(room.pg.ledger)) == 3
        assert (await app.services.store.counts()).posted == 3


async def test_a_press_on_a_full_queue_is_refused_with_the_reason(room: Room) -> None:
    async with room.bot(QUICK + "[queue]\nmax_running = 1\nmax_waiting_user = 1\n") as app:
        grid = await room.grid()
        gate = room.engine.hold(1)
        running = await room.press("bob", grid, "reroll")
        await gate.reached.wait()
        waiting = await room.press("bob", grid, "reroll")
        refused = await room.press("bob", grid, "reroll")
        assert "already have one job waiting" in await told(room, refused)
        gate.open.set()
        await room.result_of(running)
        await room.result_of(waiting)
        await room.settled(app)
        assert (await app.services.store.counts()).posted == 3


def test_every_action_but_showing_is_a_button() -> None:
    assert set(HANDLERS) == set(Action) - {Action.SHOW}
