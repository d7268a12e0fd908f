"""What takes long before an answer: people see in time that the bot thinks, and then the answer,
each with the eyes that it is for.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot import canvases, image_prompt
from bot.acknowledging import THINK_SECONDS, Answer, thinking
from bot.app import App
from bot.arrivals import Arrivals, arrived
from bot.enclosed import EnclosedError, read_enclosed
from bot.playground import InteractionState, MessageRecord, PlayInteraction
from storage import StoreFull
from tests.asking import attach, press, use
from tests.bot_room import Room, open_room, results
from tests.chaos.c12_twice import BEFORE, noticed
from tests.test_bot_playground_support import png


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bot say that it thinks whenever it has to wait for anything."""
    monkeypatch.setattr("bot.acknowledging.THINK_SECONDS", 0.0)


def hold_writes(app: App, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let every transaction wait until the event is set, as a disk under load does."""
    database, free = app.services.store._database, asyncio.Event()
    write = database.write

    async def held(work: Any) -> Any:  # noqa: ANN401 - what the database takes
        await free.wait()
        return await write(work)

    monkeypatch.setattr(database, "write", held)
    return free


def left_thinking(room: Room) -> list[MessageRecord]:
    return [
        each
        for each in room.pg.ledger.messages.values()
        if each.loading and each.deleted_at is None
    ]


async def told(room: Room, ix: PlayInteraction) -> MessageRecord:
    """Wait for what its user reads in the end: in the answer, or in what follows it."""

    def found(_: object) -> MessageRecord | None:
        own = [ix.message_id, *ix.followups]
        records = [room.pg.ledger.messages[each] for each in own if each is not None]
        shown = [each for each in records if not each.loading and each.deleted_at is None]
        return shown[-1] if shown else None

    return await room.find(found)


async def test_a_store_that_is_held_up_lets_people_see_that_the_bot_thinks(
    room: Room, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    async with room.bot() as app:
        enqueue, free = app.services.store.enqueue_all, asyncio.Event()

        async def held(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - what the store takes
            await free.wait()
            return await enqueue(*args, **more)

        monkeypatch.setattr(app.services.store, "enqueue_all", held)
        ix = await room.imagine()
        assert room.answer(ix).loading
        assert not room.engine.submitted, "what is not on disk yet is not painted"
        free.set()
        grid = await room.result_of(ix)
        assert any("waiting, position 1" in each.data["content"] for each in grid.versions)
        assert not grid.loading
        assert len(results(room.pg.ledger)) == 1
        assert len(grid.custom_ids) > 8


async def test_a_canvas_that_waits_for_the_processor_lets_people_see_that_the_bot_thinks(
    room: Room, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    free, zoomed = threading.Event(), canvases.zoomed

    def held(*args: Any) -> Any:  # noqa: ANN401 - what the canvas is made of
        assert free.wait(20)
        return zoomed(*args)

    monkeypatch.setattr(canvases, "zoomed", held)
    async with room.bot():
        single = await room.result_of(await room.press("alice", await room.grid(), "upscale"))
        ix = await room.press("alice", single, "zoom2")
        assert ix.state is InteractionState.ACKNOWLEDGED
        assert room.answer(ix).loading
        free.set()
        wide = await room.result_of(ix)
        assert "zoomed out 2×" in wide.content
        assert len(results(room.pg.ledger)) == 3


async def test_a_refusal_after_thinking_is_for_the_asker_alone(
    room: Room, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    async with room.bot() as app:

        async def fail(*_: object, **__: object) -> None:
            await room.pg.wait(lambda _: left_thinking(room))
            raise StoreFull("the disk is full")

        monkeypatch.setattr(app.services.store, "enqueue_all", fail)
        ix = await room.imagine()
        sentence = await told(room, ix)
        assert "disk" in sentence.content
        assert sentence.ephemeral
        assert not left_thinking(room)
        assert not room.engine.submitted


async def test_a_refusal_is_told_even_where_its_thinking_cannot_be_taken_back(
    room: Room, at_once: None
) -> None:
    async with room.bot():
        room.pg.faults.status(403, "DELETE", "/webhooks/*")
        ix = await room.pg.slash("alice", "imagine", {"prompt": "a fox --ar 0:0"})
        assert "--ar" in (await told(room, ix)).content
        assert not left_thinking(room)


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
async def test_where_it_is_not_known_whether_people_see_it_the_answer_comes_all_the_same(
    room: Room, at_once: None, kind: str
) -> None:
    lose = getattr(room.pg.faults, kind)
    async with room.bot():
        lose("POST", "/interactions/*")
        await room.result_of(await room.pg.slash("alice", "imagine", {"prompt": "a red heart"}))
        lose("POST", "/interactions/*")
        refused = await room.pg.slash("alice", "imagine", {"prompt": "a fox --ar 0:0"})
        assert "--ar" in (await told(room, refused)).content
        panel = await use(room, "alice", "settings")
        before = panel.content
        lose("POST", "/interactions/*")
        await press(room, "alice", panel, "v1:set:u:quality", choose="2")
        await room.find(lambda _: panel if panel.content != before else None)
        assert len(results(room.pg.ledger)) == 1
        assert not left_thinking(room)


async def test_an_event_that_comes_twice_takes_nothing_back(room: Room, at_once: None) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(1)
        ix = await room.imagine()
        await room.shown(ix, lambda found: "position 1" in found.content)
        room.pg.replay(ix)
        later = await room.imagine("bob", "a blue fish")
        gate.open.set()
        assert (await room.result_of(ix)).deleted_at is None
        await room.result_of(later)
        await room.settled(app)
        assert len(room.engine.submitted) == 2
        answers = [each for each in room.pg.ledger.requests if each.route.endswith("/callback")]
        assert [each.status for each in answers] == [200, 200]


async def test_a_command_a_press_and_a_modal_that_come_twice_are_answered_once(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    with noticed() as repeats:
        async with room.bot():
            command = await room.imagine()
            grid = await room.result_of(command)
            single = await room.result_of(await room.press("alice", grid, "upscale", 1))
            opened = await room.press("alice", single, "remix")
            sent = await room.pg.submit("alice", opened, {"prompt": "a blue fish"})
            await room.result_of(sent)
            shown = await room.press("alice", grid, "info")
            twice = (command, opened, sent, shown)
            for number, ix in enumerate(twice, start=1):
                room.pg.replay(ix)
                await repeats.reach(number)
            await room.grid("bob", "a green tree")
    answers = [each.path for each in room.pg.ledger.requests if each.path.endswith("/callback")]
    assert len(answers) == len(set(answers)) == 6
    # Each stopped at the door; had one gone further, the table would have known it.
    stopped = [each.args for each in caplog.records if each.name == "bot.arrivals"]
    assert stopped == [(ix.id,) for ix in twice]
    assert BEFORE not in [each.msg for each in caplog.records]


async def test_what_was_taken_in_before_a_crash_leaves_nobody_waiting_for_words(
    room: Room, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    async with room.bot() as app:
        enqueue = app.services.store.enqueue_all

        async def again(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - what the store takes
            await enqueue(*args, **more)
            await room.pg.wait(lambda _: left_thinking(room))
            return await enqueue(*args, **more)

        monkeypatch.setattr(app.services.store, "enqueue_all", again)
        ix = await room.imagine()
        await room.pg.wait(lambda _: not left_thinking(room))
        assert room.answer(ix).deleted_at is not None


async def test_a_picture_that_comes_slowly_is_waited_for(
    room: Room, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    free = asyncio.Event()

    async def slow(attachment: Any) -> bytes:  # noqa: ANN401 - discord.py's attachment
        await free.wait()
        return await read_enclosed(attachment)

    monkeypatch.setattr(image_prompt, "read_enclosed", slow)
    async with room.bot():
        image = await attach(room, "alice", png(96, 96))
        asked = {
            "imagine": {"prompt": "a red heart", "image": image},
            "blend": {"image1": image, "image2": image},
        }
        made = []
        for command, options in asked.items():
            ix = await room.pg.slash("alice", command, options)
            assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
            assert room.answer(ix).loading
            made.append(ix)
        free.set()
        for ix in made:
            await room.result_of(ix)
        assert not left_thinking(room)


async def test_a_picture_that_never_comes_is_told_to_its_asker_alone(
    room: Room, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    async def lost(_: object) -> bytes:
        await room.pg.wait(lambda _: left_thinking(room))
        raise EnclosedError("The file did not come.")

    monkeypatch.setattr(image_prompt, "read_enclosed", lost)
    async with room.bot():
        image = await attach(room, "alice", png(96, 96))
        ix = await room.pg.slash("alice", "imagine", {"prompt": "a heart", "image": image})
        sentence = await told(room, ix)
        assert (sentence.content, sentence.ephemeral) == ("The file did not come.", True)
        assert not left_thinking(room)


@pytest.mark.parametrize(
    ("who", "command", "options", "says"),
    [
        ("alice", "prefer remix", {}, "Remix"),
        ("alice", "prefer suffix", {"suffix": "--tile"}, "--tile"),
        ("alice", "prefer option set", {"name": "foggy", "value": "in fog"}, "foggy"),
        ("alice", "random", {}, "How about"),
        ("alice", "imagine", {"prompt": "a {red, blue} fox"}, "2"),
        ("alice", "imagine", {"prompt": "a fox --stlye raw"}, "--style"),
        ("carol", "admin pause", {}, "ause"),
        ("carol", "admin ban", {"user": "BOB"}, "<@"),
        ("carol", "admin quota", {"user": "BOB", "seconds": "60"}, "60"),
    ],
)
async def test_a_disk_under_load_delays_no_answer_for_ones_own_eyes(
    room: Room,
    monkeypatch: pytest.MonkeyPatch,
    at_once: None,
    who: str,
    command: str,
    options: dict[str, str],
    says: str,
) -> None:
    bob = str(room.pg.people["bob"].id)
    given = {name: bob if value == "BOB" else value for name, value in options.items()}
    async with room.bot() as app:
        free = hold_writes(app, monkeypatch)
        ix = await room.pg.slash(who, command, given)
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        free.set()
        answer = await told(room, ix)
        assert answer.ephemeral
        assert says in answer.content
        assert not left_thinking(room)


async def test_a_disk_under_load_delays_no_press(
    room: Room, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    async with room.bot() as app:
        single = await room.result_of(await room.press("alice", await room.grid(), "upscale", 1))
        panel = await use(room, "alice", "settings")
        idea = await use(room, "alice", "random")
        before = panel.content, idea.content
        free = hold_writes(app, monkeypatch)
        liked = await room.press("alice", single, "fav")
        await press(room, "alice", panel, "v1:set:u:quality", choose="2")
        await press(room, "alice", idea, "v1:think:")
        assert (panel.content, idea.content) == before
        free.set()
        assert (await told(room, liked)).ephemeral
        await room.find(lambda _: panel if panel.content != before[0] else None)
        await room.find(lambda _: idea if idea.content != before[1] else None)
        assert not left_thinking(room)


async def test_a_question_answered_twice_starts_its_jobs_once_and_says_so(
    room: Room, at_once: None
) -> None:
    async with room.bot() as app:
        question = await told(room, await room.imagine("alice", "a {red, blue} fox"))
        first = await press(room, "alice", question, "v1:perm:")
        await room.result_of(first)
        again = await told(room, await press(room, "alice", question, "v1:perm:"))
        assert again.ephemeral
        await room.settled(app)
        assert len(results(room.pg.ledger)) == 2
        assert not left_thinking(room)


class Asked:
    """As much of an interaction as thinking needs; `told` is set once Discord hears of it."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.extras: dict[str, Any] = {}
        self.response = self
        self.told = asyncio.Event()

    def is_done(self) -> bool:
        return self.told.is_set()

    async def defer(self, *, thinking: bool, ephemeral: bool) -> None:
        assert thinking
        assert not ephemeral
        self.told.set()


async def test_several_works_share_the_time_that_one_answer_has() -> None:
    asked: Any = Asked(1)
    assert await thinking(asked, asyncio.sleep(0, "quick")) == "quick"
    assert not asked.told.is_set()
    # Everything before took its time, each thing less than would be noticed by itself.
    asked.extras["arrived"] -= THINK_SECONDS
    async with asyncio.timeout(THINK_SECONDS / 2):
        assert await thinking(asked, asked.told.wait(), Answer.MESSAGE)


def test_the_time_counts_from_the_arrival() -> None:
    asked: Any = Asked(2)
    before = time.monotonic()
    first = arrived(asked)
    assert before <= first <= time.monotonic()
    assert arrived(asked) == first


def test_an_interaction_is_let_in_once_by_all_its_doors() -> None:
    arrivals, asked, again = Arrivals(), Asked(3), Asked(3)
    one: Any = asked
    assert [arrivals.is_first(one) for _ in range(3)] == [True] * 3
    other: Any = again
    assert not arrivals.is_first(other)
    assert arrivals.is_first(one)
