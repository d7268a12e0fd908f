"""The data set: every drawing that is used, as pixels, with its name, keywords and split.

Promises: the same files on every run from the same packages; held-out pairs that depend on
nothing but style and name; pixels with straight alpha (composite them on a colour when loading).
Never: a picture made by a model, or a caption (those are drawn when training, see captions).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np

from diffusion.train.art import Drawing, emoji_table, read_drawings
from diffusion.train.packages import PACKAGES, STYLES, ensure_packages
from diffusion.train.rasterise import Pixels as Pixels
from diffusion.train.rasterise import read_picture, render_svg, shrink

INDEX_VERSION: Final = 1
RENDER_SIZE: Final = 128
SMALL_SIZE: Final = 64
HELD_OUT_PERCENT: Final = 5.0
# These four must be paintable in every style: they are never held out.
ALWAYS_TRAINED: Final = frozenset({"red heart", "smiling face", "cat face", "red apple"})
UNSEEN_BY_JUDGE: Final = 600
JUDGE_STYLES: Final = 3
SYMBOL_WEIGHT: Final = 0.3


class DataError(RuntimeError):
    """The data set is missing, damaged, or was asked for something it does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One picture of the set; `row` is its place in the pixel array."""

    row: int
    style: str
    name: str
    keywords: tuple[str, ...]
    group: str
    code_points: str
    icon: str
    weight: float
    flip: bool
    held_out: bool
    unseen_by_judge: bool


def fraction_of(salt: str, *parts: str) -> float:
    """Return a number in 0..1 that depends on nothing but the words."""
    digest = hashlib.sha256("\x1f".join((salt, *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def is_held_out(style: str, name: str) -> bool:
    """Say whether a (name, style) pair is kept from the generator: a fixed 5 % of all pairs."""
    if name in ALWAYS_TRAINED:
        return False
    return fraction_of("easel held out", style, name) < HELD_OUT_PERCENT / 100


def make_rows(drawings: Sequence[Drawing]) -> list[Row]:
    """Describe the drawings, with both splits."""
    styles: dict[str, set[str]] = {}
    for drawing in drawings:
        styles.setdefault(drawing.emoji.name, set()).add(drawing.style)
    pairs = sorted(
        {(d.style, d.emoji.name) for d in drawings if len(styles[d.emoji.name]) >= JUDGE_STYLES},
        key=lambda pair: fraction_of("easel judge", *pair),
    )
    # A small set (as in tests) keeps most of its drawings for training.
    unseen = frozenset(pairs[: min(UNSEEN_BY_JUDGE, len(pairs) // 5)])
    return [_row(i, drawing, unseen) for i, drawing in enumerate(drawings)]


def _row(number: int, drawing: Drawing, unseen: frozenset[tuple[str, str]]) -> Row:
    emoji, style = drawing.emoji, drawing.style
    symbol = emoji.group == "Symbols"
    return Row(
        row=number,
        style=style,
        name=emoji.name,
        keywords=emoji.keywords,
        group=emoji.group,
        code_points="-".join(f"{point:x}" for point in emoji.code),
        icon=drawing.icon,
        weight=SYMBOL_WEIGHT if symbol and "heart" not in emoji.name else 1.0,
        flip=not symbol and "left" not in emoji.name and "right" not in emoji.name,
        held_out=is_held_out(style, emoji.name),
        unseen_by_judge=(style, emoji.name) in unseen,
    )


def render(drawing: Drawing, size: int) -> Pixels:
    """Return a drawing as size x size x 4 pixels."""
    if isinstance(drawing.source, Path):
        return read_picture(drawing.source, size)
    return render_svg(drawing.source, size)


def build(
    folder: Path,
    packages_root: Path,
    *,
    styles: Iterable[str] = STYLES,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Write art-128.npy, art-64.npy (N x S x S x 4 uint8) and index.json into `folder`.

    The packages are fetched with npm when `packages_root` lacks them. The index is written last:
    a folder with an index is whole.
    """
    wanted = set(styles)
    unknown = wanted - set(STYLES)
    if unknown:
        raise DataError(f"unknown styles {sorted(unknown)}; known are {', '.join(STYLES)}.")
    ensure_packages(packages_root)
    table = emoji_table(packages_root)
    drawings = [
        drawing
        for package in PACKAGES
        if package.style in wanted
        for drawing in read_drawings(packages_root, package, table)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.json").unlink(missing_ok=True)
    large = np.zeros((len(drawings), RENDER_SIZE, RENDER_SIZE, 4), dtype=np.uint8)
    small = np.zeros((len(drawings), SMALL_SIZE, SMALL_SIZE, 4), dtype=np.uint8)
    for i, drawing in enumerate(drawings):
        large[i] = render(drawing, RENDER_SIZE)
        small[i] = shrink(large[i], SMALL_SIZE)
        if progress is not None:
            progress(i + 1, len(drawings))
    kept = [i for i in range(len(drawings)) if large[i, ..., 3].any()]
    rows = make_rows([drawings[i] for i in kept])
    _save_array(folder / f"art-{RENDER_SIZE}.npy", large[kept])
    _save_array(folder / f"art-{SMALL_SIZE}.npy", small[kept])
    write_index(folder / "index.json", rows)
    return rows


def _save_array(path: Path, array: Pixels) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    part.replace(path)


def write_index(path: Path, rows: Sequence[Row]) -> None:
    """Write the description of the rows, with the packages they come from."""
    packages = {p.name: p.version for p in PACKAGES}
    lines = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in rows)
    head = json.dumps({"version": INDEX_VERSION, "packages": packages})[:-1]
    part = path.with_suffix(".part")
    part.write_text(f'{head}, "rows": [\n{lines}\n]}}\n', encoding="utf-8")
    part.replace(path)


def read_index(folder: Path) -> list[Row]:
    """Read the description of a data set that `build` wrote."""
    path = folder / "index.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != INDEX_VERSION:
            raise DataError(f"{path} has version {data['version']}, wanted {INDEX_VERSION}.")
        return [Row(**{**row, "keywords": tuple(row["keywords"])}) for row in data["rows"]]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; build the data set first.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); build the data set again.") from error


def read_art(folder: Path, size: int = SMALL_SIZE) -> Pixels:
    """Map the pixels (N x size x size x 4, straight alpha) without reading them into memory."""
    path = folder / f"art-{size}.npy"
    try:
        return cast(Pixels, np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; build the data set first.") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); build the data set again.") from error


def known_names() -> tuple[str, ...]:
    """Return the committed list of well-known, simple and distinct names."""
    path = Path(__file__).with_name("names.json")
    return tuple(name for group in json.loads(path.read_text("utf-8")).values() for name in group)


def select(
    rows: Sequence[Row],
    *,
    styles: Iterable[str] = ("3d", "twemoji"),
    preset: str = "known",
    held_out: bool | None = None,
) -> list[Row]:
    """Choose rows by style and preset: "known" is the committed name list, "all" everything.

    `held_out` chooses one side of the split; None takes both. A name drawn several times in one
    style keeps only its first drawing under "known".
    """
    if preset not in {"known", "all"}:
        raise DataError(f"unknown preset {preset!r}; there are 'known' and 'all'.")
    wanted = set(styles)
    lacking = wanted - {row.style for row in rows}
    if lacking:
        raise DataError(f"the data set holds no style {sorted(lacking)}; build it with them.")
    names = set(known_names()) if preset == "known" else None
    chosen: list[Row] = []
    seen: set[tuple[str, str]] = set()
    for row in rows:
        pair = (row.style, row.name)
        if row.style not in wanted or (held_out is not None and row.held_out is not held_out):
            continue
        if names is not None and (row.name not in names or pair in seen):
            continue
        seen.add(pair)
        chosen.append(row)
    return chosen


def counts(rows: Iterable[Row]) -> dict[str, int]:
    """Count the pictures by style."""
    return dict(Counter(row.style for row in rows))
