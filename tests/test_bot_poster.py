"""The posting ladder: one message, whatever breaks in between, and at most the requester's ping."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import discord
import pytest

from bot import poster as poster_module
from bot.playground import Permission
from bot.poster import Poster, is_editable, nonce_of
from storage import Job, JobState
from tests.bot_desk import Desk, delivered, met, open_desk, pings, results, settings

POST = "/channels/*/messages"
PATCH = "/channels/*/messages/*"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as opened:
        yield opened


async def post(desk: Desk, job: Job, *, poster: Poster | None = None, again: bool = False) -> Job:
    """Post a job to its end and return how it is then."""
    poster = poster or desk.poster()
    poster.submit(job, look_first=again)
    await delivered(poster)
    return await desk.job(job.id)


def alice(desk: Desk) -> int:
    return desk.pg.people["alice"].id


async def test_the_progress_message_becomes_the_result(desk: Desk) -> None:
    job = await desk.rendered()
    done = await post(desk, job)
    assert done.state is JobState.POSTED
    (message,) = results(desk.pg, job.id)
    assert message.id == done.post_message_id == job.progress_message_id
    (attachment,) = message.attachments
    assert attachment["filename"] == f"easel-{job.id}.png"
    assert "a fox" in attachment["description"]
    grid = (await desk.store.pictures(job.id))[0]
    assert await desk.pg.read_attachment(attachment) == await desk.store.read_picture(grid)
    assert (attachment["width"], attachment["height"]) == (512, 512)


async def test_an_edit_is_followed_by_one_reply_that_pings_the_requester(desk: Desk) -> None:
    done = await post(desk, await desk.rendered())
    (reply,) = pings(desk.pg, alice(desk))
    assert int(reply.data["message_reference"]["message_id"]) == done.post_message_id
    assert not reply.attachments


async def test_the_reply_can_be_switched_off(desk: Desk) -> None:
    config = settings("[delivery]\nmention_requester = false")
    await post(desk, await desk.rendered(), poster=desk.poster(config=config))
    assert not pings(desk.pg, alice(desk))
    assert len(desk.pg.ledger.messages) == 1


async def test_without_a_progress_message_a_new_one_carries_picture_and_ping(desk: Desk) -> None:
    job = await desk.rendered(progress=False)
    done = await post(desk, job)
    (message,) = results(desk.pg, job.id)
    assert message.id == done.post_message_id
    assert message.nonce == job.id
    assert pings(desk.pg, alice(desk)) == [message]


async def test_a_deleted_progress_message_is_replaced(desk: Desk) -> None:
    job = await desk.rendered()
    desk.pg.delete_message(job.progress_message_id or 0)
    done = await post(desk, job)
    (message,) = results(desk.pg, job.id)
    assert message.id == done.post_message_id != job.progress_message_id


async def test_a_message_too_old_to_edit_is_left_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poster_module, "EDITABLE", timedelta(0))
    job = await desk.rendered()
    done = await post(desk, job)
    (message,) = results(desk.pg, job.id)
    assert message.id == done.post_message_id != job.progress_message_id
    assert not desk.pg.ledger.asked("PATCH", "/channels/{channel_id}/messages/{message_id}")


def test_fifty_five_minutes_are_the_limit() -> None:
    now = datetime.now(UTC)
    assert is_editable(discord.utils.time_snowflake(now - timedelta(minutes=54)))
    assert not is_editable(discord.utils.time_snowflake(now - timedelta(minutes=56)))


@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize("fault", ["reset_before", "reset_after", "truncate", "503"])
async def test_trouble_on_the_way_neither_loses_nor_doubles(
    desk: Desk, fault: str, *, progress: bool
) -> None:
    job = await desk.rendered(progress=progress)
    method, route = ("PATCH", PATCH) if progress else ("POST", POST)
    if fault == "503":
        desk.pg.faults.status(503, method, route, count=3)
    else:
        getattr(desk.pg.faults, fault)(method, route, count=3)
    done = await post(desk, job)
    assert done.state is JobState.POSTED
    (message,) = results(desk.pg, job.id)
    assert message.id == done.post_message_id
    assert len(pings(desk.pg, alice(desk))) == 1


class Crash(BaseException):
    """Stands for the end of the process."""


def die_after_sending(point: str) -> None:
    if point == "after_send":
        raise Crash


async def crashed(desk: Desk, job: Job) -> Job:
    """Post a job and crash before anybody noted that it was posted."""
    poster = desk.poster(crash=die_after_sending)
    poster.submit(job)
    await delivered(poster)
    left = await desk.job(job.id)
    assert left.state is JobState.POSTING
    assert len(results(desk.pg, job.id)) == 1
    return left


@pytest.mark.parametrize("memory", [120.0, -1.0], ids=["nonce known", "nonce forgotten"])
@pytest.mark.parametrize("place", ["progress", "channel", "direct"])
async def test_a_crash_after_sending_is_found_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, place: str, memory: float
) -> None:
    monkeypatch.setattr("bot.playground.messages.NONCE_MEMORY", memory)
    job = await desk.rendered(progress=place == "progress")
    if place == "direct":
        desk.pg.deny(Permission.SEND_MESSAGES)
    left = await crashed(desk, job)
    done = await post(desk, left, again=True)
    assert done.state is JobState.POSTED
    (message,) = results(desk.pg, job.id)
    assert message.id == done.post_message_id
    assert len(pings(desk.pg, alice(desk))) == 1


@pytest.mark.parametrize("progress", [True, False])
async def test_a_crash_before_sending_is_made_good(desk: Desk, *, progress: bool) -> None:
    job = await desk.store.begin_post(await desk.rendered(progress=progress))
    done = await post(desk, job, again=True)
    assert done.state is JobState.POSTED
    assert len(results(desk.pg, job.id)) == 1


async def test_after_a_gap_it_looks_before_it_sends_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nonce is forgotten, the first try went through, and nobody was told."""
    monkeypatch.setattr(poster_module, "NONCE_SECONDS", 0.0)
    job = await desk.rendered(progress=False)
    desk.pg.faults.reset_after("POST", POST, count=1)
    done = await post(desk, job)
    (message,) = results(desk.pg, job.id)
    assert message.id == done.post_message_id
    assert desk.pg.ledger.asked("GET", "/channels/{channel_id}/messages")


async def test_after_a_gap_with_nothing_found_the_nonce_is_another(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poster_module, "NONCE_SECONDS", 0.0)
    first, second = [await desk.rendered(progress=False, seed=seed) for seed in (100, 200)]
    desk.pg.faults.reset_before("POST", POST, count=2)
    poster = desk.poster()
    poster.submit(first)
    poster.submit(second)
    await delivered(poster)
    (one,), (two,) = results(desk.pg, first.id), results(desk.pg, second.id)
    assert one.nonce != two.nonce
    assert {one.nonce, two.nonce}.isdisjoint({first.id, second.id})
    assert all(len(record.nonce or "") <= 25 for record in (one, two))


async def test_nonces_differ_between_jobs_whatever_was_bumped(desk: Desk) -> None:
    one, two = [
        await desk.store.begin_post(await desk.rendered(progress=False, seed=seed))
        for seed in (100, 200)
    ]
    seen = {nonce_of(one), nonce_of(two)}
    for _ in range(3):
        one, two = await desk.store.bump_nonce(one), await desk.store.bump_nonce(two)
        seen |= {nonce_of(one), nonce_of(two)}
    assert len(seen) == 8
    assert max(map(len, seen)) <= 25


async def test_where_the_bot_may_not_post_the_requester_gets_a_direct_message(desk: Desk) -> None:
    job = await desk.rendered(progress=False)
    desk.pg.deny(Permission.SEND_MESSAGES)
    done = await post(desk, job)
    assert done.state is JobState.POSTED
    (message,) = results(desk.pg, job.id)
    assert message.channel_id == desk.pg.direct_messages("alice")
    assert f"<#{desk.pg.channel_id}>" in message.content


async def test_where_nothing_can_be_posted_the_job_ends_once_and_keeps_its_pictures(
    desk: Desk,
) -> None:
    job = await desk.rendered()
    desk.pg.delete_channel(desk.pg.channel_id)
    desk.pg.faults.status(403, "POST", "/users/@me/channels", count=99)
    before = len(desk.pg.ledger.requests)
    done = await post(desk, job)
    assert (done.state, done.error_code) == (JobState.FAILED, "undeliverable")
    assert len(await desk.store.pictures(job.id)) == 5
    assert len(desk.pg.ledger.requests) - before <= 4


async def test_a_job_of_direct_messages_is_posted_there(desk: Desk) -> None:
    job = await desk.rendered(channel_id=desk.pg.direct_messages("alice"))
    await post(desk, job)
    (message,) = results(desk.pg, job.id)
    assert message.channel_id == desk.pg.direct_messages("alice")


async def test_pictures_lost_on_disk_end_the_job_with_a_sentence(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = await desk.rendered()
    grid = (await desk.store.pictures(job.id))[0]
    (file,) = [path for path in tmp_path.rglob("*") if grid.sha256 in path.name]  # noqa: ASYNC240
    file.write_bytes(b"spoilt")
    done = await post(desk, job)
    assert (done.state, done.error_code) == (JobState.FAILED, "source")
    assert not results(desk.pg, job.id)
    assert done.error_text
    assert done.error_text in desk.pg.ledger.messages[job.progress_message_id or 0].content
    assert "cannot be read" in caplog.text


HOSTILE = [
    "@everyone @here <@&1> <@2> <#3>",
    "`` ``` `code` ```py\nprint()\n```",
    "[click](https://evil.example) https://evil.example discord.gg/evil",
    "\u202eabc\u202c \u200b **bold** __u__ ||spoiler|| ~~s~~",
    "x" * 4000,
    "🦊" * 900,
]


@pytest.mark.parametrize("prompt", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_prompt_can_do_no_harm(desk: Desk, prompt: str) -> None:
    await desk.rendered(prompt=prompt)
    job = (await desk.store.history(limit=1))[0]
    await post(desk, job)
    (message,) = results(desk.pg, job.id)
    for record in desk.pg.ledger.messages.values():
        assert {int(user["id"]) for user in record.data["mentions"]} <= {alice(desk)}
        assert not record.data["mention_everyone"]
        assert not record.data["mention_roles"]
    for request in desk.pg.ledger.requests:
        if request.method in ("POST", "PATCH") and isinstance(request.body, dict):
            allowed = request.body.get("allowed_mentions")
            if "content" in request.body:
                assert allowed is not None
                assert not allowed.get("parse")
                assert set(map(int, allowed.get("users", []))) <= {alice(desk)}
    assert "https://evil" not in message.content
    assert "\u202e" not in message.content


async def test_a_channel_that_is_slow_does_not_hold_up_the_others(desk: Desk) -> None:
    slow = await desk.rendered(seed=100)
    gallery = desk.pg.world.guild_channels()[1].id
    quick = await desk.rendered(seed=200, channel_id=gallery)
    fault = desk.pg.faults.hang("PATCH", f"/channels/*/messages/{slow.progress_message_id}")
    poster = desk.poster()
    poster.submit(slow)
    await met(fault)
    poster.submit(quick)
    await desk.pg.wait(lambda _: results(desk.pg, quick.id))
    assert not results(desk.pg, slow.id)
    fault.released.set()
    await delivered(poster)
    assert len(results(desk.pg, slow.id)) == 1


async def test_a_job_is_posted_by_one_task_only(desk: Desk) -> None:
    job = await desk.rendered(progress=False)
    poster = desk.poster()
    for _ in range(3):
        poster.submit(job)
    assert poster.backlog == 1
    await delivered(poster)
    assert len(results(desk.pg, job.id)) == 1


async def test_stopping_leaves_what_hangs_for_the_next_start(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    job = await desk.rendered()
    fault = desk.pg.faults.hang("PATCH", PATCH, count=1)
    poster = desk.poster()
    poster.submit(job)
    await met(fault)
    with caplog.at_level(logging.ERROR):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await poster.stop()
        await delivered(poster)
    assert not caplog.records
    left = await desk.job(job.id)
    assert left.state is JobState.POSTING
    done = await post(desk, left, again=True)
    assert done.state is JobState.POSTED
    assert len(results(desk.pg, job.id)) == 1


async def test_a_file_that_is_too_large_after_all_is_made_smaller(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poster_module, "SMALLEST_FILE", 100)
    job = await desk.rendered()
    desk.pg.faults.status(413, "PATCH", PATCH, count=1)
    done = await post(desk, job)
    assert done.state is JobState.POSTED
    (message,) = results(desk.pg, job.id)
    grid = (await desk.store.pictures(job.id))[0]
    assert message.attachments[0]["size"] <= grid.size // 2
    assert str(message.attachments[0]["filename"]).endswith((".jpg", ".webp"))


async def test_a_file_that_is_too_large_for_good_ends_the_job(desk: Desk) -> None:
    job = await desk.rendered()
    desk.pg.faults.status(413, "PATCH", PATCH, count=99)
    done = await post(desk, job)
    assert (done.state, done.error_code) == (JobState.FAILED, "refused")


async def test_a_channel_is_busy_while_a_result_waits_for_it(desk: Desk) -> None:
    job = await desk.rendered()
    poster = desk.poster()
    poster.submit(job)
    assert poster.busy(desk.pg.channel_id)
    assert not poster.busy(desk.pg.channel_id + 1)
    await delivered(poster)
    assert not poster.busy(desk.pg.channel_id)
