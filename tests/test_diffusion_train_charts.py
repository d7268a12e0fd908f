"""Loss curves and sheets, judged by their pixels."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

from diffusion.train import charts
from diffusion.train.charts import loss_curve, sheet

Pixels = np.ndarray[Any, np.dtype[np.int64]]


def drawn(path: Path) -> Pixels:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.mode == "RGB"
        return np.asarray(picture).astype(np.int64)


def places(pixels: Pixels, colour: tuple[int, int, int]) -> tuple[Pixels, Pixels]:
    """Rows and columns of the pixels of exactly this colour, legend and title left out."""
    y, x = np.nonzero((pixels == colour).all(axis=2))
    inside = y >= charts._PLOT[1]
    return y[inside], x[inside]


def entries(*losses: float, each: float = 100) -> list[dict[str, float]]:
    return [{"samples": each * (i + 1), "loss": loss} for i, loss in enumerate(losses)]


def test_a_falling_loss_falls_on_the_picture(tmp_path: Path) -> None:
    loss_curve(entries(*(2.0 - i / 64 for i in range(80))), tmp_path / "loss.png", title="a run")
    pixels = drawn(tmp_path / "loss.png")
    assert pixels.shape == (540, 960, 3)
    assert (pixels[0] == 255).all()
    assert (pixels[:, 0] == 255).all()
    y, x = places(pixels, charts._SMOOTHED)
    left, top, right, bottom = charts._PLOT
    assert y[x < left + 50].mean() < top + 60
    assert y[x > right - 50].mean() > bottom - 60
    # From the first entry to the last, which is the axis' end; the axis begins at no samples.
    assert abs(x.max() - right) < 3
    assert abs(x.min() - (left + (right - left) / 80)) < 3
    middle = y[abs(x - (left + right) / 2) < 3].mean()
    assert abs(middle - (top + bottom) / 2) < 8, "a straight line is straight on a linear axis"


def test_a_large_range_is_logarithmic(tmp_path: Path) -> None:
    loss_curve(entries(*(10 ** (-i / 20) for i in range(61))), tmp_path / "loss.png", title="")
    y, x = places(drawn(tmp_path / "loss.png"), charts._SMOOTHED)
    left, top, right, bottom = charts._PLOT
    start = left + (right - left) / 61
    middle = y[abs(x - (start + right) / 2) < 3].mean()
    assert abs(middle - (top + bottom) / 2) < 8, "an exponential is straight on a logarithmic axis"


@pytest.mark.parametrize("losses", [(), (0.3,), (0.0,), (-1.0, -1.0), (math.nan,), (0.5,) * 3])
def test_little_to_draw_is_a_picture_too(tmp_path: Path, losses: tuple[float, ...]) -> None:
    loss_curve(entries(*losses), tmp_path / "deep" / "loss.png", title="begun")
    y, x = places(drawn(tmp_path / "deep" / "loss.png"), charts._SMOOTHED)
    finite = [loss for loss in losses if math.isfinite(loss)]
    assert bool(len(x)) == bool(finite)
    if finite:
        assert abs(y.mean() - (charts._PLOT[1] + charts._PLOT[3]) / 2) < 5


def test_what_is_no_number_is_marked_where_it_happened(tmp_path: Path) -> None:
    losses = [1.0] * 40
    losses[9], losses[19], losses[29] = math.nan, math.inf, 1e300
    loss_curve(entries(*losses), tmp_path / "loss.png", title="broken")
    left, top, right, bottom = charts._PLOT
    pixels = drawn(tmp_path / "loss.png")
    red = (pixels[:, :, 0] - pixels[:, :, 2] > 60)[top:bottom].mean(axis=0) > 0.9
    found = np.nonzero(red)[0]
    for tenth in (10, 20, 30):
        assert abs(found - (left + (right - left) * tenth / 40)).min() < 2
    assert len(found) <= 6
    loss_curve([{"samples": math.nan, "loss": 1.0}], tmp_path / "loss.png", title="no place")
    assert len(places(drawn(tmp_path / "loss.png"), charts._SMOOTHED)[0]) == 0


def test_the_mean_is_smoother_than_the_entries(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noisy = [(i * 1.0, float(y)) for i, y in enumerate(1 + 0.1 * rng.standard_normal(500))]
    mean = charts._running_mean(noisy)
    assert len(mean) == len(noisy)
    assert np.std([y for _, y in mean]) < 0.4 * np.std([y for _, y in noisy])
    assert charts._running_mean([(0.0, 3.0)]) == [(0.0, 3.0)]
    line = [(i * 1.0, 2.0 - i) for i in range(100)]
    assert np.allclose(charts._running_mean(line)[:90], line[:90])
    # The last value is a mean as well, of some of the last entries.
    assert charts._running_mean([(0.0, 0.0)] * 99 + [(1.0, 8.0)])[-1][1] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 1.0), (0.013, 1.4), (1e-6, 1e3), (99.99, 100.0), (-5, 7), (1e-30, 1e30), (0.3, 0.31)],
)
@pytest.mark.parametrize("padding", [0.0, 0.06])
def test_ticks_are_round_few_and_inside(low: float, high: float, padding: float) -> None:
    axis = charts._Axis.of([low, high], 0, 100, padding=padding)
    ticks = axis.ticks()
    assert 3 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))
    assert len({f"{tick:.6g}" for tick in ticks}) == len(ticks)
    assert all(-1e-6 <= axis.at(tick) <= 100 + 1e-6 for tick in ticks)
    assert 0 <= axis.at(low) < axis.at(high) <= 100 + 1e-9
    assert all(len(f"{tick:.6g}") <= 8 for tick in ticks)


def test_counts_are_short() -> None:
    told = [charts._count(n) for n in (0, 500, 1000, 2500, 12_800_000, 3e9)]
    assert told == ["0", "500", "1k", "2.5k", "12.8M", "3G"]


def test_an_entry_without_a_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="entry 1 of the log needs both"):
        loss_curve([{"samples": 1, "loss": 1}, {"samples": 2}], tmp_path / "x.png", title="")
    assert not list(tmp_path.iterdir())


def test_a_picture_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "loss.png"
    loss_curve(entries(1.0, 0.5), path, title="first")
    before = path.read_bytes()

    def torn(self: Image.Image, fp: Path, format: str) -> None:
        del self, format
        fp.write_bytes(b"half")
        raise OSError("no space left")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(Image.Image, "save", torn)
        loss_curve(entries(1.0, 0.4), path, title="second")
    assert path.read_bytes() == before
    loss_curve(entries(1.0, 0.5), path, title="first")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["loss.png"]


def square(colour: str, width: int = 32, height: int = 32) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def test_small_pictures_are_enlarged_pixel_by_pixel(tmp_path: Path) -> None:
    picture = square("black")
    picture.putpixel((3, 5), (255, 0, 0))
    sheet([[picture]], tmp_path / "sheet.png")
    pixels = drawn(tmp_path / "sheet.png")
    assert (pixels == 0).all(axis=2).sum() == (32 * 32 - 1) * 16
    y, x = np.nonzero((pixels == (255, 0, 0)).all(axis=2))
    top, left = (int(part[0]) for part in np.nonzero((pixels == 0).all(axis=2)))
    assert (y.min() - top, y.max() - top) == (20, 23)
    assert (x.min() - left, x.max() - left) == (12, 15)


def test_pictures_lie_in_rows_and_centred(tmp_path: Path) -> None:
    rows = [[square("red", 200, 200), square("lime", 100, 200)], [square("blue", 200, 120)]]
    sheet(rows, tmp_path / "sheet.png")
    pixels = drawn(tmp_path / "sheet.png")
    boxes = {}
    for name, colour in (("red", (255, 0, 0)), ("lime", (0, 255, 0)), ("blue", (0, 0, 255))):
        y, x = np.nonzero((pixels == colour).all(axis=2))
        boxes[name] = (x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min())
    assert boxes["red"][2:] == (200, 200), "large pictures keep their size"
    assert boxes["lime"][2:] == (100, 200)
    assert boxes["blue"][2:] == (200, 120)
    assert boxes["blue"][0] == boxes["red"][0]
    step = boxes["blue"][1] - 40 - boxes["red"][1]
    assert 200 < step < 220
    assert boxes["lime"][0] == boxes["red"][0] + step + 50
    assert boxes["lime"][1] == boxes["red"][1]


def test_transparent_pictures_are_shown_on_white(tmp_path: Path) -> None:
    sheet([[Image.new("RGBA", (64, 64), (0, 0, 0, 0))]], tmp_path / "sheet.png")
    assert drawn(tmp_path / "sheet.png").min() > 200
    sheet([[Image.new("L", (64, 64), 0)]], tmp_path / "sheet.png")
    assert drawn(tmp_path / "sheet.png").min() == 0


def test_headings_and_labels_stand_beside_what_they_name(tmp_path: Path) -> None:
    rows = [[square("white")] * 2] * 2
    sheet(rows, tmp_path / "bare.png")
    sheet(rows, tmp_path / "named.png", columns=("left", ""), labels=("", "lower"))
    bare, named = drawn(tmp_path / "bare.png"), drawn(tmp_path / "named.png")
    assert named.shape[0] > bare.shape[0]
    assert named.shape[1] > bare.shape[1]
    dark = named.max(axis=2) < 120
    above = named.shape[0] - bare.shape[0]
    before = named.shape[1] - bare.shape[1]
    assert dark[:above, before : before + 140].any()
    assert not dark[:above, before + 150 :].any()
    middle = above + bare.shape[0] // 2
    assert dark[middle:, :before].any()
    assert not dark[:middle, :before].any()


@pytest.mark.parametrize("text", ["a heading of many words " * 9, "W" * 300, "on\ntwo\tlines", "…"])
def test_long_words_stay_in_their_cell(tmp_path: Path, text: str) -> None:
    rows = [[square("white"), square("white")]] * 2
    sheet(rows, tmp_path / "sheet.png", columns=("", text), labels=(text, ""))
    dark = drawn(tmp_path / "sheet.png").max(axis=2) < 120
    height, width = dark.shape
    assert not dark[:, -10:].any()
    assert not dark[: height // 6, : width - 10 - 144].any()
    assert not dark[:, charts._LABEL - 9 : charts._LABEL + 10].any()
    assert not dark[:3].any()


def test_wrapping_keeps_all_words_that_fit_and_says_when_some_do_not() -> None:
    font = ImageFont.load_default(14)
    assert charts._wrapped("red heart", 200, font) == ["red heart"]
    lines = charts._wrapped("one two three four five six", 60, font)
    assert " ".join(lines) == "one two three four five six"
    many = charts._wrapped("word " * 99, 60, font)
    assert len(many) == charts._LINES
    assert many[-1].endswith("…")
    assert all(font.getlength(line) <= 60 for line in many)
    assert charts._wrapped("", 60, font) == []


def test_an_empty_sheet_is_a_picture_and_wrong_headings_are_refused(tmp_path: Path) -> None:
    sheet([], tmp_path / "none.png")
    sheet([[], []], tmp_path / "none.png", labels=("a", "b"))
    assert drawn(tmp_path / "none.png").size
    with pytest.raises(ValueError, match="3 columns are given for 1"):
        sheet([[square("red")]], tmp_path / "x.png", columns=("a", "b", "c"))
    with pytest.raises(ValueError, match="1 labels are given for 2"):
        sheet([[square("red")]] * 2, tmp_path / "x.png", labels=("a",))
    assert not (tmp_path / "x.png").exists()
