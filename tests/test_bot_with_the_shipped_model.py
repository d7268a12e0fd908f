"""The main job with nothing faked: real client, sockets, store, engine and the model that ships.

Somebody types `/imagine a red heart --ar 3:2`, sees progress in the same message, gets four
pictures, presses U2 and V3; the bot restarts; the buttons still work; all is in the history.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from PIL import Image

from bot.app import App
from bot.config import Config, parse_config
from bot.loading import describe_models, load_engine
from bot.playground import InteractionState, Ledger, MessageRecord, Playground, aim
from diffusion.pictures import read_parameters
from storage import JobKind, JobState, Store
from tests.bot_room import QUICK, finished

Pixels: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
PROMPT = "a red heart --ar 3:2 --seed 7"


@asynccontextmanager
async def running(playground: Playground, config: Config) -> AsyncIterator[tuple[App, Store]]:
    """One run of the bot, from opening the store to closing it."""
    store = await Store.open(config.storage.folder)
    try:
        engine = await asyncio.to_thread(load_engine, config)
        async with (
            engine,
            App(config=config, store=store, engine=engine, models=describe_models(config)) as app,
        ):
            task = asyncio.create_task(app.run(playground.token))
            await app.ready.wait()
            await playground.ready()
            yield app, store
            await app.stop()
            await task
    finally:
        await store.close()


async def pixels(
    playground: Playground, message: MessageRecord
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    data = await playground.read_attachment(message.attachments[0])
    with Image.open(BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


async def press(playground: Playground, message: MessageRecord, button: str) -> MessageRecord:
    """Press a button and wait for the picture that comes of it."""
    custom_id = next(i for i in message.custom_ids if i.startswith(f"v1:{button.split()[0]}:"))
    custom_id = custom_id.rsplit(":", 1)[0] + f":{button.split()[1]}"
    pressed = await playground.press("bob", message.id, custom_id)
    assert await pressed.acknowledged is InteractionState.ACKNOWLEDGED
    before = set(playground.ledger.messages)

    def come(ledger: Ledger) -> MessageRecord | None:
        for message_id in [pressed.message_id, *(ledger.messages.keys() - before)]:
            found = finished(ledger, message_id)
            if found is not None and found.id != message.id:
                return found
        return None

    found: MessageRecord = await playground.wait(come, timeout=60)
    return found


@pytest.mark.timeout(180)
async def test_the_main_job(tmp_path: Path) -> None:
    config = parse_config(QUICK, tmp_path / "config.toml")
    async with Playground() as playground:
        restore = aim(playground.api_base, playground.gateway_url, playground.cdn_base)
        try:
            await first_run(playground, config)
            await second_run(playground, config)
        finally:
            restore()
        assert not playground.ledger.unknown


async def first_run(playground: Playground, config: Config) -> None:
    async with running(playground, config) as (_, store):
        asked = await playground.slash("alice", "imagine", {"prompt": PROMPT})
        assert await asked.acknowledged is InteractionState.ACKNOWLEDGED
        grid: MessageRecord = await playground.wait(
            lambda ledger: finished(ledger, asked.message_id), timeout=60
        )
        assert grid.edits >= 1, "progress and result are edits of one message"
        whole = await pixels(playground, grid)
        assert whole.shape == (2 * 56 * 4, 2 * 80 * 4, 3)
        data = await playground.read_attachment(grid.attachments[0])
        told = read_parameters(data) or ""
        assert f"Job: {(await store.history())[0].id}," in told
        assert "red heart" not in told, "nobody asked for the prompt in the file"

        single = await pixels(playground, await press(playground, grid, "upscale 2"))
        assert np.array_equal(single, whole[: 56 * 4, 80 * 4 :]), "U2 has the grid's own pixels"

        varied = await pixels(playground, await press(playground, grid, "vary 3"))
        assert varied.shape == whole.shape
        assert not np.array_equal(varied, whole)
        jobs = await store.history()
        assert [job.kind for job in jobs] == [JobKind.VARY, JobKind.UPSCALE, JobKind.IMAGINE]
        assert {job.state for job in jobs} <= {JobState.POSTED, JobState.POSTING}


async def second_run(playground: Playground, config: Config) -> None:
    grids = [m for m in playground.ledger.messages.values() if finished(playground.ledger, m.id)]
    grid = grids[0]
    async with running(playground, config) as (_, store):
        whole = await pixels(playground, grid)
        single = await pixels(playground, await press(playground, grid, "upscale 4"))
        assert np.array_equal(single, whole[56 * 4 :, 80 * 4 :])
        found = await store.history(search="red heart")
        assert len(found) == 4
        asked = await playground.slash("alice", "history", {})
        assert await asked.acknowledged is InteractionState.ACKNOWLEDGED
        shown: MessageRecord = await playground.wait(
            lambda ledger: listed(ledger, asked.message_id), timeout=10
        )
        assert shown.ephemeral


def listed(ledger: Ledger, message_id: int | None) -> MessageRecord | None:
    """Return the answer to /history once it names what was painted."""
    message = ledger.messages.get(message_id or 0)
    return message if message is not None and "red heart" in str(message.data) else None
