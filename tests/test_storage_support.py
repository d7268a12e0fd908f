"""What the tests of the store share: plausible jobs, pictures, and a clock that obeys."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage import Job, JobKind, NewJob, NewPicture, Store

PNG = "image/png"


class Clock:
    """A clock that stands still until it is told to go."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def new_job(interaction_id: int, *, requester_id: int = 7, prompt: str = "a red heart") -> NewJob:
    return NewJob(
        kind=JobKind.IMAGINE,
        params='{"prompt":"a red heart","seed":0}',
        prompt=prompt,
        images=4,
        model="emoji",
        requester_id=requester_id,
        guild_id=11,
        channel_id=12,
        interaction_id=interaction_id,
    )


def child_of(parent: Job, interaction_id: int, *, index: int) -> NewJob:
    return replace(
        new_job(interaction_id), kind=JobKind.VARY, parent_id=parent.id, parent_index=index
    )


def new_picture(index: int, data: bytes = b"") -> NewPicture:
    return NewPicture(
        index=index, data=data or b"picture %d" % index, width=64, height=48, media_type=PNG
    )


async def make_running(store: Store, interaction_id: int) -> Job:
    accepted = await store.enqueue(new_job(interaction_id))
    job = await store.claim(accepted.job.id)
    assert job is not None
    return job


async def make_rendered(store: Store, interaction_id: int, data: bytes = b"") -> Job:
    job = await make_running(store, interaction_id)
    own = data or b"grid %d" % interaction_id
    pictures = [new_picture(0, own), new_picture(1, own + b"'s tile")]
    return await store.rendered(job, pictures, device_seconds=1.5)


async def make_posted(store: Store, interaction_id: int, data: bytes = b"") -> Job:
    job = await store.begin_post(await make_rendered(store, interaction_id, data))
    return await store.posted(job, message_id=90_000 + interaction_id)


def stored_files(folder: Path) -> set[str]:
    """Return the names of all picture files, finished or not."""
    return {path.name for path in (folder / "pictures").rglob("*") if path.is_file()}


def sql(folder: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Run a statement on a store's database from outside, and commit."""
    connection = sqlite3.connect(folder / "easel.db")
    try:
        found = connection.execute(statement, values).fetchall()
        connection.commit()
        return found
    finally:
        connection.close()


def test_the_clock_only_moves_when_told() -> None:
    clock = Clock()
    first = clock()
    clock.advance(90)
    assert clock() - first == timedelta(seconds=90)
