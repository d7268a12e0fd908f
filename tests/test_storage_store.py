"""The store as a whole: one owner, nothing leaked, nothing silently wrong."""

import asyncio
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from storage import (
    Job,
    StorageError,
    Store,
    StoreClosed,
    StoreDamaged,
    StoreFull,
    StoreLocked,
)
from storage.rows import _SEALED
from tests.test_storage_support import (
    make_posted,
    make_rendered,
    make_running,
    new_job,
    sql,
    stored_files,
)


@pytest.mark.parametrize(
    ("code", "is_there"), [("import storage", False), ("from storage import Store", True)]
)
def test_importing_the_store_is_light(code: str, is_there: bool) -> None:
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", f"{code}; import sys; print(*sorted(sys.modules))"],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(result.stdout.split())
    assert ("sqlalchemy" in loaded) is is_there
    assert loaded.isdisjoint({"torch", "discord", "alembic", "diffusion", "bot"})


async def test_a_second_instance_is_refused_at_once(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        job = (await store.enqueue(new_job(1))).job
        code = (
            "import asyncio, sys; from pathlib import Path; from storage import Store\n"
            "asyncio.run(Store.open(Path(sys.argv[1])))"
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(tmp_path), stderr=asyncio.subprocess.PIPE
        )
        _, complaint = await child.communicate()
        assert child.returncode != 0
        assert b"StoreLocked" in complaint
        with pytest.raises(StoreLocked):
            await Store.open(tmp_path)
        assert await store.claim(job.id) is not None


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    job = (await store.enqueue(new_job(1))).job
    await asyncio.gather(store.close(), store.close())
    await store.close()
    for attempt in (store.job(job.id), store.enqueue(new_job(2)), store.read_file("a" * 64)):
        with pytest.raises(StoreClosed):
            await attempt


async def test_opening_and_closing_leaks_nothing(tmp_path: Path) -> None:
    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    await (await Store.open(tmp_path)).close()
    descriptors, threads = held()
    for number in range(15):
        async with await Store.open(tmp_path) as store:
            await make_posted(store, number)
    assert held()[0] <= descriptors + 2
    assert held()[1] <= threads + 2


async def test_a_cancelled_opening_keeps_no_lock(tmp_path: Path) -> None:
    opening = asyncio.create_task(Store.open(tmp_path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await (await Store.open(tmp_path)).close()


async def test_leftovers_are_swept_at_start_and_pictures_are_not(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        kept = {one.sha256 for one in await store.pictures((await make_rendered(store, 1)).id)}
    orphan = "ef" * 32
    (tmp_path / "pictures" / "ef").mkdir(exist_ok=True)
    (tmp_path / "pictures" / "ef" / orphan).write_bytes(b"orphan")
    (tmp_path / "pictures" / "tmp" / "half").write_bytes(b"ha")
    await (await Store.open(tmp_path)).close()
    assert stored_files(tmp_path) == kept


async def test_free_room_is_told(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        assert await store.free_bytes() > 0
        assert store.folder == tmp_path


@pytest.mark.parametrize("column", [name for name in _SEALED if name not in {"id", "parent_id"}])
async def test_any_changed_value_of_a_job_is_noticed(tmp_path: Path, column: str) -> None:
    async with await Store.open(tmp_path) as store:
        job = await store.begin_post(await make_rendered(store, 1))
        sound = await make_running(store, 2)
        sql(tmp_path, f"UPDATE job SET {column} = 987654 WHERE id = ?", job.id)  # noqa: S608
        with pytest.raises(StoreDamaged, match=job.id):
            await store.job(job.id)
        with pytest.raises(StoreDamaged, match=job.id):
            await store.posted(job, message_id=1)
        with pytest.raises(StoreDamaged, match=job.id):
            await store.check()
        assert await store.job(sound.id) == sound


async def test_a_damaged_open_job_stops_the_start(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        job = await make_running(store, 1)
    sql(tmp_path, "UPDATE job SET prompt = 'something else'")
    with pytest.raises(StoreDamaged, match=rf"{job.id}.*easel restore"):
        await Store.open(tmp_path)
    assert sql(tmp_path, "SELECT state, crashes FROM job") == [("running", 0)]


async def all_jobs(folder: Path, ids: list[str]) -> list[Job | None]:
    async with await Store.open(folder) as store:
        found = await store.recover()
        assert len(found.queued) + len(found.to_post) == 8
        assert await store.check() == 12
        return [await store.job(job_id) for job_id in ids]


async def test_no_flipped_bit_changes_a_job_silently(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "live") as store:
        await store.recover()
        for number in range(4):
            await make_rendered(store, number)
            await store.enqueue(new_job(100 + number, prompt="a fox " * number))
            await make_posted(store, 200 + number)
        jobs = await store.history(limit=100)
    file = tmp_path / "live" / "easel.db"
    witness = file.with_name("easel.witness")
    sound, seen = file.read_bytes(), witness.read_bytes()
    used = [place for place, byte in enumerate(sound) if byte]
    chance = random.Random(11)  # noqa: S311
    noticed = 0
    for _ in range(60):
        damaged = bytearray(sound)
        damaged[chance.choice(used)] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)
        witness.write_bytes(seen)
        try:
            assert await all_jobs(tmp_path / "live", [job.id for job in jobs]) == jobs
        except StorageError:
            noticed += 1
    assert noticed > 30
    file.write_bytes(sound)
    witness.write_bytes(seen)
    assert await all_jobs(tmp_path / "live", [job.id for job in jobs]) == jobs


async def test_a_full_disk_refuses_new_jobs_and_keeps_the_old(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        accepted = [(await store.enqueue(new_job(number))).job for number in range(5)]
        await limit_pages(store, 1)
        refused = 0
        for number in range(5, 40):
            try:
                accepted.append((await store.enqueue(new_job(number, prompt="x" * 3000))).job)
            except StoreFull as error:
                assert "still there" in str(error)
                refused += 1
        assert refused > 20
        assert await store.waiting() == accepted
        assert await store.claim(accepted[0].id) is not None
        await limit_pages(store, 2**30)
        assert (await store.enqueue(new_job(39, prompt="x" * 3000))).created
        assert sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]


async def limit_pages(store: Store, pages: int) -> None:
    """Let the writer's database grow to so many pages, or not at all if it is larger."""
    async with store._database._writer.connect() as connection:
        await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
