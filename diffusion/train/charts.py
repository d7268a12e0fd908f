"""Pictures of training: the loss along the way, and sheets of samples.

Promises: PNG files drawn by Pillow alone, with its own font; what lies at the path is the old
picture or the new one, never half of it. Never: a crash for a loss that is no number, since that
is when somebody looks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Point = tuple[float, float]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_WIDTH: Final = 960
_HEIGHT: Final = 540
_MARGIN: Final = 24
# The plot's edges: left, top, right, bottom.
_PLOT: Final = (76, 84, _WIDTH - 30, _HEIGHT - 58)
# Drawn this many times larger and averaged, since Pillow's lines have hard edges.
_FINE: Final = 3
_INK: Final = (50, 52, 58)
_QUIET: Final = (118, 122, 130)
_RULE: Final = (230, 232, 236)
_EACH: Final = (172, 196, 230)
_SMOOTHED: Final = (28, 84, 168)
_BROKEN: Final = (214, 96, 90)
# Above this a number says only that training has failed, and axes would lose theirs.
_LARGEST: Final = 1e30
# A range of this factor is clearer on a logarithmic scale.
_LOG_FROM: Final = 4.0
_TICKS: Final = 7
# Pictures are enlarged while they fit this; 32 pixels a side become 128.
_SHOWN: Final = 144
_GAP: Final = 10
_LABEL: Final = 160
_LINES: Final = 4


def loss_curve(log: Sequence[Mapping[str, float]], path: Path, *, title: str) -> None:
    """Draw the loss over the samples seen, each entry thinly and their running mean.

    Entries have "samples" and "loss"; those that are no finite numbers become red lines.
    ValueError for an entry that lacks one of the two.
    """
    lacking = [i for i, entry in enumerate(log) if not {"samples", "loss"} <= entry.keys()]
    if lacking:
        raise ValueError(f"entry {lacking[0]} of the log needs both samples and loss to be drawn.")
    points = [(float(e["samples"]), float(e["loss"])) for e in log if _finite(e["samples"])]
    whole = [(x, y) for x, y in points if _finite(y)]
    canvas = _Canvas(_WIDTH, _HEIGHT)
    left, top, right, bottom = _PLOT
    x_axis = _Axis.of([0.0, *(x for x, _ in points)], left, right, padding=0.0)
    y_axis = _Axis.of([y for _, y in whole], bottom, top, padding=0.06)
    _draw_axes(canvas, x_axis, y_axis, title)
    for x, y in points:
        if not _finite(y):
            canvas.line([(x_axis.at(x), top), (x_axis.at(x), bottom)], _BROKEN, 1)
    for run in _runs(points):
        canvas.line([(x_axis.at(x), y_axis.at(y)) for x, y in run], _EACH, 1.2)
    smoothed = _running_mean(whole)
    canvas.line([(x_axis.at(x), y_axis.at(y)) for x, y in smoothed], _SMOOTHED, 2.4)
    _draw_legend(canvas, smoothed, len(log) - len(whole))
    _save(canvas.picture(), path)


def sheet(
    rows: Sequence[Sequence[Image.Image]],
    path: Path,
    *,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> None:
    """Lay pictures out in rows, with a heading above every column and a label before every row.

    Pictures are centred in cells of one size, transparent ones on white; small ones are enlarged by
    one whole number, pixel by pixel. ValueError when headings or labels do not fit the rows.
    """
    across = max((len(row) for row in rows), default=0)
    for words, count, what in ((columns, across, "columns"), (labels, len(rows), "labels")):
        if words and len(words) != count:
            raise ValueError(f"{len(words)} {what} are given for {count}: give one each, or none.")
    sizes = [picture.size for row in rows for picture in row] or [(_SHOWN, _SHOWN)]
    largest = max(w for w, _ in sizes), max(h for _, h in sizes)
    factor = max(1, _SHOWN // max(largest))
    wide, high = (side * factor + _GAP for side in largest)
    font = ImageFont.load_default(14)
    heads = [_wrapped(text, wide - _GAP, font) for text in columns]
    before = _LABEL if labels else 0
    above = max((_height(lines, font) for lines in heads), default=0)
    above += _GAP if heads else 0
    size = (before + across * wide + _GAP, above + len(rows) * high + _GAP)
    page = Image.new("RGB", (max(size[0], _SHOWN), max(size[1], _GAP)), "white")
    draw = ImageDraw.Draw(page)
    for column, lines in enumerate(heads):
        place = (before + column * wide + (wide + _GAP) / 2, above)
        draw.multiline_text(place, "\n".join(lines), _INK, font, "md", align="center")
    for number, row in enumerate(rows):
        middle = above + number * high + (high + _GAP) // 2
        if labels:
            lines = _wrapped(labels[number], _LABEL - 2 * _GAP, font)
            draw.multiline_text((_GAP, middle), "\n".join(lines), _INK, font, "lm")
        for column, picture in enumerate(row):
            _paste(page, picture, factor, (before + column * wide + (wide + _GAP) // 2, middle))
    _save(page, path)


def _paste(page: Image.Image, picture: Image.Image, factor: int, centre: tuple[int, int]) -> None:
    whole = picture.convert("RGBA")
    shown = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    shown = shown.resize((shown.width * factor, shown.height * factor), Image.Resampling.NEAREST)
    left, top = centre[0] - shown.width // 2, centre[1] - shown.height // 2
    # A thin frame, or pictures on white run into each other.
    frame = (left - 1, top - 1, left + shown.width, top + shown.height)
    ImageDraw.Draw(page).rectangle(frame, outline=_RULE)
    page.paste(shown, (left, top))


def _wrapped(text: str, width: float, font: Font) -> list[str]:
    """Break a text into at most `_LINES` lines of at most `width` pixels, shortened by a "…"."""
    lines: list[str] = [""]
    words = text.split()
    for number, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        elif len(lines) == _LINES:
            lines[-1] = _shortened(f"{lines[-1]} {' '.join(words[number:])}", width, font)
            break
        else:
            lines += [word]
    # Only words that are wider than a line are left to be cut.
    return [_shortened(line, width, font) for line in lines if line]


def _shortened(text: str, width: float, font: Font) -> str:
    """Return a text that is at most `width` pixels wide: itself, or its beginning and "…"."""
    if font.getlength(text) <= width:
        return text
    length = len(text)
    while length and font.getlength(f"{text[:length]}…") > width:
        length -= 1
    return f"{text[:length].rstrip()}…"


def _height(lines: Sequence[str], font: Font) -> int:
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    top, bottom = measure.multiline_textbbox((0, 0), "\n".join(lines), font, "la")[1::2]
    return math.ceil(bottom - min(0, top)) + 4


def _finite(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= _LARGEST


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Split a line where it has no number."""
    runs: list[list[Point]] = [[]]
    for x, y in points:
        if _finite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _running_mean(points: Sequence[Point]) -> list[Point]:
    """Average every value with its neighbours, up to 3 % of all on each side."""
    reach, last = round(0.03 * len(points)), len(points) - 1
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    found = []
    for i, (x, _) in enumerate(points):
        # As many on both sides, or the steep beginning would bend; the end is flat and noisy.
        r = min(reach, i)
        first, end = i - (r if i + r <= last else reach), min(i + r, last) + 1
        found.append((x, (sums[end] - sums[first]) / (end - first)))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """Values `low` to `high` on the pixels `begin` to `end`, evenly or by their logarithms."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool

    @classmethod
    def of(cls, values: Sequence[float], begin: float, end: float, *, padding: float) -> "_Axis":
        """Choose an axis that shows all values, with a share of room at both ends."""
        low, high = min(values, default=0.0), max(values, default=1.0)
        logarithmic = padding > 0 and low > 0 and high / low >= _LOG_FROM
        if logarithmic:
            room = (high / low) ** padding
            low, high = low / room, high * room
        else:
            if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
                # A single value stands in the middle, or at the beginning where there is no room.
                half = abs(high) / 2 or 0.5
                low, high = (low - half, high + half) if padding else (low, high + 2 * half)
            room = (high - low) * padding
            low, high = low - room, high + room
        return cls(low=low, high=high, begin=begin, end=end, logarithmic=logarithmic)

    def at(self, value: float) -> float:
        """Return where a value is, in pixels."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.begin + (value - low) / (high - low) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Return round values between the ends, not more than fit."""
        if self.logarithmic:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            stride = math.ceil((last - first) / _TICKS)
            powers = [10.0**power for power in range(first, last + 1, stride)]
            for parts in ((1, 2, 5), (1, 3), (1,)):
                found = [p * power for power in powers for p in parts]
                found = [value for value in found if self.low <= value <= self.high]
                if (stride == 1 or parts == (1,)) and 3 <= len(found) <= _TICKS + 2:
                    return found
        rough = (self.high - self.low) / _TICKS
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(part * unit for part in (1, 2, 5, 10) if part * unit >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


class _Canvas:
    """A white picture drawn on in pixels, fractions too, with soft edges."""

    def __init__(self, width: int, height: int) -> None:
        self._page = Image.new("RGB", (width * _FINE, height * _FINE), "white")
        self._draw = ImageDraw.Draw(self._page)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """Draw a line through points; a single one becomes a dot."""
        fine = [(x * _FINE, y * _FINE) for x, y in points]
        if len(fine) == 1:
            self._draw.circle(fine[0], 2 * width * _FINE, fill=colour)
        elif fine:
            self._draw.line(fine, fill=colour, width=round(width * _FINE), joint="curve")

    def text(self, place: Point, text: str, colour: Colour, size: int, anchor: str) -> float:
        """Write one line, anchored as Pillow names it; return its width in pixels."""
        font = ImageFont.load_default(size * _FINE)
        text = _shortened(" ".join(text.split()), (_WIDTH - 2 * _MARGIN) * _FINE, font)
        fine = (place[0] * _FINE, place[1] * _FINE)
        self._draw.text(fine, text, fill=colour, font=font, anchor=anchor)
        return font.getlength(text) / _FINE

    def picture(self) -> Image.Image:
        """Return the picture in its own size."""
        return self._page.reduce(_FINE)


def _draw_axes(canvas: _Canvas, x_axis: _Axis, y_axis: _Axis, title: str) -> None:
    left, top, right, bottom = _PLOT
    canvas.text((_MARGIN, 22), title, _INK, 20, "la")
    for value in y_axis.ticks():
        canvas.line([(left, y_axis.at(value)), (right, y_axis.at(value))], _RULE, 1)
        canvas.text((left - 10, y_axis.at(value)), f"{value:.6g}", _QUIET, 13, "rm")
    for value in x_axis.ticks():
        canvas.line([(x_axis.at(value), bottom), (x_axis.at(value), bottom + 5)], _QUIET, 1)
        canvas.text((x_axis.at(value), bottom + 9), _count(value), _QUIET, 13, "ma")
    canvas.line([(left, bottom), (right, bottom)], _QUIET, 1)
    scale = ", logarithmic" if y_axis.logarithmic else ""
    canvas.text((left - 10, top - 12), f"loss{scale}", _QUIET, 13, "ls")
    canvas.text((right, bottom + 30), "samples seen", _QUIET, 13, "ra")


def _draw_legend(canvas: _Canvas, smoothed: Sequence[Point], broken: int) -> None:
    right, height = _PLOT[2], _PLOT[1] - 17
    told = f"last {smoothed[-1][1]:.4g} after {_count(smoothed[-1][0])}" if smoothed else "no loss"
    entries: list[tuple[str, Colour]] = [(told, _SMOOTHED), ("running mean", _SMOOTHED)]
    entries += [("each entry", _EACH)]
    entries += [(f"no number: {broken}", _BROKEN)] if broken else []
    for text, colour in entries:
        right -= round(canvas.text((right, height), text, _QUIET, 13, "rm")) + 8
        if text != told:
            canvas.line([(right - 18, height), (right, height)], colour, 2.4)
            right -= 18
        right -= 18


def _count(value: float) -> str:
    """Write a number of samples shortly: 500, 2.5k, 1.2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.6g}"


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    picture.save(part, format="PNG")
    part.replace(path)
