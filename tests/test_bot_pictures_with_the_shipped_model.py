"""Buttons under pictures with nothing faked: the shipped model goes on, extends and repaints."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bot.config import parse_config
from bot.playground import InteractionState, MessageRecord, Playground, aim
from storage import Store
from tests.bot_room import QUICK, finished, job_id
from tests.test_bot_with_the_shipped_model import Pixels, press, running


async def stored(store: Store, message: MessageRecord, index: int = 1) -> Pixels:
    found = next(one for one in await store.pictures(job_id(message)) if one.index == index)
    with Image.open(BytesIO(await store.read_picture(found))) as picture:
        return np.asarray(picture.convert("RGB"))


async def grid(playground: Playground, prompt: str) -> MessageRecord:
    ix = await playground.slash("alice", "imagine", {"prompt": prompt})
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    found: MessageRecord = await playground.wait(
        lambda ledger: finished(ledger, ix.message_id), timeout=60
    )
    return found


@pytest.mark.timeout(180)
async def test_a_stopped_grid_goes_on_exactly_and_a_picture_grows_around_its_own_pixels(
    tmp_path: Path,
) -> None:
    config = parse_config(QUICK, tmp_path / "config.toml")
    async with Playground() as playground:
        restore = aim(playground.api_base, playground.gateway_url, playground.cdn_base)
        try:
            prompt = "a red heart --seed 7 --steps 6"
            async with running(playground, config) as (_, store):
                whole = await grid(playground, prompt)
                stopped = await grid(playground, f"{prompt} --stop 50")
                expected = [await stored(store, whole, index) for index in range(1, 5)]
            async with running(playground, config) as (_, store):
                going_on = await press(playground, stopped, "go 0")
                for index in range(1, 5):
                    made = await stored(store, going_on, index)
                    assert np.array_equal(made, expected[index - 1])
                single = await press(playground, whole, "upscale 2")
                wide = await press(playground, single, "panr 1")
                extended = await stored(store, wide, 3)
                assert extended.shape == (64, 88, 3)
                assert np.array_equal(extended[:, :48], expected[1][:, :48])
                assert not np.array_equal(extended[:, 64:], expected[1][:, :24])
                creative = await press(playground, single, "up2c 1")
                assert (await stored(store, creative)).shape == (128, 128, 3)
        finally:
            restore()
