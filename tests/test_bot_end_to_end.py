"""The main job through real sockets: type, wait, press, restart, press again, look back."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from PIL import Image

from bot.app import App
from bot.config import Config, parse_config
from bot.playground import InteractionState, MessageRecord
from diffusion import EngineDeadError, NumericalError
from diffusion.pictures import read_parameters
from storage import JobKind, JobState, Store
from tests.bot_room import QUICK, Room, job_id, job_of, open_room, results
from tests.fakes import colour, model_info

MESSAGES = "/channels/{channel_id}/messages"
MESSAGE = f"{MESSAGES}/{{message_id}}"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def picture_of(room: Room, message: MessageRecord) -> Image.Image:
    data = await room.pg.read_attachment(message.attachments[0])
    return Image.open(io.BytesIO(data))


def mentions(room: Room) -> list[MessageRecord]:
    # A job's id has 13 signs; the nonce of the ping has one more.
    return [each for each in room.pg.ledger.messages.values() if len(each.nonce or "") == 14]


async def test_imagine_becomes_a_grid_in_the_same_message(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(2)
        ix = await room.imagine(prompt="a red heart --ar 1:1")
        first = room.answer(ix).versions[0].data
        assert "waiting, position 1" in first["content"]
        assert "a red heart --ar 1:1" in first["content"]
        gate.open.set()
        grid = await room.result_of(ix)
        assert grid.id == ix.message_id
        assert grid.attachments[0]["filename"] == f"easel-{job_id(grid)}.png"
        picture = await picture_of(room, grid)
        assert picture.size == (512, 512)
        seed = room.engine.submitted[0].seed
        assert picture.getpixel((128, 128)) == colour(seed)
        assert picture.getpixel((384, 384)) == colour(seed + 3)
        await room.settled(app)
        job = await job_of(app, grid)
        assert (job.state, job.post_message_id) == (JobState.POSTED, grid.id)


async def test_the_end_pings_the_requester_once_and_nobody_else(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "@everyone <@1> a red heart")
        await room.settled(app)
        pings = mentions(room)
        assert len(pings) == 1
        assert [user["username"] for user in pings[0].data["mentions"]] == ["alice"]
        assert pings[0].data["message_reference"]["message_id"] == str(grid.id)
        assert not grid.data["mentions"]
        assert not grid.data["mention_everyone"]


async def test_u_posts_the_same_pixels_alone(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        painted = len(room.engine.submitted)
        single = await room.result_of(await room.press("bob", grid, "upscale", 2))
        assert single.attachments[0]["filename"] == f"easel-{job_id(grid)}-2.png"
        whole, alone = await picture_of(room, grid), await picture_of(room, single)
        assert alone.size == (256, 256)
        assert alone.getpixel((128, 128)) == whole.getpixel((384, 128))
        assert len(room.engine.submitted) == painted
        await room.settled(app)
        job = await job_of(app, single)
        assert (job.kind, job.parent_id, job.parent_index) == (JobKind.UPSCALE, job_id(grid), 2)
        assert job.requester_id == room.pg.people["bob"].id
        text = read_parameters(await room.pg.read_attachment(single.attachments[0]))
        assert text is not None
        assert f"Seed: {room.engine.submitted[0].seed + 1}," in text
        actions = [each.split(":")[1] for each in single.custom_ids]
        assert {"up2s", "vsub", "zoom2", "panl", "fav", "info", "delete"} < set(actions)


async def test_v_starts_from_the_tile_with_a_new_seed(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        varied = await room.result_of(await room.press("bob", grid, "vary", 3))
        first, second = room.engine.submitted
        assert second.seed != first.seed
        assert second.strength == 0.85
        source = room.engine.sources[1]
        assert source is not None
        assert source.size == (64, 64)
        assert source.getpixel((32, 32)) == colour(first.seed + 2)
        job = await job_of(app, varied)
        assert (job.kind, job.parent_id, job.parent_index) == (JobKind.VARY, job_id(grid), 3)
        tile = (await app.services.store.pictures(job_id(grid)))[3]
        assert second.init_image == tile.sha256


async def test_v_on_a_single_picture_and_reroll_of_a_variation(room: Room) -> None:
    async with room.bot():
        grid = await room.grid()
        single = await room.result_of(await room.press("alice", grid, "upscale", 4))
        varied = await room.result_of(await room.press("alice", single, "vsub"))
        again = await room.result_of(await room.press("alice", varied, "reroll"))
        _, vary, reroll = room.engine.submitted
        assert reroll.init_image == vary.init_image
        assert reroll.seed != vary.seed
        source = room.engine.sources[2]
        assert source is not None
        assert source.getpixel((32, 32)) == colour(room.engine.submitted[0].seed + 3)
        assert job_id(again) != job_id(varied)


async def test_reroll_keeps_everything_but_the_seed(room: Room) -> None:
    async with room.bot():
        grid = await room.grid("alice", "a red heart --ar 3:2 --steps 3 --no blue --seed 5")
        await room.result_of(await room.press("bob", grid, "reroll"))
        first, second = room.engine.submitted
        assert second.seed != first.seed
        assert (second.width, second.height) == (first.width, first.height)
        assert (second.prompt, second.negative_prompt, second.steps) == ("a red heart", "blue", 3)


async def test_buttons_work_after_a_restart_and_history_is_kept(room: Room) -> None:
    async with room.bot():
        grid = await room.grid("alice", "a red heart")
    async with room.bot() as app:
        single = await room.result_of(await room.press("bob", grid, "upscale", 1))
        assert job_id(single) != job_id(grid)
        ix = await room.pg.slash("alice", "history", {"search": "heart"})
        await ix.acknowledged
        shown = await room.shown(ix, lambda message: message.content)
        assert shown.ephemeral
        assert job_id(grid) in shown.content
        assert app.lag.max >= 0


async def test_the_same_event_twice_is_one_job(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(1)
        ix = await room.imagine()
        room.pg.replay(ix)
        later = await room.imagine("bob", "a blue fish")
        gate.open.set()
        await room.result_of(ix)
        await room.result_of(later)
        await room.settled(app)
        assert len(room.engine.submitted) == 2
        assert (await app.services.store.counts()).posted == 2
        answers = [each for each in room.pg.ledger.requests if each.route.endswith("/callback")]
        assert [each.status for each in answers] == [200, 200]


async def test_progress_shows_percent_and_a_preview(room: Room) -> None:
    async with room.bot():
        gate = room.engine.hold(3)
        ix = await room.imagine(prompt="a red heart --steps 4")
        message = await room.shown(ix, lambda found: found.attachments)
        assert message.attachments[0]["filename"] == "preview.jpg"
        assert "step 2/4" in message.content
        assert [each.split(":")[1] for each in message.custom_ids] == ["cancel", *["keep"] * 4]
        gate.open.set()
        await room.result_of(ix)


async def test_several_jobs_run_at_once_and_no_more_than_the_settings_say(room: Room) -> None:
    async with room.bot(QUICK + "[queue]\nmax_running = 2\n") as app:
        gate = room.engine.hold(1)
        asked = [await room.imagine("alice", f"a heart {number}") for number in range(3)]
        asked.append(await room.imagine("bob", "a fish"))
        assert "position 2" in room.answer(asked[3]).content or room.engine.running == 2
        gate.open.set()
        for ix in asked:
            await room.result_of(ix)
        await room.settled(app)
        assert room.engine.most_running == 2
        # Two of alice's were taken before bob came; then it is bob's turn.
        assert [params.prompt for params in room.engine.submitted][2] in ("a fish", "a heart 2")


async def test_repeat_makes_several_jobs_each_with_its_own_message(room: Room) -> None:
    async with room.bot() as app:
        ix = await room.imagine(prompt="a red heart --repeat 3 --seed 10")
        await room.result_of(ix)
        await room.pg.wait(lambda ledger: len(results(ledger)) == 3, timeout=8)
        await room.settled(app)
        grids = results(room.pg.ledger)
        assert len({job_id(each) for each in grids}) == 3
        assert [params.seed for params in room.engine.submitted] == [10, 14, 18]


async def test_cancel_in_the_middle_frees_the_engine(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(2)
        ix = await room.imagine()
        await gate.reached.wait()
        await room.press("alice", room.answer(ix), "cancel")
        message = await room.shown(ix, lambda found: "ancelled" in found.content)
        assert not message.custom_ids
        assert not message.attachments
        assert room.engine.running == 0
        assert len(room.engine.abandoned) == 1
        counts = await app.services.store.counts()
        assert (counts.cancelled, counts.running) == (1, 0)


async def test_a_failed_job_says_why_and_the_next_one_runs(room: Room) -> None:
    async with room.bot() as app:
        room.engine.fail(lambda: NumericalError("not finite"), step=2)
        ix = await room.imagine()
        message = await room.shown(ix, lambda found: "no picture" in found.content)
        assert not message.attachments
        await room.grid("bob")
        await room.result_of(await room.press("alice", message, "reroll"))
        await room.settled(app)
        counts = await app.services.store.counts()
        assert (counts.failed, counts.posted) == (1, 2)


async def test_graceful_stop_hands_jobs_back_and_the_next_start_finishes_them(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(3)
        ix = await room.imagine()
        await gate.reached.wait()
        await app.stop()
        assert "restarting" in room.answer(ix).content
        assert room.engine.running == 0
    gate.open.set()
    async with room.bot() as app:
        grid = await room.result_of(ix)
        await room.settled(app)
        job = await job_of(app, grid)
        assert (job.crashes, job.state) == (0, JobState.POSTED)
        first, second = room.engine.submitted
        assert first == second


async def test_a_dead_engine_ends_the_run_and_leaves_the_job_to_the_next(room: Room) -> None:
    room.engine.fail(lambda: EngineDeadError("the device is lost"), step=2)
    store = await Store.open(room.folder / "data")
    app = App(config=Config(), store=store, engine=room.engine, models={"emoji": model_info()})
    async with app:
        run = asyncio.create_task(app.run(room.pg.token))
        await room.pg.ready()
        ix = await room.imagine()
        with pytest.raises(EngineDeadError, match="lost"):
            await asyncio.wait_for(run, 8)
    assert (await store.counts()).running == 1
    await store.close()
    async with room.bot() as again:
        grid = await room.result_of(ix)
        assert (await job_of(again, grid)).crashes == 1


async def test_new_settings_are_in_force_at_once(room: Room) -> None:
    async with room.bot() as app:
        await room.grid()
        app.apply_config(
            parse_config(QUICK + '[moderation]\nblocked_words = ["heart"]\n', room.folder / "c")
        )
        ix = await room.pg.slash("bob", "imagine", {"prompt": "a Heart"})
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        assert room.answer(ix).ephemeral
        assert "not allowed" in room.answer(ix).content


async def test_in_direct_messages(room: Room) -> None:
    async with room.bot() as app:
        direct = room.pg.direct_messages("alice")
        ix = await room.pg.slash("alice", "imagine", {"prompt": "a cat"}, channel_id=direct)
        grid = await room.result_of(ix)
        single = await room.result_of(await room.press("alice", grid, "upscale", 1))
        assert single.channel_id == direct
        await room.settled(app)
        job = await job_of(app, grid)
        assert (job.guild_id, job.channel_id) == (None, direct)


async def test_metrics_are_served_where_the_settings_name_a_port(room: Room) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    async with room.bot(QUICK + f"[monitoring]\nport = {port}\n") as app:
        await room.grid()
        await room.settled(app)
        url = f"http://127.0.0.1:{port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            text = await answer.text()
        assert 'easel_jobs_ended_total{end="posted"} 1.0' in text
        assert "easel_acknowledge_seconds_count 1.0" in text
