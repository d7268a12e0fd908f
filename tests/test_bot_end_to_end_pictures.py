"""Every button under pictures through real sockets: what is posted, pixel by pixel, and by whom."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

# Loaded before anybody presses: the bot has it from its engine, these tests have none.
import diffusion.canvas  # noqa: F401
from bot import wishes
from bot.playground import MessageRecord
from diffusion import Params
from storage import JobKind, Scope
from tests.bot_room import QUICK, Room, job_id, job_of, open_room
from tests.fakes import colour, model_info
from tests.test_bot_buttons import forged, told

ONE = QUICK + "[defaults]\nimages = 1\n"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def pixels(room: Room, message: MessageRecord, number: int = 0) -> NDArray[np.uint8]:
    data = await room.pg.read_attachment(message.attachments[number])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


async def stored(room: Room, message: MessageRecord, index: int = 1) -> NDArray[np.uint8]:
    """Return a single picture of a message's job as it is kept."""
    store = room.app.services.store
    found = next(one for one in await store.pictures(job_id(message)) if one.index == index)
    return np.asarray(Image.open(io.BytesIO(await store.read_picture(found))).convert("RGB"))


async def single(room: Room, index: int = 1, prompt: str = "a red heart --seed 5") -> MessageRecord:
    """Post one picture of a new grid alone."""
    grid = await room.grid("alice", prompt)
    return await room.result_of(await room.press("alice", grid, "upscale", index))


def actions(message: MessageRecord) -> list[str]:
    return [each.split(":")[1] for each in message.custom_ids]


@pytest.mark.parametrize(("action", "factor"), [("up2s", 2), ("up4", 4)])
async def test_upscale_enlarges_the_stored_pixels_without_the_device(
    room: Room, action: str, factor: int
) -> None:
    async with room.bot() as app:
        picture = await single(room, 2)
        painted = len(room.engine.submitted)
        larger = await room.result_of(await room.press("bob", picture, action))
        assert len(room.engine.submitted) == painted
        assert f"Picture 1 enlarged {factor}× for" in larger.content
        # 64 pixels are shown as 256: what was enlarged is shown as much larger.
        assert (await pixels(room, larger)).shape == (256 * factor, 256 * factor, 3)
        small, kept = await stored(room, picture), await stored(room, larger)
        assert kept.shape == (64 * factor, 64 * factor, 3)
        expected = Image.fromarray(small).resize(kept.shape[:2], Image.Resampling.LANCZOS)
        assert np.array_equal(kept, np.asarray(expected))
        await room.settled(app)
        job = await job_of(app, larger)
        assert (job.kind, job.parent_id) == (JobKind.ENLARGE, job_id(picture))
        assert job.requester_id == room.pg.people["bob"].id
        assert {"up2s", "vsub", "zoom2", "fav", "delete"} < set(actions(larger))


async def test_upscale_ends_where_a_picture_is_large_enough(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes, "MOST_PIXELS", 256 * 256)
    async with room.bot():
        picture = await room.result_of(await room.press("alice", await single(room), "up4"))
        assert (await stored(room, picture)).shape == (256, 256, 3)
        answer = await told(room, await room.press("alice", picture, "up2s"))
        assert "512 × 512" in answer
        assert "as large as it gets" in answer


async def test_creative_paints_at_the_larger_size_from_the_picture(room: Room) -> None:
    async with room.bot() as app:
        picture = await single(room, 3)
        larger = await room.result_of(await room.press("bob", picture, "up2c"))
        params = room.engine.submitted[-1]
        assert (params.width, params.height, params.images) == (128, 128, 1)
        assert params.strength == 0.35
        assert params.prompt == "a red heart"
        source = room.engine.sources[-1]
        assert source is not None
        assert source.size == (128, 128)
        assert source.getpixel((64, 64)) == colour(7)
        assert (await stored(room, larger)).shape == (128, 128, 3)
        # What is varied then has the size that the model paints best again.
        await room.result_of(await room.press("bob", larger, "vsub"))
        again = room.engine.submitted[-1]
        assert (again.width, again.height) == (64, 64)
        await room.settled(app)


async def test_creative_stays_within_the_limit_and_still_doubles(room: Room) -> None:
    async with room.bot(QUICK + "[limits]\nmax_pixels = 8192\n"):
        picture = await single(room)
        larger = await room.result_of(await room.press("alice", picture, "up2c"))
        params = room.engine.submitted[-1]
        assert (params.width, params.height) == (88, 88)
        assert (await stored(room, larger)).shape == (128, 128, 3)


async def test_vary_makes_a_grid_near_the_picture(room: Room) -> None:
    async with room.bot():
        picture = await single(room, 2)
        for action, strength, said in (("vsub", 0.5, "Subtle"), ("vstr", 0.85, "Strong")):
            grid = await room.result_of(await room.press("bob", picture, action))
            params, source = room.engine.submitted[-1], room.engine.sources[-1]
            assert (params.strength, params.images) == (strength, 4)
            assert params.seed != 6
            assert source is not None
            assert source.getpixel((32, 32)) == colour(6)
            assert f"{said} variations of picture 1 for" in grid.content
            assert (await pixels(room, grid)).shape == (512, 512, 3)


async def test_v_follows_the_preference_of_who_presses(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        bob = room.pg.people["bob"].id
        for preference, strength in ((None, 0.85), ("subtle", 0.5), ("strong", 0.85)):
            await app.services.store.people.set_preference(Scope.USER, bob, "variation", preference)
            await room.result_of(await room.press("bob", grid, "vary", 4))
            assert room.engine.submitted[-1].strength == strength


async def test_zoom_out_keeps_the_old_pixels_in_the_middle(room: Room) -> None:
    async with room.bot() as app:
        picture = await single(room, 2)
        wide = await room.result_of(await room.press("bob", picture, "zoom2"))
        params, mask = room.engine.submitted[-1], room.engine.masks[-1]
        assert (params.width, params.height, params.images) == (64, 64, 4)
        assert mask is not None
        assert mask.convert("L").getpixel((2, 2)) == 255
        assert mask.convert("L").getpixel((32, 32)) == 0
        assert "Picture 1 zoomed out 2× for" in wide.content
        for index in range(1, 5):
            made = await stored(room, wide, index)
            assert tuple(made[32, 32]) == colour(6)
            # Old pixels: 32 wide in the middle, but for a seam of 4.
            small = Image.fromarray(await stored(room, picture))
            old = np.asarray(small.resize((32, 32), Image.Resampling.LANCZOS))
            assert np.array_equal(made[20:44, 20:44], old[4:28, 4:28])
        new = {tuple((await stored(room, wide, index))[6, 6]) for index in range(1, 5)}
        assert new == {colour(params.seed + number, params.init_image) for number in range(4)}
        await room.settled(app)
        job = await job_of(app, wide)
        assert (job.kind, job.parent_index) == (JobKind.ZOOM, 1)
        assert job.sources == (params.init_image, params.mask)


ARROWS = (
    ("panl", (88, 64), (60, 32), (10, 32), "to the left"),
    ("panr", (88, 64), (32, 32), (80, 32), "to the right"),
    ("panu", (64, 88), (32, 60), (32, 10), "upwards"),
    ("pand", (64, 88), (32, 32), (32, 80), "downwards"),
)


async def test_an_arrow_extends_to_its_side(room: Room) -> None:
    async with room.bot(ONE):
        picture = await room.grid("alice", "a red heart --seed 5")
        before = await stored(room, picture)
        for action, size, old, new, said in ARROWS:
            wide = await room.result_of(await room.press("alice", picture, action))
            params = room.engine.submitted[-1]
            assert (params.width, params.height) == size
            assert said in wide.content
            made = await stored(room, wide)
            assert made.shape == (size[1], size[0], 3)
            assert tuple(made[old[1], old[0]]) == colour(5)
            assert tuple(made[new[1], new[0]]) == colour(params.seed, params.init_image)
            left, top = (24 if action == "panl" else 0), (24 if action == "panu" else 0)
            # Old pixels, but for a seam of 16 at the side that was extended.
            inner = made[top + 16 : top + 48, left + 16 : left + 48]
            assert np.array_equal(inner, before[16:48, 16:48])


async def test_what_was_extended_can_be_made_square(room: Room) -> None:
    async with room.bot(ONE):
        picture = await room.grid("alice", "a red heart --seed 5")
        assert "square" not in actions(picture)
        wide = await room.result_of(await room.press("alice", picture, "panr"))
        assert "square" in actions(wide)
        made = await room.result_of(await room.press("alice", wide, "square"))
        assert "made square" in made.content
        assert (await stored(room, made)).shape == (88, 88, 3)
        assert "square" not in actions(made)


async def test_a_pan_beyond_the_limit_is_refused(room: Room) -> None:
    async with room.bot(QUICK + "[limits]\nmax_pixels = 4096\n"):
        picture = await single(room)
        painted = len(room.engine.submitted)
        assert "too large" in await told(room, await room.press("alice", picture, "panl"))
        assert len(room.engine.submitted) == painted


async def test_a_zoom_again_is_another_zoom_of_the_same_picture(room: Room) -> None:
    async with room.bot() as app:
        picture = await single(room)
        wide = await room.result_of(await room.press("alice", picture, "zoom15"))
        again = await room.result_of(await room.press("bob", wide, "reroll"))
        first, second = room.engine.submitted[-2:]
        assert second.seed != first.seed
        assert (second.init_image, second.mask) == (first.init_image, first.mask)
        assert "zoomed out 1.5×" in again.content
        assert tuple((await stored(room, again, 3))[32, 32]) == colour(5)
        await room.settled(app)
        assert (await job_of(app, again)).parent_id == job_id(picture)


async def test_every_button_works_after_a_restart(room: Room) -> None:
    async with room.bot():
        picture = await single(room)
    async with room.bot():
        for action in ("up2s", "up2c", "vsub", "vstr", "zoom15", "zoom2", "panl", "panu"):
            made = await room.result_of(await room.press("bob", picture, action))
            assert job_id(made) != job_id(picture)


async def test_what_was_made_from_a_deleted_picture_can_be_made_again(room: Room) -> None:
    async with room.bot() as app:
        picture = await single(room)
        wide = await room.result_of(await room.press("alice", picture, "panl"))
        await room.settled(app)
        await app.services.store.delete_pictures(job_id(picture))
        again = await room.result_of(await room.press("alice", wide, "reroll"))
        assert tuple((await stored(room, again, 2))[32, 60]) == colour(5)
        refused = await room.press("alice", picture, "panl")
        assert "has been deleted" in await told(room, refused)


async def test_keep_only_drops_the_others_while_they_are_painted(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(3)
        ix = await room.imagine(prompt="a red heart --seed 5 --steps 4")
        running = await room.shown(ix, lambda found: "keep" in actions(found))
        await gate.reached.wait()
        ask = await room.press("alice", running, "keep", 3)
        assert "Only picture 3 goes on" in await told(room, ask)
        twice = await room.press("carol", running, "keep", 1)
        assert "not being painted" in await told(room, twice)
        gate.open.set()
        kept = await room.result_of(ix)
        assert {"up2s", "vsub", "info"} < set(actions(kept))
        assert f"v1:up2s:{job_id(kept)}:3" in kept.custom_ids
        assert (await pixels(room, kept)).shape == (256, 256, 3)
        assert tuple((await stored(room, kept, 3))[32, 32]) == colour(7)
        assert "Picture 3" in kept.attachments[0]["description"]
        await room.result_of(await room.press("bob", kept, "vstr"))
        source = room.engine.sources[-1]
        assert source is not None
        assert source.getpixel((32, 32)) == colour(7)
        dropped = await room.pg.press("bob", kept.id, f"v1:up2s:{job_id(kept)}:3")
        larger = await room.result_of(dropped)
        await room.settled(app)
        job = await job_of(app, larger)
        assert Params.from_json(job.params).seed == 7


async def test_keep_is_for_the_requester_and_moderators(room: Room) -> None:
    async with room.bot():
        for who, may in (("alice", True), ("bob", False), ("carol", True)):
            gate = room.engine.hold(3, word=who)
            ix = await room.imagine(prompt=f"{who} --steps 4")
            running = await room.shown(ix, lambda found: "keep" in actions(found))
            await gate.reached.wait()
            answer = await told(room, await room.press(who, running, "keep", 2))
            assert ("goes on" in answer) is may
            gate.open.set()
            done = await room.result_of(ix)
            assert ("vary" in actions(done)) is not may


async def test_a_stopped_job_goes_on_where_it_was(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart --seed 5 --steps 4 --stop 50")
        await room.settled(app)
        assert "go" in actions(grid)
    async with room.bot() as app:
        whole = await room.result_of(await room.press("bob", grid, "go"))
        stopped, going_on = room.engine.submitted
        assert (stopped.stop, going_on.stop, going_on.seed) == (50, 100, 5)
        assert room.engine.states == [None, b"latents"]
        assert "Continued for" in whole.content
        assert "go" not in actions(whole)
        await room.settled(app)
        assert (await job_of(app, whole)).kind is JobKind.CONTINUE


async def test_a_job_that_ran_to_its_end_cannot_go_on(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        await room.settled(app)
        wrong = f"v1:go:{job_id(grid)}:0"
        ix = await room.pg.press("bob", (await forged(room, wrong)).id, wrong)
        assert "Nothing was kept" in await told(room, ix)


async def test_a_favourite_is_ones_own_and_taken_back_by_a_second_press(room: Room) -> None:
    async with room.bot() as app:
        picture = await single(room)
        assert "among your favourites" in await told(room, await room.press("bob", picture, "fav"))
        await room.press("alice", picture, "fav")
        store = app.services.store
        assert await store.people.favourite_count(job_id(picture), 1) == 2
        bob = room.pg.people["bob"].id
        assert [each.index for each in await store.people.favourites(bob)] == [1]
        assert "Taken out" in await told(room, await room.press("bob", picture, "fav"))
        assert await store.people.favourites(bob) == []


async def test_buttons_of_a_job_that_is_not_there_yet_say_so(room: Room) -> None:
    async with room.bot():
        gate = room.engine.hold(2)
        ix = await room.imagine()
        await gate.reached.wait()
        early = f"v1:up2s:{job_id(room.answer(ix))}:1"
        pressed = await room.pg.press("bob", (await forged(room, early)).id, early)
        assert "no pictures yet" in await told(room, pressed)
        await room.press("alice", room.answer(ix), "cancel")
        await room.shown(ix, lambda found: "ancelled" in found.content)
        late = f"v1:panl:{job_id_of(early)}:2"
        pressed = await room.pg.press("bob", (await forged(room, late)).id, late)
        assert "ended without pictures" in await told(room, pressed)
        gate.open.set()


def job_id_of(custom_id: str) -> str:
    return custom_id.split(":")[2]


async def test_only_the_requester_may_press_where_the_settings_say_so(room: Room) -> None:
    async with room.bot(QUICK + '[moderation]\npress = "requester"\n'):
        picture = await single(room)
        for action in ("up2s", "up2c", "vsub", "zoom2", "panl", "region", "remix", "zoomc"):
            answer = await told(room, await room.press("bob", picture, action))
            assert "Only the person" in answer
        assert "favourites" in await told(room, await room.press("bob", picture, "fav"))
        assert len(room.engine.submitted) == 1


async def test_what_paints_needs_the_model_and_what_resamples_does_not(room: Room) -> None:
    async with room.bot():
        picture = await single(room)
    config = QUICK + '[defaults]\nmodel = "other"\n[models.other]\npath = "/nowhere"\n'
    async with room.bot(config, {"other": model_info("other")}):
        for action in ("up2c", "vsub", "zoom2", "panl"):
            answer = await told(room, await room.press("bob", picture, action))
            assert "no longer on this server" in answer
        await room.result_of(await room.press("bob", picture, "up2s"))


async def test_info_links_up_and_down(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        picture = await room.result_of(await room.press("alice", grid, "upscale", 2))
        varied = await room.result_of(await room.press("bob", picture, "vsub"))
        await room.settled(app)
        card = room.answer(await room.press("bob", picture, "info"))
        fields = {each["name"]: each["value"] for each in card.data["embeds"][0]["fields"]}
        assert f"{job_id(grid)}`](https://discord.com/channels/" in fields["Lineage"]
        assert f"picture 2 · made of it: [`{job_id(varied)}`]" in fields["Lineage"]


async def test_info_counts_tokens_and_names_those_in_later_chunks(room: Room) -> None:
    async with room.bot():
        grid = await room.grid("alice", "a red heart and a blue fish")
        ix = await room.press("bob", grid, "info")
        card = (await room.shown(ix, lambda found: found.data["embeds"])).data["embeds"][0]
        (tokens,) = [each["value"] for each in card["fields"] if each["name"] == "Tokens"]
        assert tokens == "7 in 2 chunks; not in the first: `blue fish`"
        (command,) = [each["value"] for each in card["fields"] if each["name"] == "To copy"]
        assert "--style raw" not in command
