"""A folder of pictures: three ways of captions, and every kind of bad input told by name."""

import io
import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion.errors import DiffusionError, PictureError
from diffusion.train import buckets, folder
from diffusion.train.buckets import decode_rgb, read_regular, repeats_of
from diffusion.train.folder import (
    Checks,
    TrainingDataError,
    TrainingFolder,
    caption_of_name,
    read_folder,
    shortened,
)


def noise(width: int = 80, height: int = 64, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def draw(path: Path, text: str | None = None, *, size: tuple[int, int] = (80, 64)) -> Path:
    """Write a picture, each name another one, with a text file when there is a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(*size, seed=zlib.crc32(path.name.encode())).save(path)
    if text is not None:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    return path


def write_list(path: Path, *entries: object) -> None:
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    path.write_text("\n".join(lines), encoding="utf-8")


def problems(path: Path, checks: Checks | None = None) -> list[str]:
    with pytest.raises(TrainingDataError) as caught:
        read_folder(path, checks=checks)
    assert isinstance(caught.value, DiffusionError)
    first, *lines = str(caught.value).split("\n")
    assert first == f"{path} cannot be trained on yet:"
    return lines


def captions(found: TrainingFolder, root: Path) -> dict[str, str]:
    return {item.path.relative_to(root).as_posix(): item.caption for item in found.items}


# The three ways


def test_text_files_beside_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "b.png", "a blue\n  house\n")
    draw(tmp_path / "sub" / "a.b.JPG", "\ufeffthe cat")
    draw(tmp_path / "c.webp")
    (tmp_path / "c.caption").write_text("sea", encoding="utf-8")
    draw(tmp_path / "d.bmp", "hill", size=(64, 90))
    found = read_folder(tmp_path)
    assert captions(found, tmp_path) == {
        "b.png": "a blue house",
        "c.webp": "sea",
        "d.bmp": "hill",
        "sub/a.b.JPG": "the cat",
    }
    assert [(item.width, item.height, item.repeats) for item in found.items][2] == (64, 90, 1)
    assert found.warnings == ()


@pytest.mark.parametrize("name", ["metadata.jsonl", "captions.jsonl"])
def test_a_list(tmp_path: Path, name: str) -> None:
    for picture in ("a.png", "sub/b.png", "c\u0327\u00e9.png"):
        draw(tmp_path / picture)
    write_list(
        tmp_path / name,
        {"file_name": "a.png", "text": "one\u2028line", "caption": "not this"},
        "",
        {"file_name": ".\\sub\\b.png", "caption": "two"},
        # Another spelling of the same letters, as another system writes them.
        {"file_name": "\u00e7e\u0301.png", "text": "three"},
    )
    if name == "metadata.jsonl":
        text = (tmp_path / name).read_text(encoding="utf-8").replace("\\u2028", "\u2028")
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = captions(read_folder(tmp_path), tmp_path)
    assert sorted(found.values()) == ["one line", "three", "two"]
    assert found["a.png"] == "one line"


def test_a_list_in_a_subfolder_names_files_from_there(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "a.png")
    write_list(tmp_path / "train" / "metadata.jsonl", {"file_name": "a.png", "text": "one"})
    assert captions(read_folder(tmp_path), tmp_path) == {"train/a.png": "one"}
    draw(tmp_path / "b.png")
    assert problems(tmp_path) == [
        "b.png is not in metadata.jsonl: add a line for it or take it out."
    ]


@pytest.mark.parametrize(
    ("stem", "caption"),
    [
        ("red_heart-2", "red heart"),
        ("red heart (2)", "red heart"),
        ("red_heart_03 (12)", "red heart"),
        ("cat2", "cat"),
        ("mp3", "mp3"),
        ("R2D2", "R2D2"),
        ("3 cats", "3 cats"),
        ("cat(1)", "cat"),
        ("0001", ""),
        ("_-_", ""),
        ("Ärger__im-Zoo_7", "Ärger im Zoo"),
    ],
)
def test_file_names_as_captions(stem: str, caption: str) -> None:
    assert caption_of_name(stem) == caption


def test_file_names_are_the_way_where_nothing_else_is(tmp_path: Path) -> None:
    draw(tmp_path / "red_house-1.png")
    draw(tmp_path / "IMG" / "0001.png")
    (tmp_path / "README.txt").write_text("by Ann", encoding="utf-8")
    assert problems(tmp_path) == [
        "IMG/0001.png has a name without words: name it after what it shows."
    ]
    (tmp_path / "IMG" / "0001.png").unlink()
    assert captions(read_folder(tmp_path), tmp_path) == {"red_house-1.png": "red house"}


def test_text_files_for_some_pictures_only(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "one")
    draw(tmp_path / "sub" / "b.png")
    draw(tmp_path / "c.png", " \n")
    draw(tmp_path / "d.png", "four").with_suffix(".caption").write_text("4", encoding="utf-8")
    assert problems(tmp_path) == [
        "c.txt is empty: write what c.png shows.",
        "d.png has 2 text files (d.caption, ...): keep one.",
        "sub/b.png has no text file, others have (a.txt): write b.txt beside it.",
    ]


def test_mixed_ways_name_examples_of_both(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "one")
    write_list(tmp_path / "metadata.jsonl", {"file_name": "a.png", "text": "one"})
    told = "Captions come in several ways (metadata.jsonl, a.txt): keep one way."
    assert problems(tmp_path) == [told]
    (tmp_path / "a.txt").unlink()
    (tmp_path / "captions.jsonl").touch()
    told = "Captions come in several ways (captions.jsonl, metadata.jsonl): keep one way."
    assert problems(tmp_path) == [told]


def test_hidden_files_are_skipped_and_unread_kinds_are_told(tmp_path: Path) -> None:
    draw(tmp_path / "a cat.png")
    for name in (".b.png", ".trash/c.png", "__MACOSX/d.png", "Thumbs.db", "e.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing")
    found = read_folder(tmp_path)
    assert captions(found, tmp_path) == {"a cat.png": "a cat"}
    assert found.warnings == ("e.heic is of a kind that is not read: save it as PNG to use it.",)


def test_a_number_before_a_folder_is_repeats(tmp_path: Path) -> None:
    for name in ("10_cats/a.png", "10_cats/2_old/b.png", "3_x/deep/c.png", "dogs/d.png"):
        draw(tmp_path / name)
    found = read_folder(tmp_path)
    told = {item.path.name: item.repeats for item in found.items}
    assert told == {"a.png": 10, "b.png": 2, "c.png": 3, "d.png": 1}


@pytest.mark.parametrize("number", [0, 1001, 2024])
def test_repeats_that_cannot_be_meant(tmp_path: Path, number: int) -> None:
    draw(tmp_path / f"{number}_cats" / "a.png")
    told = f"lies in '{number}_cats', which asks for {number} repeats, not 1 to 1000"
    assert problems(tmp_path) == [f"{number}_cats/a.png {told}: rename the folder."]
    assert repeats_of(Path("1000_a/b.png")) == 1000
    # The picture's own name is no folder.
    assert repeats_of(Path("5_a.png")) == 1


# Bad lists


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"file_name": "a.png", "text": oh}', "is no JSON that can be read, column 32: mend"),
        ("[" * 200_000, "is no JSON that can be read"),
        ("9" * 5000, "is no JSON that can be read"),
        ("[1]", 'needs texts as "file_name" and "text"'),
        ('{"file_name": "a.png"}', 'needs texts as "file_name" and "text"'),
        ('{"file_name": 3, "text": "x"}', 'needs texts as "file_name" and "text"'),
        ('{"file_name": "a.png", "text": null}', 'needs texts as "file_name" and "text"'),
        ('{"file_name": "../a.png", "text": "x"}', "names '../a.png', which leaves the folder"),
        ('{"file_name": "b/../a.png", "text": "x"}', "which leaves the folder"),
        ('{"file_name": "..\\\\a.png", "text": "x"}', "which leaves the folder"),
        ('{"file_name": "/etc/a.png", "text": "x"}', "which leaves the folder"),
        ('{"file_name": "C:\\\\a.png", "text": "x"}', "which leaves the folder"),
        ('{"file_name": "z.png", "text": "x"}', "names 'z.png', which is no picture here"),
        ('{"file_name": "\\u0000", "text": "x"}', "which is no picture here"),
        ('{"file_name": "b.png", "text": "x"}', "names 'b.png', again: mend or delete"),
        ('{"file_name": "a.png", "text": " "}', "has an empty caption: write what a.png shows."),
    ],
)
def test_a_bad_line_is_told_with_its_number(tmp_path: Path, line: str, told: str) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    write_list(tmp_path / "metadata.jsonl", {"file_name": "b.png", "text": "b"}, line)
    first, *others = problems(tmp_path)
    assert first.startswith(f"metadata.jsonl line 2 {told}") or told in first
    assert first.startswith("metadata.jsonl line 2 ")
    assert len(first) < 220
    missing = "a.png is not in metadata.jsonl: add a line for it or take it out."
    assert others == ([] if "empty caption" in told else [missing])


def test_a_list_in_another_encoding_or_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "a.png")
    listing = tmp_path / "metadata.jsonl"
    listing.write_text('{"file_name": "a.png", "text": "é"}', encoding="utf-16")
    assert problems(tmp_path) == ["metadata.jsonl is not UTF-8 text: save it as UTF-8."]
    monkeypatch.setattr(folder, "MAX_LIST_BYTES", 10)
    assert problems(tmp_path) == ["metadata.jsonl has 0.0 MiB, the limit is 0.0: make it smaller."]


# Bad pictures


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp", "gif"])
def test_truncated_pictures(tmp_path: Path, kind: str) -> None:
    whole = draw(tmp_path / f"good.{kind}", "good").read_bytes()
    for name, data in {"cut": whole[: len(whole) // 2], "empty": b"", "page": b"<html>"}.items():
        (tmp_path / f"{name}.{kind}").write_bytes(data)
        (tmp_path / f"{name}.txt").write_text("x", encoding="utf-8")
    found = problems(tmp_path)
    assert [line.split(" is damaged")[0] for line in found] == [
        f"cut.{kind}", f"empty.{kind}", f"page.{kind}"
    ]  # fmt: skip
    assert all(line.endswith(": save it again.") for line in found)


def test_too_many_pixels_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "a cat.png", size=(100, 70))

    def never(image: Image.Image) -> None:
        raise AssertionError(f"{image} was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    assert problems(tmp_path, Checks(max_pixels=6999)) == [
        "a cat.png has 100 x 70 pixels, at most 0.0 million are taken: make it smaller."
    ]
    monkeypatch.undo()
    assert len(read_folder(tmp_path, checks=Checks(max_pixels=7000)).items) == 1


def test_a_bomb_that_pillow_itself_refuses() -> None:
    head = bytearray(bomb := _png(noise()))
    assert bomb[12:16] == b"IHDR"
    head[16:24] = (60_000).to_bytes(4, "big") * 2
    head[29:33] = zlib.crc32(bytes(head[12:29])).to_bytes(4, "big")
    with pytest.raises(PictureError, match="far too many pixels, at most 64"):
        decode_rgb(bytes(head))


def test_small_pictures_are_told_with_their_size(tmp_path: Path) -> None:
    draw(tmp_path / "a cat.png", size=(200, 63))
    assert problems(tmp_path) == [
        "a cat.png has 200 x 63 pixels; 64 a side are needed: take a larger one, or this one out."
    ]
    assert len(read_folder(tmp_path, checks=Checks(min_side=63)).items) == 1


def test_links_and_special_files(tmp_path: Path) -> None:
    outside = draw(tmp_path / "outside" / "secret.png", "secret")
    root = tmp_path / "root"
    draw(root / "a.png", "one")
    (root / "b.png").symlink_to(outside)
    (root / "b.txt").symlink_to(outside.with_suffix(".txt"))
    (root / "c.png").symlink_to(root / "c.png")
    (root / "c.txt").write_text("c", encoding="utf-8")
    os.mkfifo(root / "d.png")
    (root / "d.txt").write_text("d", encoding="utf-8")
    (root / "e.png").symlink_to(root / "nowhere.png")
    (root / "e.txt").write_text("e", encoding="utf-8")
    (root / "f").symlink_to(tmp_path / "outside")
    assert problems(root) == [
        "b.txt is a link out of the folder: copy the file itself here.",
        "b.png is a link out of the folder: copy the file itself here.",
        "c.png is a link to itself: take it out of the folder.",
        "d.png is no regular file: take it out of the folder.",
        "e.png cannot be read (No such file or directory): check it and who may read it.",
    ]
    for name in "bcde":
        for file in root.glob(f"{name}.*"):
            file.unlink()
    # A link inside the folder is as good as the file.
    (root / "g.png").symlink_to(root / "a.png")
    (root / "g.txt").symlink_to(root / "a.txt")
    found = read_folder(root)
    assert captions(found, root) == {"a.png": "one", "g.png": "one"}
    assert found.warnings[0] == "f is a link to a folder: its files are not taken."


def test_files_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "a cat.png")

    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert problems(tmp_path) == [
        "a cat.png cannot be read (Permission denied): check it and who may read it."
    ]


def test_no_pictures_and_no_folder(tmp_path: Path) -> None:
    none = "holds no pictures (.png, .jpg, .jpeg, .webp, .bmp, .gif): put some in."
    assert problems(tmp_path) == [f"{tmp_path} {none}"]
    missing = tmp_path / "missing"
    assert problems(missing) == [
        f"{missing} cannot be listed: No such file or directory.",
        f"{missing} {none}",
    ]


def test_all_problems_at_once_ten_shown(tmp_path: Path) -> None:
    for number in range(13):
        (tmp_path / f"cat {number:02}x.png").write_bytes(b"")
    found = problems(tmp_path)
    assert len(found) == 11
    assert found[-1] == "and 3 more"
    assert [line[:11] for line in found[:-1]] == [f"cat {n:02}x.png" for n in range(10)]
    assert shortened(["a"] * 10) == "\n".join(["a"] * 10)


def test_names_cannot_move_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[2J\nb.png").write_bytes(b"")
    os.close(os.open(os.fsencode(tmp_path) + b"/c\xff.png", os.O_CREAT))
    found = problems(tmp_path)
    assert [line.split(" is ")[0] for line in found] == ["a?[2J?b.png", "c?.png"]
    assert "\n".join(found).encode()


# Warnings


def test_duplicates_are_a_warning(tmp_path: Path) -> None:
    first = draw(tmp_path / "a cat.png")
    shutil.copy(first, tmp_path / "b cat.png")
    found = read_folder(tmp_path)
    assert len(found.items) == 2
    assert found.warnings == ("b cat.png is the same file as a cat.png: it is learned twice.",)


def test_long_captions_are_a_warning(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "one two three")
    draw(tmp_path / "b.png", "one two")
    counted: Callable[[str], int] = lambda text: len(text.split()) + 2  # noqa: E731
    found = read_folder(tmp_path, checks=Checks(window=4), count_tokens=counted)
    told = "a.png has a caption of 5 tokens, the text encoder reads 4: 1 are cut off."
    assert found.warnings == (told,)


def test_progress_is_told(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path / name)
    told: list[tuple[int, int]] = []
    read_folder(tmp_path, progress=lambda done, all_: told.append((done, all_)))
    assert told == [(1, 2), (2, 2)]


# Modes


def test_modes_are_converted_and_told_in_one_line(tmp_path: Path) -> None:
    picture = noise()
    picture.convert("L").save(tmp_path / "gray.png")
    picture.convert("L").point(lambda value: value // 2).save(tmp_path / "dark.png")
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    picture.save(tmp_path / "plain.png")
    frames = [noise(seed=n).convert("P") for n in (1, 2)]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    found = read_folder(tmp_path)
    assert found.warnings == (
        "4 pictures are made upright RGB on white: 1 CMYK, 2 L, 1 P animated (first frame).",
    )


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _pixel(data: bytes) -> tuple[int, ...]:
    decoded = decode_rgb(data).picture
    assert decoded.mode == "RGB"
    found = decoded.getpixel((0, 0))
    assert isinstance(found, tuple)
    return found


def test_transparency_is_laid_on_white() -> None:
    assert _pixel(_png(Image.new("RGBA", (8, 8), (255, 0, 0, 0)))) == (255, 255, 255)
    assert _pixel(_png(Image.new("RGBA", (8, 8), (0, 0, 0, 51)))) == (204, 204, 204)
    assert _pixel(_png(Image.new("LA", (8, 8), (0, 0)))) == (255, 255, 255)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([9, 8, 7, 1, 2, 3])
    assert _pixel(_png(palette)) == (9, 8, 7)
    out = io.BytesIO()
    palette.save(out, "PNG", transparency=0)
    assert _pixel(out.getvalue()) == (255, 255, 255)
    assert decode_rgb(out.getvalue()).was == "P with transparency"


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    """Pillow's own conversion makes everything above 255 of 65535 white."""
    values = np.array([[0, 257, 128 * 257, 65535]] * 4, dtype=np.uint16)
    decoded = decode_rgb(_png(Image.fromarray(values)))
    assert decoded.was == "I;16"
    assert np.asarray(decoded.picture)[0].tolist() == [[v] * 3 for v in (0, 1, 128, 255)]


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        out = io.BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:], lossless=True)
        assert decode_rgb(out.getvalue()).was.endswith("animated (first frame)"), kind
        assert _pixel(out.getvalue()) == (255, 0, 0)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    """Orientation 6: the picture lies on its left side; the top left pixel goes top right."""
    picture = Image.new("RGB", (90, 70), "white")
    picture.putpixel((0, 0), (0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a cat.png", exif=exif)
    found = read_folder(tmp_path)
    assert (found.items[0].width, found.items[0].height) == (70, 90)
    assert found.warnings == ("1 pictures are made upright RGB on white: 1 turned.",)
    turned = decode_rgb((tmp_path / "a cat.png").read_bytes()).picture
    assert turned.getpixel((69, 0)) == (0, 0, 0)
    assert turned.getpixel((0, 0)) == (255, 255, 255)


# Room


def test_too_little_room_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "a cat.png")
    draw(tmp_path / "a dog.png")
    asked: list[Path] = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=100 << 20)

    def free(device: torch.device) -> int:
        assert device.type == "cpu"
        return 30 << 20

    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr(folder, "available", free)
    states = tmp_path / "not" / "there"
    enough = Checks(states=states, disk=100 << 20, memory=10 << 20, memory_each=10 << 20)
    assert len(read_folder(tmp_path, checks=enough).items) == 2
    assert asked == [tmp_path]
    short = Checks(states=states, disk=101 << 20, memory=11 << 20, memory_each=10 << 20)
    assert problems(tmp_path, short) == [
        f"The disk of {states} has 100 MiB free and training takes 101: "
        "make room or choose another disk.",
        "Memory has 30 MiB free and training takes 31: use fewer pictures.",
    ]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x" * 11)
    assert read_regular(path, 11) == b"x" * 11
    with pytest.raises(PictureError, match="the limit is"):
        read_regular(path, 10)
    assert buckets.MAX_FILE_BYTES >= 4 * buckets.MAX_PIXELS
