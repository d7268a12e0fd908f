"""Forgetting a person leaves no byte of their words on the disk, and nobody else's less."""

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from storage import (
    FINAL_STATES,
    Forgotten,
    InvalidEntry,
    Job,
    JobState,
    NewJob,
    Scope,
    SentKind,
    StaleJob,
    Store,
    StoreDamaged,
)
from tests.test_storage_support import Clock, child_of, new_job, new_picture, sql, stored_files

HER, HIM = 7, 8
NEEDLE = "zanzibar needle"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path, clock=Clock()) as found:
        yield found


def hers(number: int) -> NewJob:
    text = f"{NEEDLE} {number}"
    return replace(
        new_job(number, requester_id=HER, prompt=text.upper()),
        params=json.dumps({"prompt": text, "negative_prompt": f"no {NEEDLE}"}),
        details=json.dumps({"spoken": text}),
    )


async def post(store: Store, new: NewJob) -> Job:
    job = await store.claim((await store.enqueue(new)).job.id)
    assert job is not None
    own = b"%d for %d" % (new.interaction_id, new.requester_id)
    pictures = [new_picture(0, own), new_picture(1, own + b"'s tile")]
    job = await store.begin_post(await store.rendered(job, pictures, device_seconds=1.5))
    return await store.posted(job, message_id=90_000 + new.interaction_id)


async def leave_everything(store: Store) -> list[Job]:
    """Let her leave something of every kind; return her jobs."""
    jobs = [await post(store, hers(number)) for number in range(3)]
    broken = (await store.enqueue(hers(3))).job
    jobs.append(await store.failed(broken, code="odd", text=f"{NEEDLE} cannot be read"))
    await store.save_state(jobs[0].id, NEEDLE.encode())
    await store.people.set_preference(Scope.USER, HER, "suffix", NEEDLE)
    await store.people.set_macro(HER, "mine", NEEDLE)
    await store.people.note("mend", HER, NEEDLE * 500)
    await store.people.favourite(HER, jobs[1].id, 1, on=True)
    return jobs


def raw(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_no_byte_of_the_words_is_left_on_the_disk(store: Store, tmp_path: Path) -> None:
    await leave_everything(store)
    his = await post(store, new_job(50, requester_id=HIM, prompt="his own words"))
    await store.community.add_report(
        job_id=his.id, index=0, guild_id=11, reporter_id=HER, reason=NEEDLE
    )
    assert raw(tmp_path).lower().count(NEEDLE.encode()) > 10
    await store.forget(HER)
    # With the store still open: the database, its log, and the pictures.
    assert (tmp_path / "easel.db-wal").exists()
    assert NEEDLE.encode() not in raw(tmp_path).lower()
    assert b"his own words" in raw(tmp_path)
    assert await store.check() == 5


async def test_the_words_stay_away_while_work_goes_on_and_after_a_crash(
    store: Store, tmp_path: Path
) -> None:
    for number in range(15):
        await post(store, hers(number))
        await post(store, new_job(100 + number, requester_id=HIM))
    await store.forget(HER)
    for number in range(15):
        await store.enqueue(new_job(200 + number, requester_id=HIM))
    copy = tmp_path.parent / "crashed"
    shutil.copytree(tmp_path, copy)
    assert NEEDLE.encode() not in raw(copy).lower()
    connection = sqlite3.connect(copy / "easel.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_what_went_is_counted_and_what_is_left_is_empty(store: Store, tmp_path: Path) -> None:
    jobs = await leave_everything(store)
    forgotten = await store.forget(HER)
    assert forgotten == Forgotten(
        jobs=4,
        pictures=6,
        files=7,
        preferences=1,
        macros=1,
        favourites=1,
        notes=1,
        reports=0,
        cancelled=(),
        unfinished=(),
        messages=((12, 90_000), (12, 90_001), (12, 90_002)),
    )
    midnight = Clock().now.replace(hour=0, minute=0, second=0, microsecond=0)
    for number, job in enumerate(jobs, start=1):
        left = await store.job(job.id)
        assert left == replace(
            job,
            prompt="",
            params='{"prompt":""}',
            details="{}",
            error_text=None,
            requester_id=0,
            channel_id=0,
            interaction_id=2**63 - 1 - number,
            locale="en-US",
            post_message_id=None,
            post_nonce=None,
            post_started_at=None,
            post_nonce_at=None,
            claimed_at=None,
            created_at=midnight,
            rendered_at=job.rendered_at and midnight,
            posted_at=job.posted_at and midnight,
            deleted_at=midnight,
        )
    assert await store.history(requester_id=HER) == []
    assert await store.people.preferences(Scope.USER, HER) == await store.people.macros(HER) == {}
    assert await store.people.favourites(HER) == []
    assert stored_files(tmp_path) == set()
    assert {value or 0 for value in asdict(await store.forget(HER)).values()} == {0}


async def test_the_time_she_used_today_counts_until_the_day_ends(tmp_path: Path) -> None:
    clock = Clock()
    async with await Store.open(tmp_path, clock=clock) as store:
        clock.advance(-86_400)
        await post(store, hers(30))
        clock.advance(86_400)
        jobs = await leave_everything(store)
        today = clock.now.replace(hour=0, minute=0)
        await store.community.set_quota(11, HER, 60)
        await store.community.ban(11, HER, until=None, reason="spam", by=5)
        await store.forget(HER)
        assert await store.community.device_seconds(HER, since=today) == 4.5
        assert await store.community.device_seconds(HER, since=today, guild_id=11) == 4.5
        assert await store.community.device_seconds(HER, since=today, guild_id=99) == 0
        assert await store.community.quota_of(11, HER) == 60
        assert await store.community.ban_of(11, HER) is not None
        # What she uses from then on is added, and a second forgetting changes nothing.
        await post(store, hers(40))
        assert await store.community.device_seconds(HER, since=today) == 6
        await store.forget(HER)
        assert await store.community.device_seconds(HER, since=today) == 6
        await store.aftermath.end_day(clock.now)
        assert await store.community.device_seconds(HER, since=today) == 6
        clock.advance(86_400)
        assert await store.community.device_seconds(HER, since=today.replace(day=2)) == 0
        await store.aftermath.end_day(clock.now)
        assert sql(tmp_path, "SELECT name FROM fact WHERE name LIKE 'spent:%'") == []
        assert len(jobs) == 4


async def test_no_row_says_whose_it_was(store: Store, tmp_path: Path) -> None:
    jobs = await leave_everything(store)
    his = await post(store, new_job(50, requester_id=HIM))
    report = await store.community.add_report(
        job_id=his.id, index=0, guild_id=11, reporter_id=HER, reason="ugly"
    )
    await store.community.settle_report(report.id, by=HER, verdict="keep")
    await store.community.ban(11, 99, until=None, reason="spam", by=HER)
    for number, job in enumerate((jobs[0], his)):
        await store.sent.note(
            SentKind.COPY, job_id=job.id, user_id=HER, channel_id=1, message_id=number
        )
    await store.forget(HER)
    for table, column in (
        ("job", "requester_id"),
        ("note", "user_id"),
        ("macro", "user_id"),
        ("favourite", "user_id"),
        ("preference", "scope_id"),
        ("report", "reporter_id"),
        ("report", "settled_by"),
        ("ban", "banned_by"),
        ("sent_message", "user_id"),
    ):
        found = sql(tmp_path, f"SELECT * FROM {table} WHERE {column} = {HER}")  # noqa: S608
        assert found == [], (table, column)
    # Nor do rows say that they were one person's: neither by a moment nor by an interaction.
    own = ",".join(f"'{job.id}'" for job in jobs)
    columns = "created_at, deleted_at, channel_id, interaction_id"
    rows: list[Any] = sql(tmp_path, f"SELECT {columns} FROM job WHERE id IN ({own})")  # noqa: S608
    assert len({interaction for *_, interaction in rows}) == len(jobs)
    day = 86_400_000_000
    assert all(created % day == deleted % day == place == 0 for created, deleted, place, _ in rows)
    assert (await store.community.reports(11, open_only=False))[0].settled_at is not None


async def test_what_could_not_be_done_at_once_is_written_down(store: Store) -> None:
    posting = await store.claim((await store.enqueue(hers(3))).job.id)
    assert posting is not None
    posting = await store.begin_post(
        await store.rendered(posting, [new_picture(0)], device_seconds=1)
    )
    old = await post(store, hers(1))
    await store.forget(HER)
    (until,) = (await store.aftermath.unfinished()).values()
    assert await store.aftermath.messages() == [(12, old.post_message_id)]
    # What she asks for after that, and what she keeps, is not what was to be forgotten.
    later = await post(store, hers(9))
    await store.people.set_macro(HER, "new", "--ar 3:2")
    await store.posted(posting, message_id=5)
    second = await store.forget(HER, until=until)
    assert (second.jobs, second.unfinished, second.messages) == (1, (), ((12, 5),))
    assert await store.aftermath.unfinished() == {}
    assert await store.job(later.id) == later
    assert await store.people.macros(HER) == {"new": "--ar 3:2"}
    assert sorted(await store.aftermath.messages()) == [(12, 5), (12, 90_001)]
    await store.aftermath.settled([5, 90_001])
    assert await store.aftermath.messages() == []


async def test_what_others_made_of_hers_goes_on(store: Store, tmp_path: Path) -> None:
    (parent, *_) = await leave_everything(store)
    source = (await store.pictures(parent.id))[1].sha256
    asked = replace(
        child_of(parent, 60, index=1),
        requester_id=HIM,
        params=json.dumps({"init_image": source}),
    )
    waiting = (await store.enqueue(asked)).job
    his = await post(store, new_job(61, requester_id=HIM))
    await store.people.favourite(HIM, parent.id, 1, on=True)
    await store.people.favourite(HIM, his.id, 1, on=True)
    await store.people.set_preference(Scope.USER, HIM, "raw", True)
    await store.people.set_preference(Scope.GUILD, HER, "raw", True)
    await store.forget(HER)
    assert await store.read_file(source) == b"0 for 7's tile"
    assert await store.waiting() == [waiting]
    assert await store.job(his.id) == his
    assert [one.job_id for one in await store.people.favourites(HIM)] == [his.id]
    assert await store.ancestors(waiting.id) == [await store.job(parent.id)]
    assert await store.people.preferences(Scope.USER, HIM) == {"raw": True}
    assert await store.people.preferences(Scope.GUILD, HER) == {"raw": True}
    assert len(stored_files(tmp_path)) == 3


async def test_open_jobs_are_stopped_and_those_being_posted_are_named(store: Store) -> None:
    queued = (await store.enqueue(hers(1))).job
    running = await store.claim((await store.enqueue(hers(2))).job.id)
    posting = await store.claim((await store.enqueue(hers(3))).job.id)
    assert running is not None
    assert posting is not None
    posting = await store.begin_post(
        await store.rendered(posting, [new_picture(0)], device_seconds=1)
    )
    others = (await store.enqueue(new_job(4, requester_id=HIM))).job
    forgotten = await store.forget(HER)
    assert forgotten.cancelled == (queued.id, running.id)
    assert forgotten.unfinished == (posting.id,)
    assert forgotten.jobs == 2
    with pytest.raises(StaleJob, match="cancelled"):
        await store.rendered(running, [new_picture(0)], device_seconds=1)
    stopped = await store.job(queued.id)
    assert stopped is not None
    assert (stopped.state, stopped.prompt) == (JobState.CANCELLED, "")
    assert await store.waiting() == [others]
    await store.posted(posting, message_id=1)
    second = await store.forget(HER)
    assert (second.jobs, second.pictures, second.unfinished) == (1, 1, ())


async def test_reports_keep_no_text(store: Store) -> None:
    (job, *_) = await leave_everything(store)
    his = await post(store, new_job(60, requester_id=HIM))
    about_her = await store.community.add_report(
        job_id=job.id, index=1, guild_id=11, reporter_id=HIM, reason=f"it says {NEEDLE}"
    )
    by_her = await store.community.add_report(
        job_id=his.id, index=1, guild_id=11, reporter_id=HER, reason="ugly"
    )
    apart = await store.community.add_report(
        job_id=his.id, index=1, guild_id=11, reporter_id=9, reason="ugly too"
    )
    assert (await store.forget(HER)).reports == 2
    assert await store.community.reports(11) == [
        replace(about_her, reason=""),
        replace(by_her, reason="", reporter_id=0),
        apart,
    ]


async def test_files_left_by_a_crash_go_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Store.open(tmp_path) as store:
        await leave_everything(store)
        monkeypatch.setattr(store._keeping.files, "remove", lambda _names: None)
        await store.forget(HER)
        assert len(stored_files(tmp_path)) == 7
    async with await Store.open(tmp_path):
        assert stored_files(tmp_path) == set()


async def test_hundreds_of_jobs_go_at_once_and_all_of_them(store: Store) -> None:
    for start in range(0, 600, 100):
        await store.enqueue_all([hers(start + number) for number in range(100)])
    forgotten = await store.forget(HER)
    assert len(forgotten.cancelled) == forgotten.jobs == 600
    assert await store.check() == 600
    assert (await store.export(HER)).jobs == ()
    left = [await store.job(job_id) for job_id in forgotten.cancelled]
    assert {job and job.prompt for job in left} == {""}
    assert {job and job.state for job in left} == {JobState.CANCELLED} <= FINAL_STATES


async def test_a_damaged_job_stops_the_forgetting_before_anything_went(
    store: Store, tmp_path: Path
) -> None:
    jobs = await leave_everything(store)
    sql(tmp_path, "UPDATE job SET model = 'other' WHERE id = ?", jobs[2].id)
    with pytest.raises(StoreDamaged, match=jobs[2].id):
        await store.forget(HER)
    assert await store.people.macros(HER) == {"mine": NEEDLE}
    assert await store.job(jobs[0].id) == jobs[0]
    assert len(stored_files(tmp_path)) == 7


async def test_nobody_is_forgotten_by_an_id_that_cannot_be(store: Store) -> None:
    with pytest.raises(InvalidEntry, match="user_id is -1"):
        await store.forget(-1)


async def test_an_export_has_everything_of_one_person_and_nothing_of_another(
    store: Store,
) -> None:
    jobs = await leave_everything(store)
    await store.community.set_quota(None, HER, 30)
    await store.community.set_quota(11, HER, 60)
    await store.community.ban(11, HER, until=None, reason="spam", by=55_555)
    his = await post(store, new_job(70, requester_id=HIM, prompt="his own words"))
    await store.people.set_macro(HIM, "his", "his own words")
    report = await store.community.add_report(
        job_id=his.id, index=0, guild_id=11, reporter_id=HER, reason="ugly"
    )
    await store.community.add_report(
        job_id=jobs[0].id, index=0, guild_id=11, reporter_id=HIM, reason="his own words"
    )
    export = await store.export(HER)
    assert list(export.jobs) == jobs
    assert len(export.pictures) == 6
    assert (export.preferences, export.macros) == ({"suffix": NEEDLE}, {"mine": NEEDLE})
    assert [one.job_id for one in export.favourites] == [jobs[1].id]
    assert [one.payload for one in export.notes] == [NEEDLE * 500]
    assert export.reports == (report,)
    assert export.quotas == {"everywhere": 30.0, "11": 60.0}
    text = export.to_json()
    assert "his own words" not in text
    assert "55555" not in text
    plain = json.loads(text)
    assert plain["user_id"] == HER
    assert plain["jobs"][0]["params"]["prompt"] == f"{NEEDLE} 0"
    assert plain["jobs"][0]["details"] == {"spoken": f"{NEEDLE} 0"}
    assert plain["jobs"][0]["created_at"] == "2026-03-01T12:00:00.250000+00:00"
    assert plain["bans"][0]["reason"] == "spam"


async def test_an_export_of_nobody_is_empty(store: Store) -> None:
    export = await store.export(12345)
    assert (export.jobs, export.macros, export.favourites) == ((), {}, ())
    assert json.loads(export.to_json())["jobs"] == []
