"""`easel backup` and `easel restore`: what is read, what is left on the disk, and the codes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.backups_cli import newest_told
from bot.config import parse_config
from storage import Store, backups
from tests.test_bot_cli import Ended, config, easel, is_sentence
from tests.test_storage_support import make_posted, stored_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, which is the current one."""
    monkeypatch.chdir(tmp_path)
    config(tmp_path)
    return tmp_path


def easel_in_thread(*arguments: str) -> Ended:
    """Run a command beside the tests' loop, for it has one of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(easel, *arguments).result()


async def paint(folder: Path, number: int) -> str:
    async with await Store.open(folder / "data") as store:
        return (await make_posted(store, number)).id


async def jobs(folder: Path) -> list[str]:
    async with await Store.open(folder / "data") as store:
        return [job.id for job in await store.history(limit=99)]


async def test_a_backup_while_it_runs_and_a_restore_when_it_is_stopped(folder: Path) -> None:
    first = await paint(folder, 1)
    async with await Store.open(folder / "data"):
        made = easel_in_thread("backup")
        refused = easel_in_thread("restore")
    assert (made.code, refused.code) == (0, 78)
    assert "1 jobs" in made.out
    assert is_sentence(refused)
    assert "in use by another Easel" in refused.err
    second = await paint(folder, 2)
    (folder / "data" / "easel.db").write_bytes(b"gone" * 1000)
    done = easel_in_thread("restore")
    assert done.code == 0
    assert "Restored" in done.out
    assert "set-aside" in done.out
    assert await jobs(folder) == [first]
    (aside,) = (folder / "data").glob("set-aside-*")
    assert (aside / "easel.db").read_bytes() == b"gone" * 1000
    assert f"{aside.name} waits to be deleted" in easel_in_thread("check").out
    assert second not in done.out


async def test_another_folder_gets_the_pictures_too_and_can_be_restored_from(folder: Path) -> None:
    job_id = await paint(folder, 1)
    names = stored_files(folder / "data")
    made = easel_in_thread("backup", "--to", "out")
    assert made.code == 0
    (backup,) = backups.found(folder / "out")
    assert {path.name for path in (folder / "out" / "pictures").rglob("?" * 64)} == names
    for path in sorted((folder / "data").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    done = easel_in_thread("restore", str(backup.path))
    assert done.code == 0
    assert "missing" not in done.out
    assert await jobs(folder) == [job_id]
    assert stored_files(folder / "data") == names


async def test_the_latest_sound_backup_is_taken_and_worse_ones_named(folder: Path) -> None:
    await paint(folder, 1)
    good = easel_in_thread("backup").out
    later = datetime.now(UTC) + timedelta(minutes=1)
    (folder / "data" / "backups" / f"easel-{later:%Y%m%d-%H%M%S}.db").write_bytes(b"x" * 5000)
    done = easel_in_thread("restore")
    assert done.code == 0
    assert "Passed over" in done.out
    assert good.split(":")[0].rsplit("/", 1)[-1] in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("backup",), "no database yet"),
        (("restore",), "no sound backup"),
        (("restore", "nothing.db"), "no backup"),
        (("restore", "--config", "nowhere.toml"), "nowhere.toml"),
        (("backup", "--config", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    folder: Path, arguments: tuple[str, ...], told: str
) -> None:
    ended = easel(*arguments)
    assert ended.code == 78
    assert is_sentence(ended)
    assert told in ended.err


async def test_a_backup_into_what_is_no_folder_is_a_sentence(folder: Path) -> None:
    await paint(folder, 1)
    ended = easel_in_thread("backup", "--to", str(folder / "config.toml"))
    assert ended.code == 78
    assert is_sentence(ended)


async def test_check_tells_the_age_of_the_newest_backup(folder: Path) -> None:
    storage = parse_config("", folder / "config.toml").storage
    assert "none in" in newest_told(storage)
    off = storage.model_copy(update={"backup_hours": 0.0})
    assert "none will be taken" in newest_told(off)
    made = folder / "data" / "backups"
    made.mkdir(parents=True)
    for hours, told in ((1.5, "90 minutes old"), (0.1, "6 minutes old"), (-1, "0 minutes old")):
        moment = datetime.now(UTC) - timedelta(hours=hours)
        (made / f"easel-{moment:%Y%m%d-%H%M%S}.db").write_bytes(b"")
        assert told in newest_told(storage)
    old = folder / "old"
    for hours, told in ((80, "3 days old"), (30, "30 hours old")):
        old.mkdir(exist_ok=True)
        moment = datetime.now(UTC) - timedelta(hours=hours)
        (old / f"easel-{moment:%Y%m%d-%H%M%S}.db").write_bytes(b"")
        assert told in newest_told(storage.model_copy(update={"backup_folder": old}))


async def test_check_names_the_way_out_of_a_damaged_database(folder: Path) -> None:
    await paint(folder, 1)
    (folder / "data" / "easel.db").write_bytes(b"x" * 9000)
    ended = easel_in_thread("check")
    assert ended.code == 78
    assert "FAIL database" in ended.out
    assert "easel restore" in ended.out
