"""/lineage: the family of a picture as a tree that fits, with links, and nothing foreign in it."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.escape import utf16_length
from bot.jobs import Asked, imagine_job
from bot.texts_lineage import Leaf, tree
from diffusion import Params
from storage import JobKind, Store
from tests.asking import use, use_at
from tests.bot_room import Room, job_id, job_of, open_room

WHEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def test_a_tree_shows_where_a_picture_comes_from_and_what_came_of_it(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart")
        varied = await room.result_of(await room.press("bob", grid, "vary", 3))
        single = await room.result_of(await room.press("bob", varied, "upscale", 2))
        other = await room.result_of(await room.press("alice", grid, "upscale", 1))
        await room.settled(app)
        shown = await use(room, "bob", "lineage", job=job_id(varied))
        assert shown.ephemeral
        lines = shown.content.split("\n")
        assert len(lines) == 3
        assert lines[0].startswith(f"`{job_id(grid)}` a grid")
        assert "`a red heart`" in lines[0]
        assert lines[1].startswith(f"└ ➤ `{job_id(varied)}` variations of picture 3")
        assert lines[2].startswith(f"\u2003\u2003└ `{job_id(single)}` picture 2 alone")
        for line, message in zip(lines, (grid, varied, single), strict=True):
            link = f"/channels/{room.pg.guild_id}/{message.channel_id}/{message.id}"
            assert line.endswith(link)
        whole = await use(room, "bob", "lineage", job=job_id(grid))
        lines = whole.content.split("\n")
        assert [line.split("`")[0] for line in lines] == ["➤ ", "├ ", "│\u2003└ ", "└ "]
        assert f"`{job_id(other)}`" in lines[3]


async def test_a_picture_without_a_family(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice")
        await room.settled(app)
        shown = await use(room, "alice", "lineage", job=job_id(grid))
        assert "made from no other picture" in shown.content
        link = f"https://discord.com/channels/{room.pg.guild_id}/{grid.channel_id}/{grid.id}"
        assert (await use(room, "alice", "lineage", job=link)).content == shown.content


async def test_what_was_deleted_is_marked_and_has_no_link(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice")
        varied = await room.result_of(await room.press("alice", grid, "vary", 1))
        await room.settled(app)
        await app.services.store.delete_pictures(job_id(grid))
        shown = await use(room, "alice", "lineage", job=job_id(varied))
        first, second = shown.content.split("\n")
        assert "deleted" in first
        assert "https://" not in first
        assert "https://" in second


async def test_foreign_and_private_relatives_are_lines_without_names(room: Room) -> None:
    async with room.bot() as app:
        direct = room.pg.direct_messages("alice")
        ix = await room.pg.slash("alice", "imagine", {"prompt": "a secret"}, channel_id=direct)
        secret = await room.result_of(ix)
        await room.settled(app)
        shown = await use(room, "alice", "show", job=job_id(secret))
        varied = await room.result_of(await room.press("alice", shown, "vary", 1))
        await room.settled(app)
        tree_of_bob = await use(room, "bob", "lineage", job=job_id(varied))
        first, second = tree_of_bob.content.split("\n")
        assert first == "a picture from elsewhere"
        assert job_id(varied) in second
        assert "secret" in (await use(room, "alice", "lineage", job=job_id(varied))).content
        for who, where in (("bob", room.pg.channel_id), ("bob", room.pg.direct_messages("bob"))):
            none = await use_at(room, who, where, "lineage", job=job_id(secret))
            assert "There is no job" in none.content


async def test_a_private_job_is_its_requesters_alone(room: Room) -> None:
    async with room.bot() as app:
        job = await private_job(room, app.services.store, "a secret")
        for command in ("lineage", "show"):
            assert "There is no job" in (await use(room, "carol", command, job=job)).content
        assert "secret" in (await use(room, "alice", "lineage", job=job)).content
        alice = str(room.pg.people["alice"].id)
        assert "secret" not in (await use(room, "bob", "history", user=alice)).content
        assert "secret" in (await use(room, "alice", "history")).content


async def private_job(room: Room, store: Store, prompt: str) -> str:
    """Keep a private job of alice's that ended without pictures."""
    asked = Asked(
        requester_id=room.pg.people["alice"].id,
        guild_id=room.pg.guild_id,
        channel_id=room.pg.channel_id,
        interaction_id=7,
        locale="en-US",
    )
    new = imagine_job(Params(prompt=prompt), asked, prompt=prompt)
    job = (await store.enqueue(replace(new, details='{"private":true}'))).job
    await store.cancel(job.id)
    return job.id


@pytest.mark.parametrize("job", ["nothing", "aaaaaaaaaaaaa", "https://x/channels/1/2/3", "`@here`"])
async def test_lineage_of_what_is_not_there(room: Room, job: str) -> None:
    async with room.bot():
        answer = await use(room, "bob", "lineage", job=job)
        assert answer.ephemeral
        assert "There is no job" in answer.content
        assert "@here" not in answer.content


async def test_the_job_completes_with_ones_own(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart")
        await room.settled(app)
        ix = await room.pg.autocomplete("alice", "lineage", {"job": "red"}, "job")
        await ix.acknowledged
        assert [choice["value"] for choice in ix.choices] == [job_id(grid)]
        assert (await job_of(app, grid)).kind is JobKind.IMAGINE


def leaf(number: int, guides: tuple[bool, ...] = (), *, is_this: bool = False) -> Leaf:
    """Return a line of a tree."""
    return Leaf(
        guides=guides,
        is_this=is_this,
        job_id=f"job{number:010}",
        kind="vary",
        index=1,
        created_at=WHEN + timedelta(seconds=number),
        prompt="`@everyone` **x**",
        link="https://discord.com/channels/1234567890123456789/1234567890123456789/1",
    )


@pytest.mark.parametrize("here", [0, 1, 30, 98, 99])
def test_a_family_too_large_for_a_message_is_cut_around_the_picture(here: int) -> None:
    leaves = [leaf(number, (False,) * number, is_this=number == here) for number in range(100)]
    shown = tree(leaves)
    assert utf16_length(shown) <= 2000
    assert f"➤ `job{here:010}`" in shown
    assert "@everyone" not in shown
    kept = shown.count("`job")
    hidden = sum(map(int, re.findall(r"… and (\d+) more", shown))) + shown.count("… and one more")
    assert kept + hidden == 100
    assert kept >= 8


def test_states_are_said_and_strange_kinds_do_no_harm() -> None:
    shown = tree([replace(leaf(1), kind="of another version", state="failed"), leaf(2, (False,))])
    assert "failed" in shown
    assert "a grid" in shown
