"""Messages beside the jobs' own: noted, told of, owed once their person is forgotten, and no longer
kept than words are.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import InvalidEntry, Job, SentKind, Store, UnknownJob, backups, new_job_id
from storage.restoring import restore
from tests.test_storage_support import Clock, make_rendered, make_running, new_job, new_picture, sql

HER, HIM, MODERATOR = 7, 8, 9
DAYS = timedelta(days=90)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path, clock=clock) as found:
        yield found


async def posted(store: Store, number: int, *, by: int = HER) -> Job:
    job = await store.claim((await store.enqueue(new_job(number, requester_id=by))).job.id)
    assert job is not None
    rendered = await store.rendered(job, [new_picture(0)], device_seconds=1.5)
    return await store.posted(await store.begin_post(rendered), message_id=90_000 + number)


async def sent(
    store: Store, number: int, job: Job, kind: SentKind = SentKind.PING, *, user_id: int = HER
) -> bool:
    """Note a message with this number, in a channel of its own."""
    return await store.sent.note(
        kind, job_id=job.id, user_id=user_id, channel_id=500 + number, message_id=number
    )


def noted(folder: Path) -> list[int]:
    rows = sql(folder, "SELECT message_id FROM sent_message ORDER BY message_id")
    return [int(str(number)) for (number,) in rows]


async def test_what_is_about_her_jobs_or_for_her_is_owed_and_nothing_else(
    store: Store, tmp_path: Path
) -> None:
    hers, his = await posted(store, 1), await posted(store, 2, by=HIM)
    assert await sent(store, 10, hers)
    await sent(store, 11, hers, SentKind.COPY, user_id=HIM)
    await sent(store, 12, hers, SentKind.NOTICE, user_id=HIM)
    await sent(store, 13, his, SentKind.NOTICE)
    await sent(store, 14, his, SentKind.COPY)
    others = [(15, his, SentKind.PING, HIM), (16, his, SentKind.COPY, MODERATOR)]
    for number, job, kind, user_id in others:
        await sent(store, number, job, kind, user_id=user_id)
    gone = await store.forget(HER)
    assert gone.messages[0] == (12, 90_001)
    assert set(gone.messages[1:]) == {(500 + number, number) for number in range(10, 15)}
    assert set(await store.aftermath.messages()) == set(gone.messages)
    assert noted(tmp_path) == [15, 16]
    assert {one.message_id for one in (await store.export(HIM)).messages} == {15, 16}


async def test_the_place_of_a_result_that_went_home_is_the_one_it_went_to(store: Store) -> None:
    job = await store.begin_post(await make_rendered(store, 1))
    await sent(store, 90_001, job, SentKind.RESULT)
    await store.posted(job, message_id=90_001)
    gone = await store.forget(HER)
    assert gone.messages == ((90_501, 90_001),)
    assert await store.aftermath.messages() == [(90_501, 90_001)]


async def test_what_arrives_after_the_forgetting_is_owed_at_once(
    store: Store, tmp_path: Path
) -> None:
    job = await posted(store, 1)
    await store.forget(HER)
    assert await sent(store, 10, job) is False
    assert (510, 10) in await store.aftermath.messages()
    assert noted(tmp_path) == []
    # What she asks for from then on is new.
    assert await sent(store, 11, await posted(store, 2)) is True
    assert noted(tmp_path) == [11]


async def test_a_later_run_takes_what_is_about_the_jobs_that_were_under_way_alone(
    store: Store, tmp_path: Path
) -> None:
    rendered = await make_rendered(store, 1)
    posting = await store.begin_post(rendered)
    assert (await store.forget(HER)).unfinished == (posting.id,)
    (until,) = (await store.aftermath.unfinished()).values()
    await sent(store, 10, posting)
    his, later = await posted(store, 2, by=HIM), await posted(store, 3)
    await sent(store, 11, his, SentKind.COPY)
    await sent(store, 12, later)
    await store.posted(posting, message_id=5)
    assert (await store.forget(HER, until=until)).messages == ((12, 5), (510, 10))
    assert noted(tmp_path) == [11, 12]


async def test_the_same_message_is_noted_once_and_dropped_when_it_is_deleted(
    store: Store, tmp_path: Path
) -> None:
    job = await posted(store, 1)
    for _ in range(2):
        assert await sent(store, 10, job)
    await sent(store, 11, job)
    assert noted(tmp_path) == [10, 11]
    await store.sent.gone(10)
    await store.sent.gone(99)
    assert noted(tmp_path) == [11]
    assert (511, 11) in (await store.forget(HER)).messages


async def test_what_cannot_be_a_message_is_refused(store: Store, tmp_path: Path) -> None:
    job = await posted(store, 1)
    with pytest.raises(UnknownJob):
        await sent(store, 10, replace(job, id=new_job_id()))
    for number in (-1, 2**63):
        with pytest.raises(InvalidEntry, match=f"message_id is {number}"):
            await sent(store, number, job)
        with pytest.raises(InvalidEntry, match=f"user_id is {number}"):
            await sent(store, 10, job, user_id=number)
    assert noted(tmp_path) == []


async def test_where_messages_stand_is_kept_as_long_as_words_are(
    store: Store, tmp_path: Path, clock: Clock
) -> None:
    job, liked = await posted(store, 1), await posted(store, 2)
    await store.people.favourite(HIM, liked.id, 0, True)
    await sent(store, 10, job)
    await sent(store, 11, liked)
    clock.advance(86_400)
    # A copy that somebody asked for later is as old as itself.
    await sent(store, 12, job, SentKind.COPY)
    clock.advance(DAYS.total_seconds() - 1)
    assert await store.expire(older_than=DAYS) == 1
    assert noted(tmp_path) == [11, 12]
    clock.advance(2)
    assert await store.expire(older_than=DAYS) == 0
    assert noted(tmp_path) == [11]
    assert {number for _, number in (await store.forget(HER)).messages} == {11, 90_001, 90_002}


async def test_delete_under_a_picture_leaves_its_copies_to_be_forgotten(store: Store) -> None:
    job = await posted(store, 1)
    await sent(store, 10, job, SentKind.COPY, user_id=HIM)
    await store.delete_pictures(job.id)
    assert (510, 10) in (await store.forget(HER)).messages


async def test_an_export_tells_of_them_and_of_the_quota_that_a_forgetting_left(
    tmp_path: Path, clock: Clock
) -> None:
    async with await Store.open(tmp_path, clock=clock) as store:
        hers, his = await posted(store, 1), await posted(store, 2, by=HIM)
        await sent(store, 10, hers)
        await sent(store, 11, hers, SentKind.COPY, user_id=HIM)
        await sent(store, 12, hers, SentKind.NOTICE, user_id=HIM)
        await sent(store, 13, his, SentKind.NOTICE)
        export = await store.export(HER)
        assert [one.message_id for one in export.messages] == [10, 11, 13]
        assert export.messages[0].sent_at == clock.now
        assert export.used is None
        told = json.loads(export.to_json())["messages"]
        assert [one.get("message_id") for one in told] == [10, None, None]
        assert str(HIM) not in {str(value) for one in told for value in one.values()}
        direct = replace(new_job(3), guild_id=None)
        job = await store.claim((await store.enqueue(direct)).job.id)
        assert job is not None
        rendered = await store.rendered(job, [new_picture(0)], device_seconds=2.25)
        await store.posted(await store.begin_post(rendered), message_id=5)
        await store.forget(HER)
        used = {"day": "2026-03-01", "seconds": {"11": 1.5, "direct messages": 2.25}}
        after = await store.export(HER)
        assert (after.messages, after.used) == ((), used)
        assert json.loads(after.to_json())["used"] == used
        # As it is what counts, it is told as long as it is there, and not a moment longer.
        assert await store.community.device_seconds(HER, since=clock.now.replace(hour=0)) == 3.75
        clock.advance(86_400)
        await store.aftermath.end_day(clock.now)
        assert (await store.export(HER)).used is None


async def test_who_only_had_something_sent_is_forgotten_again_by_a_restoring(
    tmp_path: Path, clock: Clock
) -> None:
    async with await Store.open(tmp_path, clock=clock) as store:
        his = await posted(store, 2, by=HIM)
        await sent(store, 10, his, SentKind.COPY)
        await sent(store, 11, his, user_id=HIM)
        backup = (await store.back_up(tmp_path / backups.FOLDER)).path
        clock.advance(600)
        await store.forget(HER)
    now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    assert (await asyncio.to_thread(restore, tmp_path, backup, now=now)).forgotten == 1
    async with await Store.open(tmp_path) as store:
        assert await store.aftermath.messages() == [(510, 10)]
    assert noted(tmp_path) == [11]


async def test_a_job_that_has_not_ended_can_have_messages(store: Store) -> None:
    job = await make_running(store, 1)
    assert await sent(store, 10, job, SentKind.WORD)
    assert (await store.forget(HER)).messages == ((510, 10),)
