"""The sheet: what was painted for the first prompts of every measure, with marks.

Promises: the first prompts of each set and the first picture of each, whatever they look like; a
green tick where the measure says right, a red cross where it says wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from diffusion.train.charts import sheet

TILES: Final = 8
_SIDE: Final = 128
_LINES: Final = 3
_FONT: Final = 12
_HEAD: Final = _LINES * (_FONT + 3) + 3
_INK: Final = (50, 52, 58)
_RIGHT: Final = (34, 139, 70)
_WRONG: Final = (200, 58, 52)
_FINE: Final = 4
_MARK: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tile:
    """A picture under its heading; `right` is None where nothing is measured."""

    heading: str
    picture: Image.Image
    right: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """A row of the sheet."""

    label: str
    tiles: tuple[Tile, ...]


def save_sheet(sections: Sequence[Section], path: Path) -> None:
    """Write the sheet as PNG; ValueError when there is nothing to show."""
    shown = [section for section in sections if section.tiles]
    if not shown:
        raise ValueError("there is no picture to put on a sheet.")
    rows = [[draw_tile(tile) for tile in section.tiles[:TILES]] for section in shown]
    sheet(rows, path, labels=[section.label for section in shown])


def draw_tile(tile: Tile) -> Image.Image:
    """Return a tile as one picture: the heading, below it the picture with its mark."""
    page = Image.new("RGB", (_SIDE, _HEAD + _SIDE), "white")
    font = ImageFont.load_default(_FONT)
    lines = _wrapped(tile.heading, font)
    ImageDraw.Draw(page).multiline_text(
        (_SIDE / 2, _HEAD - 4), "\n".join(lines), _INK, font, "md", spacing=3, align="center"
    )
    picture = tile.picture.convert("RGB")
    # Enlarged as the bot enlarges what it posts.
    page.paste(picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), (0, _HEAD))
    if tile.right is not None:
        mark = _mark(right=tile.right)
        page.paste(mark, (_SIDE - _MARK - 3, _HEAD + _SIDE - _MARK - 3), mark)
    return page


def _mark(*, right: bool) -> Image.Image:
    """Return a tick or a cross on a disc, drawn large and averaged for soft edges."""
    side = _MARK * _FINE
    mark = Image.new("RGBA", (side, side))
    pen = ImageDraw.Draw(mark)
    pen.ellipse((0, 0, side - 1, side - 1), fill=_RIGHT if right else _WRONG)
    strokes = (
        [((0.26, 0.54), (0.43, 0.70)), ((0.43, 0.70), (0.74, 0.33))]
        if right
        else [((0.31, 0.31), (0.69, 0.69)), ((0.31, 0.69), (0.69, 0.31))]
    )
    for start, end in strokes:
        line = [(x * side, y * side) for x, y in (start, end)]
        pen.line(line, fill="white", width=round(0.11 * side))
    return mark.reduce(_FINE)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Break a text into lines of a tile's width; what does not fit ends in "…"."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= _SIDE - 4:
            lines[-1] = longer
        elif len(lines) == _LINES:
            lines[-1] += "…"
            break
        else:
            lines.append(word)
    return [line for line in lines if line]
