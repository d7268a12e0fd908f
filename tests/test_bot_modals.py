"""The modals of picture buttons: what they ask, what comes back, and after any restart."""

import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# Loaded before anybody presses: the bot has it from its engine, these tests have none.
import diffusion.canvas  # noqa: F401
from bot.canvases import cells_mask
from bot.jobs import Draft, Origin
from bot.modals import cells_chosen, modal_for, prefilled, read_modal
from bot.permissions import Action
from bot.places import UnknownPlaceError, cells_of
from bot.playground import PlayInteraction
from diffusion import Params
from storage import Scope
from tests.bot_room import QUICK, Room, job_id, job_of, open_room
from tests.fakes import colour
from tests.test_bot_buttons import told
from tests.test_bot_cards import job
from tests.test_bot_end_to_end_pictures import pixels, single, stored

DRAFT = Draft(
    params=Params(prompt="a fox", negative_prompt="blue"),
    prompt="a fox --ar 3:2 --seed 4 --no blue --chaos 20 --stop 60 --q 2 --tile --repeat 2",
)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def fields(opened: PlayInteraction) -> dict[str, Any]:
    """Return the inner components of a modal by their names."""
    assert opened.modal is not None
    inner = [each["component"] for each in opened.modal["components"]]
    return {each["custom_id"]: each for each in inner}


async def send(
    room: Room,
    opened: PlayInteraction,
    values: Mapping[str, Any] | None = None,
    who: str = "alice",
    mask: bytes | None = None,
) -> PlayInteraction:
    files = None if mask is None else {"mask": ("mask.png", mask)}
    ix = await room.pg.submit(who, opened, values or {}, files=files)
    await ix.acknowledged
    return ix


def test_the_prompt_has_the_flags_that_variations_take_over() -> None:
    assert prefilled(DRAFT) == "a fox --ar 3:2 --stop 60 --tile"


def test_text_that_is_no_prompt_any_more_is_shown_by_its_words() -> None:
    assert prefilled(Draft(params=DRAFT.params, prompt="a fox --unheard 5")) == "a fox"


async def test_every_modal_fits_discord_and_is_not_remembered() -> None:
    origin = Origin(job=job(), index=4, sha256="ab" * 32)
    for action in Action:
        modal = modal_for(action, origin, DRAFT, 0.5)
        made: Any = modal.to_dict()
        assert made["custom_id"] == f"v1:m{action}:abcdefghijklm:4"
        assert len(made["title"]) <= 45
        assert 1 <= len(made["components"]) <= 5
        assert all(len(each["label"]) <= 45 for each in made["components"])
        assert all(len(each.get("description", "")) <= 100 for each in made["components"])
        assert modal.is_finished()


@pytest.mark.parametrize(
    "custom_id", ["v1:mvary:abc", "v1:retype::0", "", "v1:mnothing:abc:1", "v1:vary:abc:1", "v1:m"]
)
def test_other_modals_are_left_alone(custom_id: str) -> None:
    assert read_modal({"custom_id": custom_id, "components": []}) is None


def test_values_are_read_however_deep_they_lie() -> None:
    typed = read_modal(
        {
            "custom_id": "v1:mregion:abcdefghijklm:2",
            "components": [
                {"type": 1, "components": [{"custom_id": "prompt", "value": " a cat "}]},
                {"type": 18, "component": {"custom_id": "cells", "values": ["0", "15", "99"]}},
                {"type": 18, "component": {"custom_id": "seed", "value": True}},
            ],
        }
    )
    assert typed is not None
    assert (typed.action, typed.index, typed.text("prompt")) == (Action.REGION, 2, "a cat")
    assert cells_chosen(typed) == {(0, 0), (3, 3)}
    assert typed.values["seed"] is True
    assert typed.text("place") == ""


@pytest.mark.parametrize(
    ("text", "count", "within"),
    [
        ("left", 8, (0, 0)),
        ("the top right corner", 4, (0, 3)),
        ("middle", 4, (1, 1)),
        ("edges", 12, (3, 3)),
        ("left and bottom right", 12, (3, 3)),
        ("top, bottom", 16, (2, 2)),
        ("everything", 16, (0, 0)),
        ("左上", 4, (0, 0)),
        ("右と中央", 10, (1, 1)),
    ],
)
def test_places_in_words(text: str, count: int, within: tuple[int, int]) -> None:
    found = cells_of(text)
    assert len(found) == count
    assert within in found


def test_a_word_that_names_no_place_is_named_back() -> None:
    assert cells_of(" , and ") == frozenset()
    with pytest.raises(UnknownPlaceError, match="hat"):
        cells_of("the hat")


async def test_remix_on_lets_v_open_a_modal_and_unchanged_words_are_a_variation(
    room: Room,
) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart --seed 5 --no blue --chaos 10")
        alice = room.pg.people["alice"].id
        await app.services.store.people.set_preference(Scope.USER, alice, "remix", True)
        opened = await room.press("alice", grid, "vary", 2)
        asked = fields(opened)
        assert asked["prompt"]["value"] == "a red heart"
        assert asked["negative"]["value"] == "blue"
        assert asked["strength"]["value"] == "0.85"
        assert len(room.engine.submitted) == 1
        plain = await room.result_of(await send(room, opened))
        params = room.engine.submitted[-1]
        assert (params.prompt, params.negative_prompt) == ("a red heart", "blue")
        assert (params.strength, params.chaos) == (0.85, 0)
        assert "variations of picture 2 for" in plain.content
        # Bob does not like to remix: for him it is a button.
        await room.result_of(await room.press("bob", grid, "vary", 2))


async def test_other_words_another_strength_and_the_same_noise(room: Room) -> None:
    async with room.bot():
        picture = await single(room, 3)
        opened = await room.press("bob", picture, "remix")
        made = await room.result_of(
            await send(
                room,
                opened,
                {
                    "prompt": "a green heart --ar 3:2",
                    "negative": "frame",
                    "strength": "0,6",
                    "seed": True,
                },
                who="bob",
            )
        )
        params, source = room.engine.submitted[-1], room.engine.sources[-1]
        assert (params.prompt, params.negative_prompt) == ("a green heart", "frame")
        assert (params.strength, params.seed) == (0.6, 7)
        assert params.width > params.height
        assert source is not None
        assert source.size == (params.width, params.height)
        assert source.getpixel((32, 32)) == colour(7)
        assert "a green heart --ar 3:2 --no frame" in made.content


async def test_modals_work_after_a_restart(room: Room) -> None:
    async with room.bot():
        picture = await single(room)
        opened = await room.press("bob", picture, "remix")
    async with room.bot():
        made = await room.result_of(await send(room, opened, {"prompt": "a fish"}, who="bob"))
        assert "a fish" in made.content
        assert room.engine.submitted[-1].prompt == "a fish"


REFUSED = (
    ({"prompt": "a fish --stepz 4"}, "--steps"),
    ({"prompt": "a fish", "strength": "2"}, "no number from 0.05 to 1"),
    ({"strength": "much"}, "no number from 0.05 to 1"),
    ({"prompt": "{a, b} fish"}, "would be 2 jobs"),
    ({"prompt": "a nasty fish"}, "not allowed"),
)


async def test_what_cannot_be_done_is_said_and_not_done(room: Room) -> None:
    async with room.bot(QUICK + '[moderation]\nblocked_words = ["nasty"]\n'):
        picture = await single(room)
        for values, said in REFUSED:
            opened = await room.press("alice", picture, "remix")
            assert said in await told(room, await send(room, opened, values))
        assert len(room.engine.submitted) == 1


async def test_a_modal_is_judged_again_when_it_comes_back(room: Room) -> None:
    async with room.bot() as app:
        picture = await single(room)
        opened = await room.press("bob", picture, "remix")
        await room.settled(app)
        await app.services.store.delete_pictures(job_id(picture))
        assert "has been deleted" in await told(room, await send(room, opened, who="bob"))


async def test_a_forged_modal_of_a_job_that_is_not_there(room: Room) -> None:
    async with room.bot():
        picture = await single(room)
        opened = await room.press("bob", picture, "remix")
        assert opened.modal is not None
        opened.modal["custom_id"] = "v1:mremix:zzzzzzzzzzzzz:1"
        assert "There is no job" in await told(room, await send(room, opened, who="bob"))


async def test_reroll_in_remix_keeps_or_changes_the_seed(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart --seed 5 --steps 3")
        alice = room.pg.people["alice"].id
        await app.services.store.people.set_preference(Scope.USER, alice, "remix", True)
        opened = await room.press("alice", grid, "reroll")
        assert set(fields(opened)) == {"prompt", "negative", "seed"}
        await room.result_of(await send(room, opened, {"prompt": "a fish", "seed": True}))
        params = room.engine.submitted[-1]
        assert (params.prompt, params.seed, params.init_image) == ("a fish", 5, None)
        opened = await room.press("alice", grid, "reroll")
        await room.result_of(await send(room, opened))
        again = room.engine.submitted[-1]
        assert (again.prompt, again.steps) == ("a red heart", 3)
        assert again.seed != 5


async def test_custom_zoom_and_another_shape(room: Room) -> None:
    async with room.bot():
        picture = await single(room, 2)
        opened = await room.press("alice", picture, "zoomc")
        assert fields(opened)["zoom"]["value"] == "2"
        made = await room.result_of(await send(room, opened, {"zoom": "1.25"}))
        assert "zoomed out 1.25×" in made.content
        opened = await room.press("alice", picture, "zoomc")
        values = {"zoom": "1", "prompt": "a red heart --ar 3:2"}
        wide = await room.result_of(await send(room, opened, values))
        params = room.engine.submitted[-1]
        assert params.width > params.height
        made_wide = await stored(room, wide)
        assert tuple(made_wide[params.height // 2, params.width // 2]) == colour(6)
        assert tuple(made_wide[6, 6]) == colour(params.seed, params.init_image)
        opened = await room.press("alice", picture, "zoomc")
        assert "changes nothing" in await told(room, await send(room, opened, {"zoom": "1"}))
        opened = await room.press("alice", picture, "zoomc")
        assert "from 1 to 2" in await told(room, await send(room, opened, {"zoom": "3"}))


async def test_a_region_by_cells_is_painted_anew_and_the_rest_stays(room: Room) -> None:
    async with room.bot():
        picture = await single(room, 2)
        opened = await room.press("bob", picture, "region")
        assert len(fields(opened)["cells"]["options"]) == 16
        values = {"prompt": "a blue door", "cells": ["0", "1", "4", "5"]}
        made = await room.result_of(await send(room, opened, values, who="bob"))
        assert "Part of picture 1 painted anew for" in made.content
        params = room.engine.submitted[-1]
        assert params.prompt == "a blue door"
        old, new = await stored(room, picture), await stored(room, made, 2)
        assert np.array_equal(new[40:], old[40:])
        assert np.array_equal(new[:, 40:], old[:, 40:])
        assert tuple(new[8, 8]) == colour(params.seed + 1, params.init_image)
        assert (await pixels(room, made)).shape == (512, 512, 3)


async def test_a_region_in_words_and_by_a_mask(room: Room) -> None:
    async with room.bot() as app:
        picture = await single(room)
        opened = await room.press("alice", picture, "region")
        made = await room.result_of(await send(room, opened, {"place": "the bottom right"}))
        params = room.engine.submitted[-1]
        new = await stored(room, made)
        assert tuple(new[56, 56]) == colour(params.seed, params.init_image)
        assert tuple(new[16, 16]) == colour(5)
        out = io.BytesIO()
        cells_mask({(0, 3)}, 256, 256).save(out, "PNG")
        opened = await room.press("alice", picture, "region")
        made = await room.result_of(await send(room, opened, mask=out.getvalue()))
        params = room.engine.submitted[-1]
        new = await stored(room, made)
        assert tuple(new[6, 56]) == colour(params.seed, params.init_image)
        assert tuple(new[56, 56]) == colour(5)
        await room.settled(app)
        assert params.mask in (await job_of(app, made)).sources


def black(size: int = 16) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size)).save(out, "PNG")
    return out.getvalue()


NOWHERE: tuple[tuple[dict[str, str], bytes | None, str], ...] = (
    ({}, None, "Say where"),
    ({"place": "the hat"}, None, "`hat` names no place"),
    ({}, black(), "black all over"),
    ({}, b"no picture", "mask cannot be used"),
)


async def test_a_region_needs_a_place(room: Room) -> None:
    async with room.bot():
        picture = await single(room)
        for values, mask, said in NOWHERE:
            opened = await room.press("alice", picture, "region")
            assert said in await told(room, await send(room, opened, values, mask=mask))
        assert len(room.engine.submitted) == 1


async def test_everything_that_can_be_remixed_is(room: Room) -> None:
    async with room.bot() as app:
        picture = await single(room)
        alice = room.pg.people["alice"].id
        await app.services.store.people.set_preference(Scope.USER, alice, "remix", True)
        for action in ("vsub", "zoom15", "zoom2", "panl", "pand"):
            opened = await room.press("alice", picture, action)
            await room.result_of(await send(room, opened, {"prompt": f"a wide sea {action}"}))
            params = room.engine.submitted[-1]
            assert params.prompt == f"a wide sea {action}"
            assert params.init_image is not None
