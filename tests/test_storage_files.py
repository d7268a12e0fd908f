import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StorageError, StoreDamaged
from storage.files import PictureFiles, free_bytes


@pytest.fixture
def files(tmp_path: Path) -> PictureFiles:
    found = PictureFiles(tmp_path / "pictures")
    found.prepare()
    return found


def test_pictures_lie_under_their_hash(files: PictureFiles, tmp_path: Path) -> None:
    (name,) = files.write([b"a picture"])
    assert name == hashlib.sha256(b"a picture").hexdigest()
    assert (tmp_path / "pictures" / name[:2] / name).read_bytes() == b"a picture"
    assert files.read(name) == b"a picture"
    assert list(files.stored()) == [name]


def test_the_same_picture_is_kept_once_and_healed(files: PictureFiles) -> None:
    first, second = files.write([b"same", b"same"])
    assert first == second
    files.path(first).write_bytes(b"damaged")
    with pytest.raises(StoreDamaged, match="not what was written"):
        files.read(first)
    files.write([b"same"])
    assert files.read(first) == b"same"


def test_a_missing_picture_is_named(files: PictureFiles) -> None:
    with pytest.raises(StoreDamaged, match="missing"):
        files.read("0" * 64)


@settings(max_examples=300)
@given(st.text() | st.sampled_from(["../" * 30, "/etc/passwd", "a" * 64 + "/..", "\0" * 64]))
def test_only_hashes_name_files(name: str) -> None:
    with pytest.raises(StoreDamaged):
        PictureFiles(Path("/nowhere")).path(name)


@pytest.mark.parametrize("failing", range(1, 6))
def test_a_full_disk_leaves_no_half_picture(
    files: PictureFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    flush = os.fsync
    calls = 0

    def fail_at(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fail_at)
    with pytest.raises(OSError, match="No space"):
        files.write([b"one", b"two"])
    monkeypatch.undo()
    assert list((tmp_path / "pictures" / "tmp").iterdir()) == []
    for name in files.stored():
        files.read(name)
    assert [files.read(name) for name in files.write([b"one", b"two"])] == [b"one", b"two"]


def test_files_are_flushed_before_they_get_their_name(
    files: PictureFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    flush, rename = os.fsync, Path.replace

    def note_flush(descriptor: int) -> None:
        done.append(f"flush {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")  # noqa: PTH115
        flush(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        done.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_flush)
    monkeypatch.setattr(Path, "replace", note_rename)
    (name,) = files.write([b"a picture"])
    assert done == ["flush pictures", f"flush {name}", "rename", f"flush {name[:2]}"]


def test_sweeping_removes_what_no_row_names(files: PictureFiles, tmp_path: Path) -> None:
    kept, lost = files.write([b"kept", b"lost"])
    (tmp_path / "pictures" / "tmp" / "half").write_bytes(b"ha")
    (tmp_path / "pictures" / "README").write_text("mine")
    assert files.sweep({kept}) == 2
    assert list(files.stored()) == [kept]
    assert (tmp_path / "pictures" / "README").exists()
    files.remove([kept, lost])
    assert list(files.stored()) == []


def test_free_room_is_that_of_the_disk(tmp_path: Path) -> None:
    assert 0 < free_bytes(tmp_path) < 2**60
    with pytest.raises(StorageError, match="how much room"):
        free_bytes(tmp_path / "nowhere")
