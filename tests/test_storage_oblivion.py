"""Who was forgotten: written before it happens, legible only to who knows, dropped in time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage import Store, backups, oblivion
from tests.test_storage_support import Clock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USER = 223344556677889900


def test_a_line_means_one_person_and_names_nobody(tmp_path: Path) -> None:
    assert oblivion.since(tmp_path, NOW) == []
    oblivion.note(tmp_path, USER, now=NOW)
    oblivion.note(tmp_path, USER, now=NOW + timedelta(hours=1))
    text = (tmp_path / oblivion.NAME).read_text()
    assert str(USER) not in text
    first, second = oblivion.since(tmp_path, NOW)
    assert first.digest != second.digest
    assert first.means(USER)
    assert not first.means(USER + 1)
    assert oblivion.since(tmp_path, NOW + timedelta(minutes=1)) == [second]


def test_a_line_that_was_cut_short_says_nothing(tmp_path: Path) -> None:
    oblivion.note(tmp_path, USER, now=NOW)
    with (tmp_path / oblivion.NAME).open("a") as file:
        file.write("177236640")
    assert len(oblivion.since(tmp_path, NOW)) == 1


async def test_lines_go_with_the_last_backup_that_is_older(tmp_path: Path) -> None:
    clock, folder = Clock(), tmp_path / backups.FOLDER

    def lines() -> int:
        path = tmp_path / oblivion.NAME
        return len(path.read_text().splitlines()) if path.exists() else 0

    async with await Store.open(tmp_path, clock=clock) as store:
        await store.back_up(folder)
        clock.advance(3600)
        await store.forget(USER)
        clock.advance(3600)
        await store.back_up(folder)
        await store.prune_backups(folder, keep=24)
        assert lines() == 1
        clock.advance(23 * 3600)
        await store.back_up(folder)
        await store.prune_backups(folder, keep=24)
        assert (lines(), len(backups.found(folder))) == (0, 2)
