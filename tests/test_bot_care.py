"""The bot's care for its store: what is due by the files, what fails and is tried again."""

import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot import care as care_module
from bot.care import Care, backup_folder
from bot.config import Config, parse_config
from storage import Store, StoreFull, backups
from tests.bot_room import open_room
from tests.test_storage_support import Clock, make_posted


def config(folder: Path, text: str = "") -> Config:
    return parse_config(f"[storage]\n{text}", folder / "config.toml")


def ages(folder: Path, *hours: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for age in hours:
        moment = datetime.now(UTC) - timedelta(hours=age)
        (folder / f"easel-{moment:%Y%m%d-%H%M%S}.db").write_bytes(b"")


@pytest.mark.parametrize(
    ("text", "present", "due"),
    [
        ("", [], True),
        ("", [0.9], False),
        ("", [1.1], True),
        ("", [-2], True),
        ("backup_hours = 6.0", [5.9], False),
        ("backup_hours = 6.0", [6.1], True),
        ("backup_hours = 0.0", [], False),
    ],
)
async def test_a_backup_is_due_by_the_age_of_the_newest(
    tmp_path: Path, text: str, present: list[float], due: bool
) -> None:
    settings = config(tmp_path, text)
    folder = backup_folder(settings.storage)
    ages(folder, *present)
    before = len(backups.found(folder))
    async with await Store.open(tmp_path / "data") as store:
        care = Care(store=store, settings=lambda: settings)
        await care.look()
        await care.look()
    assert len(backups.found(folder)) == before + due


async def test_another_folder_and_number_are_heeded_while_it_runs(tmp_path: Path) -> None:
    current = config(tmp_path)
    ages(tmp_path / "elsewhere", 2, 3, 4, 30)
    async with await Store.open(tmp_path / "data") as store:
        care = Care(store=store, settings=lambda: current)
        await care.look()
        current = config(tmp_path, 'backup_folder = "elsewhere"\nbackup_keep = 3')
        await care.look()
    assert len(backups.found(tmp_path / "data" / "backups")) == 1
    left = backups.found(tmp_path / "elsewhere")
    assert [each.size > 0 for each in left] == [True, False, False]


async def test_none_is_kept_for_longer_than_a_day_even_when_none_is_taken(tmp_path: Path) -> None:
    settings = config(tmp_path, "backup_hours = 0.0")
    ages(backup_folder(settings.storage), 23, 25)
    async with await Store.open(tmp_path / "data") as store:
        await Care(store=store, settings=lambda: settings).look()
    assert len(backups.found(backup_folder(settings.storage))) == 1


async def test_a_fault_is_told_to_the_log_and_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings, tried = config(tmp_path), 0
    async with await Store.open(tmp_path / "data") as store:

        async def refuse(_folder: Path) -> backups.Backup:
            nonlocal tried
            tried += 1
            raise StoreFull("no room left")

        care = Care(store=store, settings=lambda: settings)
        with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
            patched.setattr(store, "back_up", refuse)
            await care.look()
            await care.look()
        assert tried == 1
        assert "no room left" in caplog.text
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 601)
        await care.look()
    assert len(backups.found(backup_folder(settings.storage))) == 1


@pytest.mark.parametrize(("days", "left"), [(90, 0), (0, 3), (1000, 3)])
async def test_old_jobs_are_emptied_once_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, left: int
) -> None:
    monkeypatch.setattr(care_module, "PIECE", 2)
    clock = Clock()
    settings = config(tmp_path, f"keep_days = {days}\nbackup_hours = 0")
    async with await Store.open(tmp_path / "data", clock=clock) as store:
        for number in range(3):
            await make_posted(store, number)
        clock.advance(91 * 86_400)
        care = Care(store=store, settings=lambda: settings)
        await care.look()
        assert sum(bool(job.prompt) for job in await store.history(limit=9)) == left
        await make_posted(store, 10)
        clock.advance(91 * 86_400)
        await care.look()
        # Not twice a day, whatever is due meanwhile.
        young = await store.history(limit=1)
        assert young[0].prompt


async def test_the_bot_takes_a_backup_while_it_paints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(care_module, "FIRST_PAUSE", 0.0)
    made = tmp_path / "data" / "backups"
    async with open_room(tmp_path) as room, room.bot() as app:
        await room.grid()
        await room.settled(app)
    (backup,) = backups.found(made)
    assert backup.size > 0
