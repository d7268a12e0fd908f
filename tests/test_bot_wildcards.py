"""Word lists of an admin's: which files count, and that no name leads out of the folder."""

from pathlib import Path

import pytest

from bot.wildcards import MOST_BYTES, load_wildcards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "lists"
    (home / "animals").mkdir(parents=True)
    (home / "Colours.txt").write_text("red\n# a comment\n\n  dark   blue \n", encoding="utf-8")
    (home / "animals" / "cats.txt").write_bytes("\ufeffトラ\r\nlion\r\n".encode())
    return home


def test_lists_are_found_by_their_names(folder: Path) -> None:
    assert load_wildcards(folder) == {
        "colours": ("red", "dark blue"),
        "animals/cats": ("トラ", "lion"),
    }


def test_lines_that_could_not_stand_in_a_prompt_are_left_out(folder: Path) -> None:
    lines = ["a cat --ar 3:2", "https://x.y/z.png", "x" * 1001, "back\\", "fine"]
    (folder / "odd.txt").write_text("\n".join(lines), encoding="utf-8")
    assert load_wildcards(folder)["odd"] == ("fine",)


@pytest.mark.parametrize("name", ["two words.txt", "-dash.txt", "a__b.txt", "dot.ted.txt"])
def test_names_that_could_not_stand_in_a_prompt_are_left_out(
    folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / name).write_text("x", encoding="utf-8")
    assert set(load_wildcards(folder)) == {"colours", "animals/cats"}
    assert "left out" in caplog.text


def test_what_is_no_text_or_lies_elsewhere_is_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "large.txt").write_bytes(b"x" * (MOST_BYTES + 1))
    (folder / "folder.txt").mkdir()
    outside = folder.parent / "secret.txt"
    outside.write_text("secret", encoding="utf-8")
    (folder / "link.txt").symlink_to(outside)
    assert set(load_wildcards(folder)) == {"colours", "animals/cats"}
    assert caplog.text.count("left out") == 4


def test_no_folder_is_no_lists(tmp_path: Path) -> None:
    assert load_wildcards(None) == {}
    assert load_wildcards(tmp_path / "nowhere") == {}
