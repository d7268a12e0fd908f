"""`kill -9` at every point that matters, then a new start: nothing lost, nothing doubled."""

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from storage import Job, JobState, Store
from storage.recovery import CRASHES_ALLOWED
from tests.test_storage_support import new_job, sql, stored_files

# Takes job 1 through its whole life and dies by SIGKILL at the named point.
CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from storage import Store
from storage.files import PictureFiles
from tests.test_storage_support import new_job, new_picture

folder, point = Path(sys.argv[1]), sys.argv[2]

def reach(name):
    if name == point:
        os.kill(os.getpid(), signal.SIGKILL)

rename, write = Path.replace, PictureFiles.write

def renamed(self, target):
    reach("before rename")
    rename(self, target)
    reach("after rename")

def written(self, pictures):
    names = write(self, pictures)
    reach("after files")
    return names

def executed(connection, cursor, statement, *rest):
    if statement.startswith("CREATE INDEX ix_picture"):
        reach("during migration")
    if statement.startswith("INSERT INTO picture"):
        reach("after rows, before commit")

def removed(self, names):
    reach("before removing files")

Path.replace, PictureFiles.write, PictureFiles.remove = renamed, written, removed
event.listen(Engine, "after_cursor_execute", executed)

async def main():
    store = await Store.open(folder)
    reach("after opening")
    await store.recover()
    accepted = await store.enqueue(new_job(1))
    reach("after enqueue")
    job = await store.claim(accepted.job.id)
    reach("after claim")
    job = await store.rendered(job, [new_picture(0), new_picture(1)], device_seconds=1)
    reach("after rendered")
    job = await store.begin_post(job)
    reach("after begin_post")
    job = await store.bump_nonce(job)
    reach("after bump_nonce")
    await store.posted(job, message_id=5)
    reach("after posted")
    await store.delete_pictures(job.id)
    await store.mark_clean_stop()
    reach("after mark_clean_stop")
    await store.close()

asyncio.run(main())
print("done")
"""
# What a new start must find: the job's state and crashes, and how many pictures it has.
POINTS: dict[str, tuple[str, int, int] | None] = {
    "during migration": None,
    "after opening": None,
    "after enqueue": ("queued", 0, 0),
    "after claim": ("queued", 1, 0),
    "before rename": ("queued", 1, 0),
    "after rename": ("queued", 1, 0),
    "after files": ("queued", 1, 0),
    "after rows, before commit": ("queued", 1, 0),
    "after rendered": ("rendered", 0, 2),
    "after begin_post": ("posting", 0, 2),
    "after bump_nonce": ("posting", 0, 2),
    "after posted": ("posted", 0, 2),
    "before removing files": ("posted", 0, 0),
    "after mark_clean_stop": ("posted", 0, 0),
}


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_this_point_loses_nothing(tmp_path: Path, point: str) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(tmp_path), point, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    assert (child.returncode, output) == (-9, b"")
    async with await Store.open(tmp_path) as store:
        await store.recover()
        jobs = await store.history(limit=10) or await ended_and_deleted(store)
        expected = POINTS[point]
        if expected is None:
            assert jobs == []
        else:
            (job,) = jobs
            pictures = await store.pictures(job.id)
            assert (job.state, job.crashes, len(pictures)) == expected
            for picture in pictures:
                await store.read_picture(picture)
            assert stored_files(tmp_path) == {picture.sha256 for picture in pictures}
        again = await store.enqueue(new_job(1))
        assert again.created == (expected is None)
        assert sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]


async def ended_and_deleted(store: Store) -> list[Job]:
    job = await store.job_by_message(5)
    return [] if job is None else [job]


# Works without end and says on its output what has been committed, line by line.
WORKER = """
import asyncio, json, sys
from itertools import count
from pathlib import Path
from storage import Store
from tests.test_storage_support import new_job, new_picture

def say(job):
    print(json.dumps([job.id, job.state, job.attempt]), flush=True)

async def take(store, job):
    job = await store.claim(job.id)
    say(job)
    pictures = [new_picture(0, job.id.encode()), new_picture(1, job.id.encode() * 9)]
    await post(store, await store.rendered(job, pictures, device_seconds=1))

async def post(store, job):
    say(job)
    job = await store.begin_post(job)
    say(job)
    say(await store.posted(job, message_id=job.interaction_id))

async def main():
    store = await Store.open(Path(sys.argv[1]))
    found = await store.recover()
    for job in (*found.to_post, *found.to_reconcile):
        await post(store, job)
    for job in found.queued:
        await take(store, job)
    for number in count(int(sys.argv[2])):
        jobs = [(await store.enqueue(new_job(number * 3 + k))).job for k in range(3)]
        for job in jobs:
            say(job)
        await asyncio.gather(*(take(store, job) for job in jobs))

asyncio.run(main())
"""
ORDER = ["queued", "running", "rendered", "posting", "posted"]


def run_and_kill(folder: Path, *, start: int, lines: int) -> list[tuple[str, str, int]]:
    """Run a worker, kill it after so many lines, and return all that it had said by then."""
    command = [sys.executable, "-c", WORKER, str(folder), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        said += child.stdout.readlines()
    assert child.returncode == -9
    return [tuple(json.loads(line)) for line in said if line.endswith("\n")]


async def test_kills_at_random_lose_nothing_that_was_promised(tmp_path: Path) -> None:
    chance = random.Random(3)  # noqa: S311
    promised: dict[str, tuple[int, int]] = {}
    for start in range(6):
        said = run_and_kill(tmp_path, start=start * 1000, lines=chance.randrange(1, 40))
        for job_id, state, attempt in said:
            promised[job_id] = max(promised.get(job_id, (0, 0)), (ORDER.index(state), attempt))
        connection = sqlite3.connect(tmp_path / "easel.db")
        rows = connection.execute("SELECT id, state, attempt, crashes FROM job").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        stored = {job_id: (state, attempt, crashes) for job_id, state, attempt, crashes in rows}
        for job_id, (step, attempt) in promised.items():
            state, stored_attempt, crashes = stored[job_id]
            assert (ORDER.index(state), stored_attempt) >= (step, attempt)
            assert crashes < CRASHES_ALLOWED
    async with await Store.open(tmp_path) as store:
        await store.recover()
        assert await store.check() >= len(promised)
        known = set()
        for job_id in promised:
            job = await store.job(job_id)
            assert job is not None
            pictures = await store.pictures(job_id)
            assert bool(pictures) == (job.state in {JobState.RENDERED, "posting", "posted"})
            for picture in pictures:
                content = job_id.encode() * (9 if picture.index else 1)
                assert await store.read_picture(picture) == content
                known.add(picture.sha256)
        assert known <= stored_files(tmp_path)
