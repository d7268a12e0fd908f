"""Which folders are taken, and what is said about the others."""

import errno
import os
from pathlib import Path

import aiosqlite
import pytest

from storage import StorageError, StoreDamaged, StoreFull, StoreLocked, require_free
from storage.opening import open_folder


def test_a_new_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    lock = open_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "easel.db").exists()
    assert (folder / "pictures").is_dir()
    with pytest.raises(StoreLocked, match="another Easel"):
        open_folder(folder)
    lock.release()
    open_folder(folder).release()


def test_a_path_that_cannot_be_a_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(StorageError, match="cannot write to"):
            open_folder(path)


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EROFS, StorageError), (errno.ENOSPC, StoreFull)]
)
def test_a_disk_that_takes_nothing_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StorageError]
) -> None:
    def refuse(*_rest: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(kind) as caught:
        open_folder(tmp_path)
    assert type(caught.value) is kind
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("content", [None, b""])
def test_pictures_without_their_database_are_not_swept_away(
    tmp_path: Path, content: bytes | None
) -> None:
    name = "ab" * 32
    (tmp_path / "pictures" / "ab").mkdir(parents=True)
    (tmp_path / "pictures" / "ab" / name).write_bytes(b"precious")
    if content is not None:
        (tmp_path / "easel.db").write_bytes(content)
    for _ in range(2):
        with pytest.raises(StoreDamaged, match="missing or empty"):
            open_folder(tmp_path)
    assert (tmp_path / "pictures" / "ab" / name).read_bytes() == b"precious"


def test_an_old_sqlite_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiosqlite, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StorageError, match=r"needs 3\.35"):
        open_folder(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_refused_folder_is_not_kept_locked(tmp_path: Path) -> None:
    (tmp_path / "easel.db").write_bytes(b"no database at all" * 50)
    with pytest.raises(StoreDamaged):
        open_folder(tmp_path)
    (tmp_path / "easel.db").unlink()
    open_folder(tmp_path).release()


def test_whether_a_folder_is_free_can_be_asked_without_taking_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    require_free(folder)
    assert not folder.exists()
    lock = open_folder(folder)
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        require_free(folder)
    lock.release()
    require_free(folder)
    open_folder(folder).release()


def test_a_lock_that_cannot_be_looked_at_is_explained(tmp_path: Path) -> None:
    (tmp_path / "easel.lock").mkdir()
    with pytest.raises(StorageError, match="cannot write to"):
        require_free(tmp_path)
