"""What follows a forgetting survives restarts, buttons that stay have an answer, and logs hold no
words.
"""

import io
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.logs import configure
from bot.playground import MessageRecord
from bot.talk import Passing
from diffusion import NumericalError
from storage import JobState, NewJob, NewPicture, Store
from tests.asking import answer, attach, press, use
from tests.bot_room import Room, job_id, open_room, results


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def gone(room: Room, *messages: MessageRecord) -> None:
    """Wait until messages are deleted."""
    await room.pg.wait(lambda _: all(each.deleted_at is not None for each in messages))


async def test_messages_are_deleted_at_the_next_start(room: Room) -> None:
    async with room.bot() as app:
        mine = [await room.grid("alice", f"needle {number}") for number in range(2)]
        theirs = await room.grid("bob", "a blue fish")
        await room.settled(app)
        # All that is certain when the process dies right after the press.
        await app.services.store.forget(room.pg.people["alice"].id)
        assert all(each.deleted_at is None for each in mine)
    async with room.bot() as app:
        await gone(room, *mine)
        assert theirs.deleted_at is None
        await room.pg.wait(lambda _: True)
    async with await Store.open(room.folder / "data") as store:
        assert await store.aftermath.messages() == []


async def test_a_job_that_was_being_posted_is_forgotten_when_it_has_arrived(room: Room) -> None:
    async with room.bot() as app:
        await room.grid("alice", "a needle")
        await room.settled(app)
        (job,) = await app.services.store.history(requester_id=room.pg.people["alice"].id)
    async with await Store.open(room.folder / "data") as store:
        asked = {name: getattr(job, name) for name in NewJob.__dataclass_fields__}
        again = (await store.enqueue(NewJob(**asked | {"interaction_id": 1}))).job
        claimed = await store.claim(again.id)
        assert claimed is not None
        pictures = [
            NewPicture(
                index=each.index,
                data=await store.read_picture(each),
                width=each.width,
                height=each.height,
                media_type=each.media_type,
            )
            for each in await store.pictures(job.id)
        ]
        rendered = await store.rendered(claimed, pictures, device_seconds=1)
        await store.begin_post(rendered)
        forgotten = await store.forget(job.requester_id)
        assert forgotten.unfinished == (again.id,)
    async with room.bot():
        await room.pg.wait(lambda ledger: len(results(ledger)) == 2)
        await gone(room, *results(room.pg.ledger))
    async with await Store.open(room.folder / "data") as store:
        left = await store.job(again.id)
        assert left is not None
        assert (left.state, left.prompt, left.requester_id) == (JobState.POSTED, "", 0)
        assert await store.aftermath.unfinished() == {}
        assert (await store.export(job.requester_id)).jobs == ()


async def test_what_fails_for_now_is_tried_again_and_said(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a needle")
        await room.settled(app)
        delete, failing = app.services.talk.delete, True

        async def sometimes(channel_id: int, message_id: int) -> None:
            if failing:
                raise Passing("503")
            await delete(channel_id, message_id)

        monkeypatch.setattr(app.services.talk, "delete", sometimes)
        asked = await use(room, "alice", "forget-me")
        await press(room, "alice", asked, "v1:forget:yes")
        await room.find(lambda _: asked if "Nothing is kept" in asked.content else None)
        # The picture and its ping.
        assert "0 of 2 messages were removed" in asked.content
        assert "2 more will be removed later." in asked.content
        assert grid.deleted_at is None
        failing = False
        app.services.remover.wake()
        await gone(room, grid)


async def test_buttons_of_a_forgotten_job_have_an_answer(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a needle")
        await room.settled(app)
        await app.services.store.forget(room.pg.people["alice"].id)
        known = set(room.pg.ledger.messages)
        for custom_id in grid.custom_ids:
            for who in ("alice", "bob", "carol"):
                ix = await room.pg.press(who, grid.id, custom_id)
                await ix.acknowledged
                if ix.message_id not in (None, grid.id):
                    said = answer(room, ix)
                    embeds = said.data.get("embeds")
                    assert said.content or embeds, custom_id
                    assert "needle" not in f"{said.content} {embeds}", custom_id
        assert len(set(room.pg.ledger.messages) - known) > 20
        await room.settled(app)
        assert len(results(room.pg.ledger)) == 1


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Collect what the bot logs at INFO, as it would write it."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure(level="info", style="json", stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


async def test_logs_hold_no_words_of_anybody(room: Room, logged: io.StringIO) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a needle in hay --no needles")
        await room.result_of(await room.press("alice", grid, "upscale", 1))
        await room.result_of(await room.press("bob", grid, "vary", 2))
        # What fails, what is refused, what is mistyped and what is looked for.
        room.engine.fail(lambda: NumericalError("not finite"), word="needle")
        failed = await room.imagine("alice", "a broken needle")
        await room.shown(failed, lambda found: "computed no picture" in found.content)
        await use(room, "alice", "imagine", prompt="a needle --nonsense 3 {needle")
        await use(room, "alice", "history", search="needle")
        await use(room, "alice", "shorten", prompt="a very needle needle")
        image = await attach(room, "alice", b"needle is no picture", "needle.png")
        await use(room, "alice", "verify", image=image)
        await room.settled(app)
        asked = await use(room, "alice", "forget-me")
        await press(room, "alice", asked, "v1:forget:yes")
        await room.find(lambda _: asked if "Nothing is kept" in asked.content else None)
    lines = logged.getvalue()
    assert lines.count(" posted as ") == 3
    assert job_id(grid) in lines
    assert "somebody was forgotten" in lines
    assert "needle" not in lines.lower()
