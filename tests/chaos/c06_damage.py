"""C6: damaged databases. None may start silently, and a backup must bring back what it had.

Most are met by the store alone; every twentieth by a whole bot that is restored to a backup of any
moment of a job's life and must show each job once; a few by the command line.
"""

import asyncio
import random
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from storage import Job, JobState, StorageError, Store, StoreDamaged, backups
from storage.restoring import Restored, restore
from tests.chaos.damage import DAMAGES, DATABASE, Damage, Scene
from tests.chaos.restored_bot import bot_goes_on, process_refuses
from tests.chaos.suite import Run, Suite
from tests.test_storage_support import make_posted, make_rendered, make_running, new_job

BOT_EVERY, PROCESS_EVERY = 20, 100
UNPOSTED = {JobState.QUEUED, JobState.RUNNING, JobState.RENDERED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a store holds, now and at its backup: jobs by id, and files by hash."""

    now: dict[str, Job]
    backed_up: dict[str, Job]
    files: dict[str, bytes]


async def run(run: Run) -> None:
    """Damage, look, restore, look again."""
    chance = run.random()
    scene, truth = await _lay_out(run.folder)
    scene = replace(scene, folder=run.folder / "work")
    await _undamaged(run, scene, truth)
    for number in range(run.count):
        if number % PROCESS_EVERY == PROCESS_EVERY - 1:
            await process_refuses(run, _new(run, "process"), chance)
        elif number % BOT_EVERY == BOT_EVERY - 1:
            await bot_goes_on(run, _new(run, "bot"), number // BOT_EVERY, chance)
        else:
            await _meet(run, scene, truth, DAMAGES[number % len(DAMAGES)], chance)
        run.passed()
    noticed = run.figures.get("noticed", 0)
    run.must(isinstance(noticed, int) and noticed > run.count // 3, "hardly any damage was seen")


async def _lay_out(folder: Path) -> tuple[Scene, Truth]:
    """Make a store that was killed at work, with a backup in it, an older copy, and another."""
    live, crashed, older = folder / "live", folder / "crashed", folder / "older"
    async with await Store.open(live) as store:
        await store.recover()
        await _some_jobs(store, start=0)
    # Half of it is in the database now, and what comes is in its log.
    async with await Store.open(live) as store:
        await _some_jobs(store, start=1000)
        await store.back_up(live / backups.FOLDER)
        backed_up = await _all_jobs(store)
        shutil.copytree(live, older)
        await _some_jobs(store, start=2000)
        now = await _all_jobs(store)
        files = {path.name: path.read_bytes() for path in (live / "pictures").rglob("?" * 64)}
        # What lies there while nothing is written is what a kill would leave.
        shutil.copytree(live, crashed)
    other = folder / "other"
    async with await Store.open(folder / "another") as store:
        await _some_jobs(store, start=0)
        shutil.copytree(folder / "another", other)
    active = [job.id.encode() for job in now.values() if job.state in (*UNPOSTED, "posting")]
    scene = Scene(folder=crashed, older=older, other=other, active=active)
    return scene, Truth(now=now, backed_up=backed_up, files=files)


async def _some_jobs(store: Store, *, start: int) -> None:
    for number in range(start, start + 4):
        await make_posted(store, number)
        await make_rendered(store, 100 + number)
        await make_running(store, 200 + number)
        await store.enqueue(new_job(300 + number, prompt="a fox in the snow " * (number % 5)))
        await store.begin_post(await make_rendered(store, 400 + number))


async def _all_jobs(store: Store) -> dict[str, Job]:
    return {job.id: job for job in await store.history(limit=100)}


async def _undamaged(run: Run, scene: Scene, truth: Truth) -> None:
    """What nothing happened to must open, and be the same."""
    _fresh(run, scene)
    run.must(not await _noticed(run, scene, truth, "nothing"), "a sound store was refused")


async def _meet(
    run: Run, scene: Scene, truth: Truth, damage: Damage, chance: random.Random
) -> None:
    _fresh(run, scene)
    damage(scene, chance)
    before = _bytes(scene.folder)
    name = f"{damage.__name__} ({run.done})"
    if not await _noticed(run, scene, truth, name):
        run.add("no effect")
        return
    run.add("noticed")
    run.must(_bytes(scene.folder) == before, f"{name}: the refusal changed the damaged file")
    try:
        done = await asyncio.to_thread(restore, scene.folder, _newest(scene), now=datetime.now(UTC))
    except StorageError as error:
        run.failures.append(f"{name}: could not be restored: {error}")
        return
    run.must(done.forgotten == 0 and not done.missing, f"{name}: {done}")
    if before is not None:
        kept = None if done.aside is None else _bytes(done.aside)
        run.must(kept == before, f"{name}: the damaged file was not kept")
    await _restored(run, scene, truth, done, name)


async def _noticed(run: Run, scene: Scene, truth: Truth, name: str) -> bool:
    """Open the store; say whether that was refused, and look at every job where it was not."""
    try:
        store = await Store.open(scene.folder)
    except StoreDamaged as error:
        run.must("easel restore" in str(error), f"{name}: no way out is named: {error}")
        return True
    except StorageError as error:
        run.add("noticed otherwise")
        run.must("newer version" in str(error), f"{name}: {error}")
        return True
    try:
        await _look_at_all(run, store, truth, name)
    except StorageError as error:
        run.failures.append(f"{name}: it started, and then: {error}")
    finally:
        await store.close()
    return False


async def _look_at_all(run: Run, store: Store, truth: Truth, name: str) -> None:
    found = {job_id: await store.job(job_id) for job_id in truth.now}
    run.must(found == truth.now, f"{name}: it started, and jobs are not what they were")
    left = await store.recover()
    open_jobs = {job.id for job in (*left.queued, *left.to_post, *left.to_reconcile)}
    due = {job.id for job in truth.now.values() if job.state in (*UNPOSTED, "posting")}
    run.must(open_jobs == due, f"{name}: it started, and open jobs are not found")
    await _look_at_pictures(run, store, truth, truth.now, name)


async def _look_at_pictures(
    run: Run, store: Store, truth: Truth, jobs: dict[str, Job], name: str
) -> None:
    """Every picture is what it was, or is said to be damaged; and none is gone."""
    for job_id in jobs:
        for picture in await store.pictures(job_id):
            try:
                data = await store.read_picture(picture)
            except StoreDamaged:
                run.add("damaged pictures told")
                continue
            run.must(data == truth.files.get(picture.sha256), f"{name}: another picture")
    here = {path.name for path in (store.folder).rglob("?" * 64)}
    run.must(truth.files.keys() <= here, f"{name}: pictures are gone from the disk")


async def _restored(run: Run, scene: Scene, truth: Truth, done: Restored, name: str) -> None:
    """What the backup had must be there, and what came later must be gone and told."""
    async with await Store.open(scene.folder) as store:
        jobs = await _all_jobs(store)
        expected = {
            job_id: replace(job, post_started_at=job.post_started_at or job.created_at)
            if job.state in UNPOSTED
            else job
            for job_id, job in truth.backed_up.items()
        }
        run.must(jobs == expected, f"{name}: the restored jobs are not those of the backup")
        await store.recover()
        await _look_at_pictures(run, store, truth, jobs, name)
    lost = len(truth.now) - len(truth.backed_up)
    # A log that tells of another store lets the old database name jobs that were never here.
    if not name.startswith(("swapped_other", "log_foreign")):
        run.must(done.lost is None or done.lost <= lost, f"{name}: {done.lost} jobs lost")


def _new(run: Run, kind: str) -> Path:
    folder = run.folder / f"{kind}{run.done}"
    folder.mkdir()
    return folder


def _fresh(run: Run, scene: Scene) -> None:
    shutil.rmtree(scene.folder, ignore_errors=True)
    shutil.copytree(run.folder / "crashed", scene.folder)


def _newest(scene: Scene) -> Path:
    return backups.found(scene.folder / backups.FOLDER)[0].path


def _bytes(folder: Path) -> bytes | None:
    path = folder / DATABASE
    return path.read_bytes() if path.exists() else None


SUITE = Suite(
    name="C6",
    about="damaged databases are refused, and restored from a backup",
    commit=100,
    night=1000,
    run=run,
)
