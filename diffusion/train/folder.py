"""A folder of pictures with captions, as a person lays it down, read and checked before training.

Pictures are png, jpg, webp, bmp and gif (its first frame), in subfolders too; hidden files and
`__MACOSX` are skipped. Captions come in one of three ways, found by what is there:

1. a text file beside each picture, `cat.txt` or `cat.caption` for `cat.png` (kohya's way);
2. one list, `metadata.jsonl` or `captions.jsonl`, a line for each picture with "file_name"
   (relative to the list) and "text" or "caption" (Hugging Face's imagefolder);
3. the file names, without a number at their end: `red_heart-2.png` says "red heart".

A subfolder named like `10_cats` lets its pictures count ten times (kohya's repeats).

Promises: every picture is decoded once, and every problem is told at once with the file's name and
what to do. Never believes a file: sizes are limited, and neither names nor links lead out.
"""

import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import torch

from diffusion.available import available
from diffusion.errors import DiffusionError, PictureError
from diffusion.train import buckets
from diffusion.train.buckets import TrainingPicture

PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
TEXTS: Final = (".txt", ".caption")
LISTS: Final = ("metadata.jsonl", "captions.jsonl")
# Not read; but left out without a word they would look as if they had been learned.
_UNREAD: Final = (".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".svg", ".psd", ".jfif")
MAX_LIST_BYTES: Final = 64 << 20
MAX_TEXT_BYTES: Final = 64 << 10


class TrainingDataError(DiffusionError):
    """A folder cannot be trained on; the message has a line for each problem, ten at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFolder:
    """What a folder holds, sorted by path, and what a person should know before it is learned."""

    items: tuple[TrainingPicture, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What is asked of a folder: pixels of a picture's shorter side and of all of it; tokens that
    the text encoder reads; bytes that training takes on the disk of `states` (a folder, there or
    not yet) and in memory, in all and for each picture's latents.
    """

    min_side: int = 64
    max_pixels: int = buckets.MAX_PIXELS
    window: int = 77
    states: Path = Path()
    disk: int = 0
    memory: int = 0
    memory_each: int = 0


def read_folder(
    path: Path,
    *,
    checks: Checks | None = None,
    count_tokens: Callable[[str], int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingFolder:
    """Read and check a folder; TrainingDataError tells all that is wrong with it.

    `count_tokens` says how many tokens a caption has, begin and end among them (without it, long
    captions are not looked for); `progress`, how many pictures of how many are decoded.
    """
    checks, notes = checks or Checks(), _Notes(root=path)
    files = _walk(notes)
    pictures = [file for file in files if file.suffix.lower() in PICTURES]
    if not pictures:
        notes.problems.append(f"{path} holds no pictures ({', '.join(PICTURES)}): put some in.")
    for file in (file for file in files if file.suffix.lower() in _UNREAD):
        notes.warn(file, "is of a kind that is not read: save it as PNG to use it.")
    _check_room(notes, checks, len(pictures))
    captions = _captions(notes, files, pictures)
    items: list[TrainingPicture] = []
    for number, picture in enumerate(pictures, 1):
        caption = captions.get(picture, "")
        tokens = count_tokens(caption) if caption and count_tokens is not None else 0
        if tokens > checks.window:
            cut = f"the text encoder reads {checks.window}: {tokens - checks.window} are cut off."
            notes.warn(picture, f"has a caption of {tokens} tokens, {cut}")
        with notes.about(picture):
            items.append(_read_picture(notes, picture, caption, checks))
        if progress is not None:
            progress(number, len(pictures))
    if notes.problems:
        raise TrainingDataError(f"{path} cannot be trained on yet:\n{shortened(notes.problems)}")
    if notes.converted:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(notes.converted.items()))
        told = f"{notes.converted.total()} pictures are made upright RGB on white: {kinds}."
        notes.warnings.insert(0, told)
    return TrainingFolder(items=tuple(items), warnings=tuple(map(_printable, notes.warnings)))


def shortened(lines: Sequence[str], limit: int = 10) -> str:
    """Join lines for a person: the first `limit`, then how many more there are."""
    more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join([*map(_printable, lines[:limit]), *more])


def _printable(text: str) -> str:
    # File names may hold what moves a terminal's cursor, or cannot be printed at all.
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def caption_of_name(stem: str) -> str:
    """Return what a file name says: underscores and dashes are spaces, numbers at the end go.

    A number that hangs on three letters or more goes too ("cat2"), one on fewer stays ("mp3").
    """
    words, before = " ".join(re.sub("[_-]", " ", stem).split()), None
    while words != before:
        before = words
        words = re.sub(r"\(\d+\)$|(^|(?<=\s)|(?<=[^\W\d_]{3}))\d+$", "", words).strip()
    return words


@dataclass(frozen=True, slots=True, kw_only=True)
class _Notes:
    """What was found in a folder so far."""

    root: Path
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    converted: Counter[str] = field(default_factory=Counter)
    seen: dict[bytes, Path] = field(default_factory=dict)

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def problem(self, path: Path, what: str) -> None:
        self.problems.append(f"{self.name(path)} {what}")

    def warn(self, path: Path, what: str) -> None:
        self.warnings.append(f"{self.name(path)} {what}")

    @contextmanager
    def about(self, path: Path, place: str = "") -> Iterator[None]:
        """Note what a block raises about a file, and go on after it."""
        try:
            yield
        except PictureError as error:
            self.problem(path, f"{place}{error}")

    def text(self, path: Path, limit: int) -> str:
        try:
            return buckets.read_below(self.root, path, limit).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise PictureError("is not UTF-8 text: save it as UTF-8.") from error


def _walk(notes: _Notes) -> list[Path]:
    """List all files that are not hidden, sorted."""
    found: list[Path] = []
    errors: list[OSError] = []
    for home, folders, names in os.walk(notes.root, onerror=errors.append):
        folders[:], names = (
            [name for name in some if not name.startswith(".") and name != "__MACOSX"]
            for some in (folders, names)
        )
        found += [Path(home, name) for name in names]
        for link in filter(Path.is_symlink, (Path(home, name) for name in folders)):
            notes.warn(link, "is a link to a folder: its files are not taken.")
    notes.problems.extend(f"{e.filename} cannot be listed: {e.strerror}." for e in errors)
    return sorted(found)


def _captions(notes: _Notes, files: Sequence[Path], pictures: Sequence[Path]) -> dict[Path, str]:
    """Find which way the captions come and read them; what is missing has been noted."""
    lists = [file for file in files if file.name.lower() in LISTS]
    stems = {picture.with_suffix("") for picture in pictures}
    texts: dict[Path, list[Path]] = {}
    for file in files:
        if file.suffix.lower() in TEXTS and file.with_suffix("") in stems:
            texts.setdefault(file.with_suffix(""), []).append(file)
    found: dict[Path, str] = {}
    if len(lists) > 1 or (lists and texts):
        ways = [*lists, *(text for beside in texts.values() for text in beside)]
        names = ", ".join(map(notes.name, ways[:4])) + (", ..." if len(ways) > 4 else "")
        notes.problems.append(f"Captions come in several ways ({names}): keep one way.")
    elif lists:
        with notes.about(lists[0]):
            found.update(_listed(notes, lists[0], pictures))
    else:
        for picture in pictures:
            if texts:
                _write_down(notes, picture, texts, found)
            elif words := caption_of_name(picture.stem):
                found[picture] = words
            else:
                notes.problem(picture, "has a name without words: name it after what it shows.")
    return found


def _write_down(
    notes: _Notes, picture: Path, texts: dict[Path, list[Path]], found: dict[Path, str]
) -> None:
    beside = texts.get(picture.with_suffix(""), [])
    if not beside:
        example = notes.name(next(iter(texts.values()))[0])
        told = f"has no text file, others have ({example}): write {picture.stem}.txt beside it."
        notes.problem(picture, told)
    elif len(beside) > 1:
        notes.problem(picture, f"has {len(beside)} text files ({beside[0].name}, ...): keep one.")
    else:
        with notes.about(beside[0]):
            found[picture] = " ".join(notes.text(beside[0], MAX_TEXT_BYTES).split())
            if not found[picture]:
                raise PictureError(f"is empty: write what {picture.name} shows.")


def _listed(notes: _Notes, listing: Path, pictures: Sequence[Path]) -> dict[Path, str]:
    text, home = notes.text(listing, MAX_LIST_BYTES), listing.parent
    # macOS spells accents as letters of their own, most other programs do not.
    plain = partial(unicodedata.normalize, "NFC")
    known = {plain(p.relative_to(home).as_posix()): p for p in pictures if home in p.parents}
    found: dict[Path, str] = {}
    # Not splitlines(): JSON texts may hold U+2028, which that takes for the end of a line.
    lines = ((n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip())
    for number, line in lines:
        with notes.about(listing, f"line {number} "):
            name, caption = _entry(line)
            picture = known.get(plain(PurePosixPath(name).as_posix()))
            if picture is None or picture in found:
                what = "again" if picture in found else "which is no picture here"
                raise PictureError(f"names {name!r:.80}, {what}: mend or delete the line.")
            found[picture] = caption
            if not caption:
                raise PictureError(f"has an empty caption: write what {picture.name} shows.")
    for picture in (picture for picture in pictures if picture not in found):
        notes.problem(picture, f"is not in {listing.name}: add a line for it or take it out.")
    return found


def _entry(line: str) -> tuple[str, str]:
    """Return the file name and the caption of a line; PictureError says what is wrong with it."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        where = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise PictureError(f"is no JSON that can be read{where}: mend the line.") from error
    entry = entry if isinstance(entry, dict) else {}
    name, caption = entry.get("file_name"), entry.get("text", entry.get("caption"))
    if not isinstance(name, str) or not isinstance(caption, str):
        raise PictureError('needs texts as "file_name" and "text" (or "caption"): add them.')
    slashed = name.replace("\\", "/")
    if slashed.startswith("/") or re.match("[A-Za-z]:", name) or ".." in slashed.split("/"):
        raise PictureError(f"names {name!r:.80}, which leaves the folder: name files in it.")
    return slashed, " ".join(caption.split())


def _read_picture(notes: _Notes, path: Path, caption: str, checks: Checks) -> TrainingPicture:
    data = buckets.read_below(notes.root, path)
    first = notes.seen.setdefault(hashlib.sha256(data).digest(), path)
    if first != path:
        notes.warn(path, f"is the same file as {notes.name(first)}: it is learned twice.")
    decoded = buckets.decode_rgb(data, max_pixels=checks.max_pixels)
    width, height = decoded.picture.size
    if min(width, height) < checks.min_side:
        size = f"{width} x {height} pixels; {checks.min_side} a side are needed"
        raise PictureError(f"has {size}: take a larger one, or this one out.")
    notes.converted.update([decoded.was] if decoded.was else [])
    repeats = buckets.repeats_of(path.relative_to(notes.root))
    return TrainingPicture(path=path, caption=caption, width=width, height=height, repeats=repeats)


def _check_room(notes: _Notes, checks: Checks, count: int) -> None:
    place = checks.states.absolute()
    while not place.exists():
        place = place.parent
    disk, memory = shutil.disk_usage(place).free, available(torch.device("cpu"))
    for what, has, needed, advice in (
        (f"The disk of {checks.states}", disk, checks.disk, "make room or choose another disk"),
        ("Memory", memory, checks.memory + count * checks.memory_each, "use fewer pictures"),
    ):
        if has < needed:
            sizes = f"{has / 2**20:,.0f} MiB free and training takes {needed / 2**20:,.0f}"
            notes.problems.append(f"{what} has {sizes}: {advice}.")
