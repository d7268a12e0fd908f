"""Forgetting down to the bytes: many people at once, and a process that dies on the way."""

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import event

from bot import jobs
from diffusion import Params
from storage import Job, JobState, NewJob, NewPicture, Scope, SentKind, Store
from storage.tables import metadata
from tests.test_storage_support import Clock, new_job

# Every table by what says whose its rows are; the rest of the tables is about nobody.
OWNERS = {
    "job": "requester_id",
    "note": "user_id",
    "macro": "user_id",
    "favourite": "user_id",
    "preference": "scope_id",
    "report": "reporter_id",
    "ban": "user_id",
    "quota": "user_id",
    "sent_message": "user_id",
}
OF_JOBS = ("picture", "source", "state")
# Facts about the store itself; what they say of people is looked at one by one.
OF_NOBODY = ("fact",)
FIRST = 4_000_000_000
# A ping's message is its picture's, so many numbers on.
PINGS = 500


def needle(person: int, number: int) -> str:
    """Return words that nobody else uses, in letters that any search folds."""
    return f"needle-{person}-{number}-haystack"


def asked(person: int, number: int) -> NewJob:
    """Ask for a picture with one's own words in every text that a job has."""
    words = needle(person, number)
    params = Params(prompt=words, negative_prompt=f"no {words}", width=8, height=8, images=1)
    return replace(
        new_job(person * 1000 + number, requester_id=person, prompt=words.upper()),
        params=params.to_json(),
        details=json.dumps({"typed": words, "words": True}),
    )


async def lives(store: Store, person: int, count: int) -> None:
    """Let a person do everything that leaves something, `count` jobs of it posted but one."""
    done = await asyncio.to_thread(_painted, person, count)
    for number, pictures in enumerate(done):
        job = (await store.enqueue(asked(person, number))).job
        if number == 1:
            await store.failed(job, code="odd", text=f"{needle(person, number)} is no word")
            continue
        claimed = await store.claim(job.id)
        assert claimed is not None
        rendered = await store.rendered(claimed, pictures, device_seconds=1.0)
        await store.save_state(job.id, needle(person, number).encode())
        posting = await store.begin_post(rendered)
        posted = await store.posted(posting, message_id=person * 1000 + number)
        await store.people.favourite(person, posted.id, 0, on=True)
        await store.sent.note(
            SentKind.PING,
            job_id=posted.id,
            user_id=person,
            channel_id=12,
            message_id=person * 1000 + number + PINGS,
        )
    words = needle(person, 0)
    await store.people.set_macro(person, "mine", words)
    await store.people.set_preference(Scope.USER, person, "suffix", words)
    await store.people.note("mend", person, words * 100)
    await store.community.set_quota(11, person, 500)


def _painted(person: int, count: int) -> list[list[NewPicture]]:
    found = []
    for number in range(count):
        params = Params.from_json(asked(person, number).params)
        picture = Image.new("RGB", (8, 8), (person % 251, number % 251, 7))
        # What a file says of its own words is one more place to look in.
        found.append(jobs.encode_grid(_as_job(person, number), params, [picture], None))
    return found


def _as_job(person: int, number: int) -> Job:
    new = asked(person, number)
    names = dict.fromkeys(Job.__dataclass_fields__)
    given = {name: getattr(new, name) for name in NewJob.__dataclass_fields__}
    own = {"id": f"{number:013d}", "state": JobState.RUNNING, "attempt": 1, "crashes": 0}
    return Job(**{**names, **given, **own})


def searched(folder: Path, people: set[int]) -> set[int]:
    """Return whose words stand anywhere in the files of a folder, in any case."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes().lower()
            found |= {each for each in people if b"needle-%d-" % each in data}
    return found


def belongings(folder: Path, people: set[int]) -> dict[str, list[Any]]:
    """Return every row of some people and every byte of their pictures."""
    connection = sqlite3.connect(f"file:{folder / 'easel.db'}?mode=ro", uri=True)
    try:
        marks = ",".join(str(each) for each in sorted(people))
        rows: dict[str, list[Any]] = {}
        for table, column in OWNERS.items():
            query = f"SELECT * FROM {table} WHERE {column} IN ({marks}) ORDER BY rowid"  # noqa: S608
            rows[table] = connection.execute(query).fetchall()
        theirs = f"(SELECT id FROM job WHERE requester_id IN ({marks}))"  # noqa: S608
        for table in OF_JOBS:
            query = f"SELECT * FROM {table} WHERE job_id IN {theirs} ORDER BY 1, 2"  # noqa: S608
            rows[table] = connection.execute(query).fetchall()
        names = {row[2] for row in rows["picture"]} | {row[1] for row in rows["state"]}
        rows["files"] = [(folder / "pictures" / n[:2] / n).read_bytes() for n in sorted(names)]
        return rows
    finally:
        connection.close()


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Let every connection begin without overwriting, which some builds of SQLite do unasked;
    what they do at their end is noted.
    """
    seen: list[tuple[str, int]] = []

    class Asked(sqlite3.Connection):
        """A connection that tells at its end."""

        def close(self) -> None:
            """Tell whether it overwrites by now."""
            try:
                ((is_on,),) = self.execute("PRAGMA secure_delete").fetchall()
                ((readonly,),) = self.execute("PRAGMA query_only").fetchall()
                seen.append(("reader" if readonly else "writer", is_on))
            finally:
                super().close()

    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def watched(path: str, *args: object, **options: object) -> sqlite3.Connection:
        if "mode=ro" in str(path):
            return connect(path, *args, **options)
        made = connect(path, *args, **{**options, "factory": Asked})
        made.execute("PRAGMA secure_delete=OFF")
        return made

    monkeypatch.setattr(sqlite3, "connect", watched)
    monkeypatch.setattr(sqlite3.dbapi2, "connect", watched)
    return seen


def test_every_table_is_looked_at() -> None:
    assert {*OWNERS, *OF_JOBS, *OF_NOBODY} == set(metadata.tables)


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize(
    ("people", "each"),
    [(10, 8), pytest.param(200, 50, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
async def test_half_of_the_people_go_and_the_others_stay_byte_for_byte(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    people: int,
    each: int,
) -> None:
    data, temporary = tmp_path / "data", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("SQLITE_TMPDIR", str(temporary))
    everybody = set(range(FIRST, FIRST + people))
    going = {person for person in everybody if person % 2}
    async with await Store.open(data) as store:
        for person in sorted(everybody):
            await lives(store, person, each)
        assert searched(tmp_path, everybody) == everybody
        before = belongings(data, everybody - going)
        assert len(before["job"]) == (people - len(going)) * each
        assert len(before["picture"]) > len(before["state"]) == len(before["favourite"]) > 0
        started = time.monotonic()
        for person in sorted(going):
            gone = await store.forget(person)
            assert (gone.jobs, gone.macros, gone.notes, gone.preferences) == (each, 1, 1, 1)
        took = time.monotonic() - started
        # The store is still open: its log and its index of shared memory are searched too.
        assert searched(tmp_path, everybody) == everybody - going
        assert belongings(data, everybody - going) == before
        assert took < 60
        assert await store.check() == people * each
        kept = belongings(data, going)
        # What stays with a person's id is what moderators and quotas are about.
        assert {name for name, rows in kept.items() if rows} == {"quota"}


class Crashes:
    """Copies a data folder whenever a point is passed: what a process killed there leaves."""

    def __init__(self, data: Path, copies: Path) -> None:
        self._data, self._copies = data, copies
        self.points: list[tuple[str, Path]] = []

    def __call__(self, point: str) -> None:
        copy = self._copies / f"{len(self.points):03d}"
        shutil.copytree(self._data, copy)
        self.points.append((point, copy))


@contextmanager
def crashing(store: Store, crash: Callable[[str], None]) -> Iterator[None]:
    """Pass a point after every statement of the writer, every file that goes, and the log."""
    database, files = store._database, store._keeping.files
    writer = database._writer.sync_engine
    remove, empty_log = files.remove, database.empty_log

    def stated(*_: object) -> None:
        crash("statement")

    def committed(*_: object) -> None:
        crash("before the commit")

    def one_by_one(names: Iterable[str]) -> None:
        for name in sorted(names):
            crash("before a file goes")
            remove([name])
        crash("after the files")

    async def emptied() -> bool:
        crash("before the log is emptied")
        done = await empty_log()
        crash("after the log is emptied")
        return done

    event.listen(writer, "after_cursor_execute", stated)
    event.listen(writer, "commit", committed)
    files.remove = one_by_one  # type: ignore[method-assign]
    database.empty_log = emptied  # type: ignore[method-assign]
    try:
        yield
    finally:
        event.remove(writer, "after_cursor_execute", stated)
        event.remove(writer, "commit", committed)
        del files.remove, database.empty_log


@pytest.mark.usefixtures("careless")
async def test_a_process_that_dies_while_forgetting_forgot_nothing_or_everything(
    tmp_path: Path,
) -> None:
    data, copies = tmp_path / "data", tmp_path / "copies"
    her, him = FIRST, FIRST + 1
    crash = Crashes(data, copies)
    async with await Store.open(data) as store:
        await lives(store, her, 3)
        await lives(store, him, 2)
        before = {person: belongings(data, {person}) for person in (her, him)}
        with crashing(store, crash):
            await store.forget(her)
    seen = {point for point, _ in crash.points}
    assert len(seen) == 6
    outcomes = []
    for point, copy in crash.points:
        async with await Store.open(copy) as store:
            assert await store.check() == 5, point
            forgotten = not belongings(copy, {her})["job"]
            if forgotten:
                assert searched(copy, {her, him}) == {him}, point
                messages = {message for _, message in await store.aftermath.messages()}
                assert messages == {
                    her * 1000 + number + more for number in (0, 2) for more in (0, PINGS)
                }, point
            else:
                assert belongings(copy, {her}) == before[her], point
            assert belongings(copy, {him}) == before[him], point
            outcomes.append(forgotten)
        shutil.rmtree(copy)
    # Every crash before the commit kept her whole, every later one found her gone.
    assert outcomes == sorted(outcomes)
    assert {False, True} == set(outcomes)


async def test_every_connection_overwrites_what_it_deletes(
    tmp_path: Path, careless: list[tuple[str, int]]
) -> None:
    async with await Store.open(tmp_path / "data") as store:
        job = (await store.enqueue(asked(FIRST, 1))).job
        await asyncio.gather(*(store.job(job.id) for _ in range(8)))
        await store.forget(FIRST)
    # The one that migrates, the one that writes and those that read.
    kinds = [kind for kind, _ in careless]
    assert set(kinds) == {"writer", "reader"}
    assert kinds.count("writer") >= 2
    assert {is_on for _, is_on in careless} == {1}


async def test_backups_forget_within_a_day(tmp_path: Path) -> None:
    clock, folder = Clock(), tmp_path / "data" / "backups"
    her, him = FIRST, FIRST + 1
    async with await Store.open(tmp_path / "data", clock=clock) as store:
        await lives(store, her, 2)
        await lives(store, him, 2)
        await store.back_up(folder)
        await store.forget(her)
        assert searched(tmp_path, {her, him}) == {her, him}, "the backup is from before"
        clock.advance(23 * 3600)
        await store.back_up(folder)
        await store.prune_backups(folder, keep=24, spare_newest=True)
        clock.advance(3600)
        await store.prune_backups(folder, keep=24, spare_newest=True)
        assert searched(tmp_path, {her, him}) == {him}
        assert searched(folder, {her, him}) == {him}, "what is younger is still there"
