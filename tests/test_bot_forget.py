"""/my-data and /forget-me: everything comes along, and everything goes; others lose nothing."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.commands.my_data import _pack
from bot.playground import MessageRecord
from storage import JobState, Scope, StoreDamaged
from tests.asking import attach, press, use
from tests.bot_room import QUICK, Room, job_id, open_room, results


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def forget(room: Room, who: str) -> MessageRecord:
    """Use /forget-me, say yes, and return how it ended."""
    asked = await use(room, who, "forget-me")
    assert asked.ephemeral
    assert "no way back" in asked.content
    await press(room, who, asked, "v1:forget:yes")
    return await room.find(lambda _: asked if "Nothing is kept" in asked.content else None)


async def test_everything_of_mine_goes_and_nothing_of_others(room: Room) -> None:
    async with room.bot() as app:
        store, alice = app.services.store, room.pg.people["alice"].id
        mine = await room.grid("alice", "a needle in hay")
        theirs = await room.grid("bob", "a blue fish")
        varied = await room.result_of(await room.press("bob", mine, "vary", 1))
        single = await room.result_of(await room.press("alice", theirs, "upscale", 2))
        await room.settled(app)
        await store.people.set_macro(alice, "wide", "--ar 3:2")
        await store.people.set_preference(Scope.USER, alice, "raw", True)
        await store.people.favourite(alice, job_id(theirs), 1, on=True)
        said = await forget(room, "alice")
        # Both pictures, and the ping about the first.
        assert "3 of 3 messages were removed" in said.content
        assert not said.custom_ids
        assert mine.deleted_at is not None
        assert single.deleted_at is not None
        assert theirs.deleted_at is None
        assert varied.deleted_at is None
        export = await store.export(alice)
        assert not (export.macros or export.preferences or export.favourites or export.pictures)
        assert not export.jobs
        left = await store.job(job_id(mine))
        assert left is not None
        assert (left.prompt, left.requester_id) == ("", 0)
        assert left.deleted_at is not None
        assert "No pictures" in (await use(room, "alice", "history")).content
        # Bob's own, made from hers, is whole.
        await room.result_of(await room.press("bob", varied, "upscale", 1))
        await room.settled(app)
        assert (await store.counts()).failed == 0


async def test_what_waits_and_runs_is_cancelled(room: Room) -> None:
    async with room.bot(QUICK + "[queue]\nmax_running = 1\n") as app:
        gate = room.engine.hold(2)
        running = await room.imagine("alice", "a red heart")
        await gate.reached.wait()
        waiting = await room.imagine("alice", "a green tree")
        other = await room.imagine("bob", "a fish")
        await forget(room, "alice")
        assert room.answer(running).deleted_at is not None
        assert room.answer(waiting).deleted_at is not None
        gate.open.set()
        await room.result_of(other)
        await room.settled(app)
        prompts = [params.prompt for params in room.engine.finished]
        assert prompts == ["a fish"]


async def test_the_question_works_after_a_restart_and_asks_only_for_the_presser(room: Room) -> None:
    async with room.bot() as app:
        await room.grid("alice")
        await room.settled(app)
        asked = await use(room, "bob", "forget-me")
    async with room.bot() as app:
        await press(room, "bob", asked, "v1:forget:yes")
        await room.find(lambda _: asked if "0 of 0 messages" in asked.content else None)
        kept = await app.services.store.history(requester_id=room.pg.people["alice"].id)
        assert [job.state for job in kept] == [JobState.POSTED]


async def test_messages_that_stay_are_counted(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice")
        other = await room.grid("alice", "a tree")
        await room.settled(app)
        room.pg.delete_message(grid.id)
        said = await forget(room, "alice")
        # Two pings beside them.
        assert "3 of 4 messages were removed" in said.content
        assert "gone already" in said.content
        assert other.deleted_at is not None


async def test_what_is_just_being_sent_is_forgotten_when_it_has_arrived(room: Room) -> None:
    async with room.bot() as app:
        store, alice = app.services.store, room.pg.people["alice"].id
        asked = await use(room, "alice", "forget-me")
        gate = room.engine.hold(1)
        await room.imagine("alice", "a needle")
        await gate.reached.wait()
        held = store.forget
        first = True

        async def at_the_wrong_moment(user_id: int, *, until: int | None = None) -> object:
            nonlocal first
            if first:
                first = False
                gate.open.set()
                while (await store.counts()).running != 0:
                    pass
            return await held(user_id, until=until)

        store.forget = at_the_wrong_moment  # type: ignore[method-assign,assignment]
        await press(room, "alice", asked, "v1:forget:yes")
        await room.find(lambda _: asked if "Nothing is kept" in asked.content else None)
        export = await store.export(alice)
        assert not (export.jobs or export.pictures)
        assert all(each.deleted_at is not None for each in results(room.pg.ledger))
        assert await store.aftermath.unfinished() == {}


async def unpacked(room: Room, message: MessageRecord) -> tuple[dict[str, object], list[str]]:
    """Read what /my-data sent: the data, and the names of the pictures."""
    files = {each["filename"]: await room.pg.read_attachment(each) for each in message.attachments}
    data = json.loads(files["easel-my-data.json"])
    pictures = files.get("easel-my-data-pictures.zip")
    if pictures is None:
        return data, []
    with zipfile.ZipFile(io.BytesIO(pictures)) as archive:
        assert archive.testzip() is None
        return data, sorted(archive.namelist())


async def test_my_data_is_all_there_for_my_eyes_alone(room: Room) -> None:
    async with room.bot() as app:
        store, alice = app.services.store, room.pg.people["alice"].id
        mine = await room.grid("alice", "a needle `in` hay")
        theirs = await room.grid("bob", "a blue fish")
        await room.settled(app)
        await store.people.set_macro(alice, "wide", "--ar 3:2")
        await store.people.set_preference(Scope.USER, alice, "stylize", 50)
        await store.people.favourite(alice, job_id(theirs), 1, on=True)
        said = await use(room, "alice", "my-data")
        assert said.ephemeral
        assert "1 jobs, 5 pictures" in said.content
        assert "1 settings, 1 shortcuts, 1 favourites" in said.content
        data, names = await unpacked(room, said)
        assert data["macros"] == {"wide": "--ar 3:2"}
        assert data["preferences"] == {"stylize": 50}
        assert "a needle `in` hay" in json.dumps(data, ensure_ascii=False)
        assert "a blue fish" not in json.dumps(data)
        assert names == [f"easel-{job_id(mine)}-{index}.png" for index in range(5)]


async def test_my_data_of_nobody(room: Room) -> None:
    async with room.bot():
        said = await use(room, "carol", "my-data")
        assert "0 jobs, 0 pictures" in said.content
        data, names = await unpacked(room, said)
        assert data["jobs"] == []
        assert names == []


async def test_what_does_not_fit_is_said(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async with room.bot() as app:
        await room.grid("alice", "a needle")
        await room.settled(app)
        services, alice = app.services, room.pg.people["alice"].id
        export = await services.store.export(alice)
        whole = await _pack(services, export, limit=10 * 2**20)
        assert whole is not None
        assert whole.pictures == 5
        data, archive = (len(data) for _, data in whole.files)
        for limit in (archive + 2000, archive - 1000, data, data - 1, data // 2, 100):
            pack = await _pack(services, export, limit=limit)
            assert pack is None or all(len(data) <= limit for _, data in pack.files)
            assert pack is None or pack.pictures <= 5
        assert await _pack(services, export, limit=100) is None
        zipped = await _pack(services, export, limit=data - 1)
        assert zipped is not None
        assert zipped.files[0][0] == "easel-my-data.zip"

        async def damaged(*_: object) -> bytes:
            raise StoreDamaged("gone")

        monkeypatch.setattr(services.store, "read_picture", damaged)
        said = await use(room, "alice", "my-data")
        assert "room for 0 of the pictures" in said.content


async def test_a_copy_shows_its_job_again(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a needle")
        await room.settled(app)
        image = await attach(room, "alice", await room.pg.read_attachment(grid.attachments[0]))
        found = await use(room, "alice", "show", image=image)
        assert found.ephemeral
        assert f"It is of job `{job_id(grid)}`" in found.content
        await room.find(
            lambda ledger: next(
                (
                    each
                    for each in ledger.messages.values()
                    if each.id not in (grid.id, found.id)
                    and each.attachments
                    and not each.ephemeral
                    and job_id(each) == job_id(grid)
                ),
                None,
            )
        )
        stranger = await attach(room, "bob", b"\x89PNG no")
        refused = await use(room, "bob", "show", image=stranger)
        assert refused.ephemeral
        assert "Say which one" in (await use(room, "bob", "show")).content
