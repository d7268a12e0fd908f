"""Every message of ours that holds somebody's words or pictures, or names them, goes with them:
copies in direct messages, pings, notices to moderators, what /show posted. Nobody else's does.

The ledger of the playground is the judge: what is left there is searched for needles.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.app import App
from bot.playground import MessageRecord, Permission
from bot.preferences import Name
from diffusion import NumericalError
from storage import Scope, SentKind, StoreFull
from tests.asking import press, use
from tests.bot_room import QUICK, Room, job_id, open_room, results
from tests.test_storage_support import sql


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


class Noted:
    """Hears which messages are noted, as soon as they are."""

    def __init__(self, app: App) -> None:
        self._store = app.services.store
        self._note = self._store.sent.note
        self._changed = asyncio.Event()
        self.messages: dict[int, SentKind] = {}
        vars(self._store.sent)["note"] = self._hear

    async def _hear(
        self, kind: SentKind, *, job_id: str, user_id: int, channel_id: int, message_id: int
    ) -> bool:
        done = await self._note(
            kind, job_id=job_id, user_id=user_id, channel_id=channel_id, message_id=message_id
        )
        self.messages[message_id] = kind
        self._changed.set()
        return done

    async def all_of(self, *messages: MessageRecord) -> None:
        """Wait until messages are noted."""
        async with asyncio.timeout(8):
            while not {each.id for each in messages} <= set(self.messages):
                self._changed.clear()
                await self._changed.wait()


def moderated(room: Room) -> str:
    return f"{QUICK}[moderation]\nreport_channel = {room.pg.channels['gallery']}\n"


def traces(room: Room, who: str, needle: str) -> set[int]:
    """Return every message of ours left for others to see that has a person's words or id."""
    words = (needle, f"<@{room.pg.people[who].id}>")
    return {
        each.id
        for each in room.pg.ledger.messages.values()
        if each.deleted_at is None
        and not each.ephemeral
        and any(word in json.dumps(each.data) for word in words)
    }


def is_gone(*messages: MessageRecord) -> bool:
    """Say whether all of these are deleted."""
    return all(each.deleted_at is not None for each in messages)


async def forget(room: Room, who: str) -> MessageRecord:
    asked = await use(room, who, "forget-me")
    await press(room, who, asked, "v1:forget:yes")
    return await room.find(lambda _: asked if "Nothing is kept" in asked.content else None)


async def home(room: Room, who: str, of: MessageRecord) -> MessageRecord:
    """Wait for a copy of a picture in somebody's direct messages."""
    channel_id = room.pg.direct_messages(who)
    return await room.find(
        lambda ledger: next(
            (
                each
                for each in results(ledger)
                if each.channel_id == channel_id and job_id(each) == job_id(of)
            ),
            None,
        )
    )


async def notice(room: Room, who: str, picture: MessageRecord) -> MessageRecord:
    """Report a picture; return what the moderators read."""
    known = set(room.pg.ledger.messages)
    await room.press(who, picture, "report")
    return await room.find(
        lambda ledger: next(
            (
                each
                for each in ledger.messages.values()
                if each.id not in known and each.content.startswith("Report ")
            ),
            None,
        )
    )


async def shown_again(room: Room, who: str, picture: MessageRecord) -> MessageRecord:
    ix = await room.pg.slash(who, "show", {"job": job_id(picture)})
    await ix.acknowledged
    return await room.result_of(ix)


def ping(room: Room, picture: MessageRecord) -> MessageRecord:
    return next(
        each
        for each in room.pg.ledger.messages.values()
        if (each.data.get("message_reference") or {}).get("message_id") == str(picture.id)
    )


async def single(room: Room, who: str, of: MessageRecord) -> MessageRecord:
    """Post one picture alone: only under those is there a button to report."""
    return await room.result_of(await room.press(who, of, "upscale", 1))


async def test_all_that_holds_her_words_goes_wherever_it_was_sent(room: Room) -> None:
    async with room.bot(moderated(room)) as app:
        noted = Noted(app)
        for who in ("alice", "bob"):
            person = room.pg.people[who].id
            await app.services.store.people.set_preference(Scope.USER, person, Name.DM, True)
        hers = await room.grid("alice", "a needle in hay")
        his = await room.grid("bob", "a blue fish")
        her_single, his_single = await single(room, "alice", hers), await single(room, "bob", his)
        await room.settled(app)
        went = [await home(room, "alice", hers), ping(room, hers)]
        stayed = [await home(room, "bob", his), ping(room, his)]
        # What others had of hers, she of others', and others of each other's.
        for who, picture, pile in (
            ("bob", hers, went),
            ("alice", his, went),
            ("carol", his, stayed),
        ):
            await room.pg.react(who, picture.id, "✉️")
            pile.append(await home(room, who, picture))
            pile.append(await shown_again(room, who, picture))
        went += [await notice(room, "bob", her_single), await notice(room, "alice", his_single)]
        stayed.append(await notice(room, "carol", his_single))
        await noted.all_of(*went, *stayed)
        assert len({each.id for each in (*went, *stayed)}) == 13
        assert traces(room, "alice", "needle") >= {hers.id, her_single.id}
        said = await forget(room, "alice")
        # Grid, single picture, a copy of it that went home as well, and all of the above.
        assert "11 of 11 messages were removed" in said.content
        assert is_gone(hers, her_single, *went)
        assert traces(room, "alice", "needle") == set()
        assert not any(map(is_gone, (his, his_single, *stayed)))
        assert await app.services.store.aftermath.messages() == []
        kept = (await app.services.store.export(room.pg.people["bob"].id)).messages
        assert {each.message_id for each in kept} >= {each.id for each in stayed[:2]}
    marks = sql(room.folder / "data", "SELECT job_id, user_id FROM sent_message")
    assert marks
    assert not {job_id(hers), job_id(her_single), room.pg.people["alice"].id} & {
        each for mark in marks for each in mark
    }


async def test_what_moderators_remove_goes_wherever_it_was_shown_again(room: Room) -> None:
    async with room.bot(moderated(room)) as app:
        noted = Noted(app)
        picture = await single(room, "alice", await room.grid("alice", "a needle"))
        other = await room.grid("bob", "a blue fish")
        await room.settled(app)
        await room.pg.react("bob", picture.id, "✉️")
        copy, again = await home(room, "bob", picture), await shown_again(room, "carol", picture)
        stays, told = await shown_again(room, "carol", other), await notice(room, "bob", picture)
        await noted.all_of(copy, again, stays, told)
        await press(room, "carol", told, "v1:rrm:")
        await room.pg.wait(lambda _: is_gone(picture, copy, again) or None)
        assert not any(map(is_gone, (other, stays, told)))


async def test_they_go_after_a_restart_too(room: Room) -> None:
    async with room.bot() as app:
        noted = Noted(app)
        hers, his = await room.grid("alice", "a needle"), await room.grid("bob", "a fish")
        await room.settled(app)
        await room.pg.react("bob", hers.id, "✉️")
        copy = await home(room, "bob", hers)
        await noted.all_of(copy)
        await app.services.store.forget(room.pg.people["alice"].id)
        assert not is_gone(copy)
    async with room.bot():
        await room.pg.wait(lambda _: not traces(room, "alice", "needle"))
        assert is_gone(copy)
        assert not is_gone(ping(room, his))


async def test_results_and_sentences_that_found_another_place_go(room: Room) -> None:
    async with room.bot() as app:
        # A message of its own, since that of the job is gone.
        room.engine.fail(lambda: NumericalError("not finite"), step=2, word="broken")
        gate = room.engine.hold(1)
        ix = await room.imagine("alice", "a broken needle")
        await gate.reached.wait()
        room.pg.delete_message(room.answer(ix).id)
        gate.open.set()
        word = await room.find(
            lambda ledger: next(
                (each for each in ledger.messages.values() if "computed no" in each.content), None
            )
        )
        # To her direct messages, since the channel takes nothing.
        gate = room.engine.hold(1)
        ix = await room.imagine("alice", "another needle")
        await gate.reached.wait()
        room.pg.delete_message(room.answer(ix).id)
        room.pg.deny(Permission.SEND_MESSAGES)
        gate.open.set()
        channel_id = room.pg.direct_messages("alice")
        result = await room.find(
            lambda ledger: next(
                (each for each in results(ledger) if each.channel_id == channel_id), None
            )
        )
        await room.settled(app)
        assert {word.id, result.id} <= traces(room, "alice", "needle")
        await forget(room, "alice")
        assert is_gone(word)
        assert is_gone(result)
        assert traces(room, "alice", "needle") == set()


async def test_a_copy_that_was_on_its_way_goes_as_soon_as_it_is_there(room: Room) -> None:
    async with room.bot() as app:
        alice, talk = room.pg.people["alice"].id, app.services.talk
        await app.services.store.people.set_preference(Scope.USER, alice, Name.DM, True)
        direct = talk.direct

        async def forgotten_meanwhile(user_id: int) -> int:
            await app.services.store.forget(alice)
            return await direct(user_id)

        vars(talk)["direct"] = forgotten_meanwhile
        await room.grid("alice", "a needle")
        channel_id = room.pg.direct_messages("alice")
        copy = await room.find(
            lambda ledger: next(
                (each for each in ledger.messages.values() if each.channel_id == channel_id), None
            )
        )
        await room.pg.wait(lambda _: is_gone(copy))
        await room.settled(app)
        app.services.remover.wake()
        await room.pg.wait(lambda _: not traces(room, "alice", "needle"))


async def test_what_is_deleted_anyhow_is_no_longer_noted(room: Room) -> None:
    async with room.bot() as app:
        noted = Noted(app)
        grid = await room.grid("alice", "a needle")
        await room.settled(app)
        for who in ("alice", "bob"):
            await room.pg.react(who, grid.id, "✉️")
        mine, theirs = await home(room, "alice", grid), await home(room, "bob", grid)
        await noted.all_of(mine, theirs)
        asked = await room.pg.menu("alice", mine.id, "Delete")
        await asked.acknowledged
        question = room.answer(asked)
        await press(room, "alice", question, "v1:yes:")
        await room.pg.wait(lambda _: is_gone(mine))
        await room.pg.wait(lambda _: is_gone(grid))
        await room.find(lambda _: question if not question.custom_ids else None)
        export = await app.services.store.export(room.pg.people["alice"].id)
        left = {each.message_id for each in export.messages}
        assert left == {ping(room, grid).id, theirs.id}
        # What others were sent before it was deleted is still found.
        await forget(room, "alice")
        assert is_gone(theirs)


async def test_a_full_disk_only_makes_the_note_late(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room.bot() as app:
        note, tries = app.services.store.sent.note, 0

        async def full_at_first(
            kind: SentKind, *, job_id: str, user_id: int, channel_id: int, message_id: int
        ) -> bool:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise StoreFull("no room")
            return await note(
                kind, job_id=job_id, user_id=user_id, channel_id=channel_id, message_id=message_id
            )

        monkeypatch.setattr(app.services.store.sent, "note", full_at_first)
        grid = await room.grid("alice", "a needle")
        await room.settled(app)
        assert tries == 2
        await forget(room, "alice")
        assert is_gone(ping(room, grid))


async def test_what_died_before_it_was_noted_is_not_found(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room.bot() as app:

        async def never(*_: object, **__: object) -> bool:
            raise asyncio.CancelledError

        monkeypatch.setattr(app.services.store.sent, "note", never)
        grid = await room.grid("alice", "a needle")
        lost = await room.find(
            lambda ledger: next(
                (each for each in ledger.messages.values() if each.data.get("message_reference")),
                None,
            )
        )
        await room.settled(app)
        await forget(room, "alice")
        assert is_gone(grid)
        assert not is_gone(lost)


async def test_a_moderator_who_goes_leaves_what_they_decided(room: Room) -> None:
    async with room.bot(moderated(room)) as app:
        noted = Noted(app)
        picture = await single(room, "alice", await room.grid("alice", "a heart"))
        told = await notice(room, "bob", picture)
        await noted.all_of(told)
        await room.press("carol", told, "rkeep")
        await room.pg.wait(lambda _: not told.custom_ids)
        await forget(room, "carol")
        assert not is_gone(told)
        assert f"<@{room.pg.people['carol'].id}>" in told.content
        await forget(room, "bob")
        assert is_gone(told)
        # The report itself stays, without him.
        (left,) = await app.services.store.community.reports(room.pg.guild_id, open_only=False)
        assert (left.reporter_id, left.settled_by, left.verdict) == (0, 0, "rkeep")
        assert not is_gone(picture)


async def test_my_data_tells_of_messages_and_of_what_is_left_of_the_quota(room: Room) -> None:
    async with room.bot(moderated(room)) as app:
        noted = Noted(app)
        grid = await room.grid("alice", "a needle")
        await room.settled(app)
        await room.pg.react("bob", grid.id, "✉️")
        copy = await home(room, "bob", grid)
        told = await notice(room, "bob", await single(room, "alice", grid))
        await noted.all_of(copy, told)
        said = await use(room, "alice", "my-data")
        assert "2 messages beside those of the jobs" in said.content
        assert "of the quota" not in said.content
        data = await read(room, said)
        pinged, copied = data["messages"]
        assert (pinged["kind"], pinged["message_id"]) == ("ping", ping(room, grid).id)
        assert copied == {"kind": "copy", "job_id": job_id(grid), "sent_at": copied["sent_at"]}
        assert data["used"] is None
        spent = sum(job["device_seconds"] or 0 for job in data["jobs"])
        assert spent > 0
        await forget(room, "alice")
        said = await use(room, "alice", "my-data")
        assert "s of the quota of 20" in said.content
        assert "beside those" not in said.content
        data = await read(room, said)
        (seconds,) = data.pop("used")["seconds"].values()
        assert seconds == pytest.approx(spent)
        assert not any(value for name, value in data.items() if name != "user_id")


async def read(room: Room, message: MessageRecord) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(await room.pg.read_attachment(message.attachments[0]))
    return data
