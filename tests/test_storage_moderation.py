"""Reports, bans, quotas and the device's time: what keeps a community in order."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from storage import (
    LONGEST_REASON,
    InvalidEntry,
    JobState,
    Report,
    Store,
    UnknownJob,
    new_job_id,
)
from tests.test_storage_support import Clock, make_posted, new_job, new_picture


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path, clock=clock) as found:
        yield found


async def complain(store: Store, job_id: str, reporter_id: int = 9, index: int = 1) -> Report:
    return await store.community.add_report(
        job_id=job_id, index=index, guild_id=11, reporter_id=reporter_id, reason="unkind"
    )


async def test_a_report_is_kept_until_it_is_settled(store: Store, clock: Clock) -> None:
    job = await make_posted(store, 1)
    first, second = await complain(store, job.id), await complain(store, job.id, index=0)
    assert await store.community.report(first.id) == first
    assert (first.reason, first.created_at, first.settled_at) == ("unkind", clock.now, None)
    assert await store.community.reports(11) == [first, second]
    assert await store.community.reports(12) == []
    clock.advance(60)
    settled = await store.community.settle_report(first.id, by=5, verdict="removed")
    assert settled == replace(first, settled_at=clock.now, settled_by=5, verdict="removed")
    assert await store.community.reports(11) == [second]
    assert await store.community.reports(11, open_only=False) == [settled, second]


async def test_the_first_verdict_stands(store: Store) -> None:
    report = await complain(store, (await make_posted(store, 1)).id)
    verdicts = await asyncio.gather(
        *(
            store.community.settle_report(report.id, by=number, verdict=f"v{number}")
            for number in range(8)
        )
    )
    assert len(set(verdicts)) == 1
    assert verdicts[0] == await store.community.report(report.id)
    assert await store.community.settle_report(new_job_id(), by=1, verdict="v") is None
    assert await store.community.settle_report("' OR 1=1 --", by=1, verdict="v") is None
    with pytest.raises(InvalidEntry, match="verdict has 0 characters"):
        await store.community.settle_report(report.id, by=1, verdict="")


async def test_a_second_report_of_the_same_is_the_first(store: Store) -> None:
    job = await make_posted(store, 1)
    same = await asyncio.gather(*(complain(store, job.id) for _ in range(8)))
    assert len(set(same)) == 1
    assert (await complain(store, job.id, reporter_id=10)).id != same[0].id
    await store.community.settle_report(same[0].id, by=5, verdict="kept")
    assert (await complain(store, job.id)).id != same[0].id


async def test_reports_of_direct_messages_are_their_own(store: Store) -> None:
    job = await make_posted(store, 1)
    report = await store.community.add_report(
        job_id=job.id, index=0, guild_id=None, reporter_id=9, reason=""
    )
    assert await store.community.reports(None) == [report]
    assert await store.community.reports(11) == []


async def test_a_report_that_cannot_be_kept_says_why(store: Store) -> None:
    job = await make_posted(store, 1)
    with pytest.raises(UnknownJob):
        await complain(store, new_job_id())
    with pytest.raises(InvalidEntry, match="index is 37"):
        await complain(store, job.id, index=37)
    with pytest.raises(InvalidEntry, match="reason has"):
        await store.community.add_report(
            job_id=job.id,
            index=0,
            guild_id=11,
            reporter_id=9,
            reason="x" * (LONGEST_REASON + 1),
        )
    assert await store.community.report("no such") is None
    assert await store.community.reports(11, open_only=False) == []


async def test_a_ban_ends_by_the_stores_clock(store: Store, clock: Clock) -> None:
    until = clock.now + timedelta(hours=1)
    ban = await store.community.ban(11, 7, until=until, reason="spam", by=5)
    assert await store.community.ban_of(11, 7) == ban
    assert (ban.until, ban.by, ban.created_at) == (until, 5, clock.now)
    assert (
        await store.community.ban_of(12, 7)
        is await store.community.ban_of(11, 8)
        is await store.community.ban_of(None, 7)
    )
    clock.advance(3599.999999)
    assert await store.community.ban_of(11, 7) == ban
    clock.advance(0.000001)
    assert await store.community.ban_of(11, 7) is None


async def test_a_ban_is_replaced_and_lifted(store: Store, clock: Clock) -> None:
    await store.community.ban(11, 7, until=clock.now + timedelta(days=1), reason="spam", by=5)
    for_ever = await store.community.ban(11, 7, until=None, reason="again", by=6)
    clock.advance(10**9)
    assert await store.community.ban_of(11, 7) == for_ever
    assert await store.community.unban(11, 7)
    assert not await store.community.unban(11, 7)
    assert await store.community.ban_of(11, 7) is None


async def test_what_holds_everywhere_holds_where_the_guild_says_nothing(
    store: Store, clock: Clock
) -> None:
    everywhere = await store.community.ban(None, 7, until=None, reason="spam", by=5)
    assert (
        await store.community.ban_of(11, 7) == await store.community.ban_of(None, 7) == everywhere
    )
    here = await store.community.ban(
        11, 7, until=clock.now + timedelta(hours=1), reason="here", by=6
    )
    assert await store.community.ban_of(11, 7) == here
    clock.advance(7200)
    assert await store.community.ban_of(11, 7) == everywhere
    await store.community.set_quota(None, 7, 100)
    await store.community.set_quota(11, 7, 5.5)
    assert (await store.community.quota_of(11, 7), await store.community.quota_of(12, 7)) == (
        5.5,
        100.0,
    )
    await store.community.set_quota(11, 7, None)
    assert await store.community.quota_of(11, 7) == 100.0


@pytest.mark.parametrize(
    ("guild_id", "user_id", "until", "reason", "complaint"),
    [
        (-1, 7, None, "", "guild_id is -1"),
        (11, 2**63, None, "", "user_id is"),
        (11, 7, Clock().now, "", "which is past"),
        (11, 7, None, "x" * (LONGEST_REASON + 1), "reason has 2001 characters"),
    ],
)
async def test_a_ban_that_cannot_be_kept_says_why(
    store: Store,
    guild_id: int,
    user_id: int,
    until: datetime | None,
    reason: str,
    complaint: str,
) -> None:
    with pytest.raises(InvalidEntry, match=complaint):
        await store.community.ban(guild_id, user_id, until=until, reason=reason, by=5)
    assert await store.community.ban_of(11, 7) is None


async def test_a_quota_is_set_and_taken_back(store: Store) -> None:
    assert await store.community.quota_of(11, 7) is None
    await store.community.set_quota(11, 7, 0)
    assert await store.community.quota_of(11, 7) == 0.0
    assert await store.community.quota_of(None, 7) is None
    await store.community.set_quota(11, 7, None)
    assert await store.community.quota_of(11, 7) is None
    for wrong in (-1.0, float("inf"), float("nan")):
        with pytest.raises(InvalidEntry, match="it must be 0 or more"):
            await store.community.set_quota(11, 7, wrong)


async def test_device_seconds_are_those_of_what_was_finished(store: Store, clock: Clock) -> None:
    start = clock.now

    async def paint(number: int, seconds: float, guild_id: int | None, who: int = 7) -> str:
        asked = replace(new_job(number, requester_id=who), guild_id=guild_id)
        job = await store.claim((await store.enqueue(asked)).job.id)
        assert job is not None
        clock.advance(100)
        return (await store.rendered(job, [new_picture(0)], device_seconds=seconds)).id

    assert await store.community.device_seconds(7, since=start) == 0.0
    await paint(1, 2, 11)
    between = clock.now
    await paint(2, 0.5, 12)
    failed = await paint(3, 4, None)
    await paint(4, 100, 11, who=8)
    rendered = await store.job(failed)
    assert rendered is not None
    assert (await store.failed(rendered, code="x", text="y")).state is JobState.FAILED
    await store.claim((await store.enqueue(new_job(5))).job.id)
    assert await store.community.device_seconds(7, since=start) == 6.5
    assert await store.community.device_seconds(7, since=start, guild_id=11) == 2.0
    assert await store.community.device_seconds(7, since=between) == 6.5
    assert await store.community.device_seconds(7, since=between + timedelta(microseconds=1)) == 4.5
    assert await store.community.device_seconds(7, since=clock.now) == 0.0
