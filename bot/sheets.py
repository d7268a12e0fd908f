"""How a comparison is made: one painting for each cell, laid out with labels.

Promises that every cell is what its prompt gives alone, that the sheet fits into a message, and
that cells of different shapes keep their own.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageDraw, ImageFont

from bot import jobs
from bot.axes import drawn
from bot.making import Making, Recipe
from diffusion import Params
from diffusion.pictures import encode_png
from storage import NewPicture

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_GAP: Final = 6
_LABEL: Final = 40
_SIDE_LABEL: Final = 190
_FONT: Final = 24
_MOST_CELL: Final = 384
_PAPER: Final = "#ffffff"
_INK: Final = "#1e1f22"


async def _sheet(making: Making) -> list[NewPicture]:
    cells = [Params.from_json(text) for text in making.details["cells"]]
    pictures: list[Picture] = []
    labels = [*making.details["axes"]["x"], *making.details["axes"]["y"]]
    by_seed = any(label.startswith("seed ") for label in labels)
    # Painted again the job has a new seed, and so has every cell, unless seeds are compared.
    shift = 0 if by_seed else making.params.seed - cells[0].seed
    for part, cell in enumerate(cells, start=1):
        params = replace(cell, seed=(cell.seed + shift) % 2**32)
        painted = await making.paint(params, part=part, parts=len(cells))
        pictures += painted.pictures[:1]
    return await asyncio.to_thread(_encoded, making, pictures)


def _encoded(making: Making, pictures: "Sequence[Picture]") -> list[NewPicture]:
    shown = [jobs.shown(picture, making.model) for picture in pictures]
    axes = making.details["axes"]
    sheet = lay_out(shown, across=axes["x"], down=axes["y"])
    provenance = jobs.provenance_of(making.job, 0, making.params, making.model)
    whole = NewPicture(
        index=0,
        data=encode_png(sheet, provenance),
        width=sheet.width,
        height=sheet.height,
        media_type=jobs.PNG,
    )
    singles = jobs.encode_grid(making.job, making.params, pictures, making.model)[1:]
    return [whole, *singles]


def lay_out(
    pictures: "Sequence[Picture]", *, across: Sequence[str], down: Sequence[str]
) -> "Picture":
    """Lay pictures out row by row under the labels `across` and beside those `down`."""
    width = min(_MOST_CELL, max(picture.width for picture in pictures))
    height = min(_MOST_CELL, max(picture.height for picture in pictures))
    left = _SIDE_LABEL if any(down) else 0
    size = (
        left + len(across) * (width + _GAP) + _GAP,
        _LABEL + max(1, len(down)) * (height + _GAP) + _GAP,
    )
    sheet = Image.new("RGB", size, _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=_FONT)
    for column, label in enumerate(drawn(across)):
        middle = left + _GAP + column * (width + _GAP) + width // 2
        pen.text((middle, _LABEL // 2), _cut(pen, font, label, width), _INK, font, anchor="mm")
    for row, label in enumerate(drawn(down)):
        middle = _LABEL + row * (height + _GAP) + height // 2
        text = _cut(pen, font, label, left - 2 * _GAP)
        pen.text((left // 2, middle), text, _INK, font, anchor="mm")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, len(across))
        small = picture.copy()
        small.thumbnail((width, height), Image.Resampling.LANCZOS)
        x = left + _GAP + column * (width + _GAP) + (width - small.width) // 2
        y = _LABEL + row * (height + _GAP) + (height - small.height) // 2
        sheet.paste(small, (x, y))
    return sheet


def _cut(pen: ImageDraw.ImageDraw, font: Any, text: str, width: int) -> str:  # noqa: ANN401 - Pillow has two kinds of fonts
    """Shorten a label to the width there is for it."""
    ends = itertools.chain([len(text)], range(len(text) - 1, 0, -1))
    for end in ends:
        shown = text if end == len(text) else f"{text[:end].rstrip()}…"
        if pen.textlength(shown, font) <= width:
            return shown
    return ""


GRID: Final = Recipe(make=_sheet)
