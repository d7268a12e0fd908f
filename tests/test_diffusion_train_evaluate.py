"""The evaluation as a whole: prompts, figures, copies, table, sheet, and a painter who is right."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion import Params, generate, load_model
from diffusion.train.compose.draw import make_stock
from diffusion.train.compose.split import is_colour_held_out, is_count_held_out, is_pair_held_out
from diffusion.train.data import DataError, read_index, write_index
from diffusion.train.evaluate import (
    EvaluationError,
    Line,
    Sizes,
    evaluate,
    evaluation,
    likeness,
    measures,
    save_sheet,
    to_json,
    to_markdown,
)
from diffusion.train.evaluate.asks import AskSet, ask_colours, ask_counts, ask_pairs, ask_synonyms
from diffusion.train.evaluate.drawings import open_drawings, taught
from diffusion.train.evaluate.figures import figure
from diffusion.train.evaluate.likeness import Neighbours, psnr, variety
from diffusion.train.evaluate.paint import paint, reconstruct
from diffusion.train.evaluate.sheet import Section, Tile, draw_tile
from diffusion.train.presets import PRESETS
from diffusion.train.synonyms import Synonym
from tests.drawn_names import NAMES, SIZE, NearestJudge, make_drawings, write_names

WORDS = (
    Synonym(word="cab", names=("taxi", "automobile")),
    Synonym(word="donut", names=("doughnut",)),
    Synonym(word="minster", names=("church",)),
)
Painted = list[list[Image.Image]]


class Perfect:
    """Stands for the model: paints what was asked for, as the real pictures of the asks show it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.right: dict[str, Image.Image] = {}
        self.swap: Callable[[Image.Image], Image.Image] = lambda picture: picture
        ask = evaluation._ask

        def remember(*arguments: object) -> tuple[AskSet, ...]:
            sets = ask(*arguments)  # type: ignore[arg-type]
            self.right = {each.prompt: each.real for asks in sets for each in asks.asks}
            return sets

        monkeypatch.setattr(evaluation, "_ask", remember)
        monkeypatch.setattr(evaluation, "paint", self.paint)

    def paint(
        self,
        model: object,
        prompts: Sequence[str],
        *,
        images: int,
        seed: int,
        report: Callable[[int], None],
    ) -> Painted:
        del model, seed
        report(images * len(prompts))
        return [[self.swap(self.right[prompt])] * images for prompt in prompts]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    write_names(folder / "art")
    return folder


def test_a_painter_who_is_always_right_has_the_figures_of_real_pictures(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Perfect(monkeypatch)
    told: list[tuple[str, int, int]] = []
    found = evaluate(
        "emoji",
        data,
        sizes=Sizes(prompts=8, others=6, images=2),
        judge=NearestJudge(),
        words=WORDS,
        report=lambda *each: told.append(each),
    )
    lines = {line.key: line for line in found.report.lines}
    shares = ["trained", "held_out", "style", "style_held_out", "hue", "colour_thing"]
    shares += ["colour_both", "background", "pairs", "count", "synonyms", "synonym_names"]
    for key in shares:
        line = lines[key]
        assert line.model is not None, line
        assert line.chance is not None
        assert line.model.value == 1.0, key
        assert line.of_real == 1.0
        # One of two styles is right half the time, and the hues of a few prompts often agree.
        assert line.chance.value < (0.8 if "style" in key or key == "hue" else 0.5), key
        assert line.reconstructed is not None
    copies = lines["copies"].model, lines["copies_held_out"].model, lines["copies_held_out"].real
    assert [None if each is None else each.value for each in copies] == [1.0, 0.0, 0.0]
    assert lines["diversity"].model is not None
    assert lines["diversity"].model.value < 1e-6, "the same picture twice has no variety"
    assert lines["unseen"].real is not None
    assert (lines["unseen"].real.value, lines["unseen"].real.prompts) == (1.0, 2)
    assert lines["psnr"].reconstructed is not None
    assert 8 < lines["psnr"].reconstructed.value < 40
    assert (
        told[-1][1] == told[-1][2] == sum(each[1] for each in told[:1]) + told[-1][1] - told[0][1]
    )

    written = json.loads(to_json(found.report))
    assert {line["key"] for line in written["lines"]} == lines.keys()
    assert written["lines"][0]["of_real"] == 1.0
    page = to_markdown(found.report)
    assert "| trained prompts: right among 7 | 8 | 1.00 (1.00 to 1.00) |" in page
    save_sheet(found.sections, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 8 * 128
    marks = [tile.right for section in found.sections[:-1] for tile in section.tiles]
    assert marks
    assert all(marks)


def test_a_painter_who_swaps_colours_is_wrong_about_those_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red and blue exchanged: hues are wrong, numbers of things stay right."""
    painter = Perfect(monkeypatch)
    painter.swap = lambda picture: Image.merge("RGB", picture.split()[::-1])
    found = evaluate(
        "emoji",
        data,
        sizes=Sizes(prompts=8, others=8, images=1),
        judge=NearestJudge(),
        words=WORDS,
    )
    values = {line.key: line.model for line in found.report.lines}
    assert values["count"] is not None
    assert values["count"].value == 1
    for key in ("hue", "colour_both", "background"):
        figures = values[key]
        assert figures is not None
        assert figures.value < 0.75, key
    assert values["diversity"] is None
    assert "one picture" in found.report.line("diversity").lacking
    marks = [tile.right for section in found.sections for tile in section.tiles]
    assert False in marks


def test_prompts_are_held_out_fixed_and_a_short_list_begins_a_long_one() -> None:
    drawings = make_drawings()
    stock = make_stock(drawings.pixels, drawings.trained)
    for maker in (ask_colours, ask_pairs, ask_counts):
        every = maker(stock, 50, 3)
        prompts = [ask.prompt for ask in every.asks]
        assert len(set(prompts)) == len(prompts) > 1
        short = maker(stock, 2, 3)
        assert [ask.prompt for ask in short.asks] == prompts[:2]
        for one, other in zip(short.asks, every.asks, strict=False):
            assert np.array_equal(np.asarray(one.real), np.asarray(other.real))
        for ask in every.asks:
            names = [names[0] for names in ask.names]
            if ask.colour is not None:
                assert is_colour_held_out(ask.colour.name, names[0])
            elif ask.relation is not None:
                assert is_pair_held_out(*names)
            else:
                assert is_count_held_out(ask.count, names[0])
    assert [ask.prompt for ask in ask_pairs(stock, 2, 3).asks] == [
        "a flamingo above a t-shirt",
        "a hammer next to a soft ice cream",
    ]


def test_synonyms_go_with_the_names_that_are_drawn() -> None:
    drawings = make_drawings()
    by_word, by_name = ask_synonyms(drawings, WORDS, 10, 0)
    told = {ask.prompt: ask.names for ask in by_word.asks}
    assert told == {"cab": (("taxi",),), "donut": (("doughnut",),)}
    assert {ask.prompt for ask in by_name.asks} == {"taxi", "doughnut"}
    assert [ask.names for ask in by_word.asks] == [ask.names for ask in by_name.asks]
    nothing, _ = ask_synonyms(drawings, WORDS[2:], 10, 0)
    assert nothing.asks == ()
    assert "synonyms" in nothing.lacking


def test_figures_have_intervals_over_prompts() -> None:
    values = [1.0, 0.0] * 200
    narrow = figure(values, range(400))
    wide = figure(values, [i % 2 for i in range(400)])
    assert (narrow.value, narrow.prompts, wide.prompts) == (0.5, 400, 2)
    assert narrow.low == pytest.approx(0.45, abs=0.01)
    assert narrow.high == pytest.approx(0.55, abs=0.01)
    assert (wide.low, wide.high) == (0.0, 1.0), "two prompts alone say nothing"
    assert figure(values, range(400)) == narrow
    uneven = np.random.default_rng(0).random(30)
    assert figure(uneven, range(30)) != figure(uneven, range(30), seed=1)
    with pytest.raises(ValueError, match="one each"):
        figure(values, range(3))
    with pytest.raises(ValueError, match="0"):
        figure([], [])


def test_copies_are_near_and_mirrored_ones_too() -> None:
    drawings = make_drawings()
    among = Neighbours.among(drawings)
    real = [drawings.picture(row) for row in drawings.trained]
    assert among.copies(real).tolist() == [1.0] * len(real)
    turned = [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in real]
    assert among.copies(turned).tolist() == [1.0] * len(real)
    inverted = [picture.point(lambda x: 255 - x) for picture in real]
    assert among.copies(inverted).sum() == 0
    # A little darker is still a copy; another shape is none.
    assert among.copies([picture.point(lambda x: x * 0.97) for picture in real]).mean() == 1.0
    nearest = among.nearest(real[5])
    assert nearest[0][0] == drawings.trained[5]
    assert nearest[0][1] < 1e-6 < nearest[1][1] <= nearest[2][1]
    still = replace(drawings, trained=tuple(replace(row, flip=False) for row in drawings.trained))
    arms = NAMES.index("parrot") - 1  # an L, which has no mirror image in the set
    assert drawings.trained[arms].name in NAMES
    assert Neighbours.among(still).copies(turned).sum() < len(real)
    with pytest.raises(ValueError, match="two training drawings"):
        Neighbours.among(replace(drawings, trained=drawings.trained[:1]))


def test_variety_and_psnr_are_the_formulas() -> None:
    black, white = (Image.new("RGB", (SIZE, SIZE), colour) for colour in ("black", "white"))
    gray = Image.new("RGB", (SIZE, SIZE), (51, 51, 51))
    assert variety([[black, white], [black, black], [gray]]) == pytest.approx([1.0, 0.0])
    assert variety([[black, black, white]]) == pytest.approx([2 / 3])
    assert psnr(black, gray) == pytest.approx(-20 * np.log10(0.2))
    assert psnr(black, white) == pytest.approx(0.0)
    assert psnr(black, black) > 80
    groups = likeness.across_styles(make_drawings())
    assert all(len(group) == 2 for group in groups)
    assert len(groups) > 5


def test_painting_is_what_generate_paints_alone() -> None:
    model = load_model("emoji")
    defaults = model.info.defaults
    heard: list[int] = []
    found = paint(model, ["red heart", "pizza"], images=2, seed=5, report=heard.append)
    assert heard == [2, 2]
    params = Params(prompt="pizza", seed=7, steps=defaults.steps, width=64, height=64, images=2,
                    guidance_scale=defaults.guidance_scale, sampler=defaults.sampler,
                    schedule=defaults.schedule)  # fmt: skip
    *_, last = generate(model, params)
    assert last.pictures is not None
    assert [each.tobytes() for each in found[1]] == [each.tobytes() for each in last.pictures]
    (again,) = reconstruct(model, [make_drawings().picture(make_drawings().trained[0])])
    assert again.size == (64, 64)
    assert reconstruct(model, []) == []


def test_what_a_model_was_taught_is_in_its_description(tmp_path: Path, data: Path) -> None:
    assert taught("emoji") == (PRESETS["cpu"].styles, PRESETS["cpu"].names)
    other = tmp_path / "model"
    other.mkdir()
    (other / "config.json").write_text('{"training": {"preset": "gpu"}}')
    assert taught(other) == (PRESETS["gpu"].styles, PRESETS["gpu"].names)
    (other / "config.json").write_text('{"training": {"preset": "nobody knows"}}')
    assert taught(other) == (("3d", "twemoji"), "known")
    with pytest.raises(DataError, match="noto"):
        (other / "config.json").write_text('{"training": {"preset": "gpu"}}')
        open_drawings(data, other, SIZE)


def test_the_drawings_are_of_the_size_next_to_the_models(tmp_path: Path) -> None:
    write_names(tmp_path / "art")
    small = np.load(tmp_path / "art" / "art-64.npy")[:, ::2, ::2]
    np.save(tmp_path / "art" / "art-32.npy", small)
    sizes = {side: open_drawings(tmp_path, "emoji", side).size for side in (16, 32, 33, 64, 512)}
    assert sizes == {16: 32, 32: 32, 33: 64, 64: 64, 512: 64}


def test_a_data_set_that_lacks_what_is_asked_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One name in two styles: hardly anything can be asked, and each row says why."""
    Perfect(monkeypatch)
    write_names(tmp_path / "art")
    rows = read_index(tmp_path / "art")
    write_index(tmp_path / "art" / "index.json", [row for row in rows if row.name == "trophy"])
    found = evaluate("emoji", tmp_path, judge=NearestJudge(), words=(), sizes=Sizes.quick())
    lacking = {line.key: line.lacking for line in found.report.lines if line.lacking}
    assert {"held_out", "pairs", "synonyms", "copies_held_out", "unseen"} <= lacking.keys()
    assert "judge saw all" in lacking["unseen"]
    assert found.report.line("count").model is not None
    assert "not measured: no two drawings of one style" in to_markdown(found.report)
    # Counting that fails on real pictures measures nothing, and says so.
    monkeypatch.setattr(measures, "count", lambda pictures, asks: np.zeros(len(pictures)))
    found = evaluate("emoji", tmp_path, judge=NearestJudge(), words=(), sizes=Sizes.quick())
    count = found.report.line("count")
    assert count.model is None
    assert "right on only 0.00 of real pictures" in count.lacking
    assert not any("counts" in section.label for section in found.sections)
    write_index(tmp_path / "art" / "index.json", [])
    with pytest.raises(DataError, match="no style"):
        evaluate("emoji", tmp_path, judge=NearestJudge())


def test_missing_and_damaged_data_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="easel train data --folder"):
        evaluate("emoji", tmp_path, judge=NearestJudge())
    write_names(tmp_path / "art")
    np.save(tmp_path / "art" / "art-64.npy", np.zeros((3, SIZE, SIZE, 4), dtype=np.uint8))
    with pytest.raises(DataError, match="build the data set again"):
        evaluate("emoji", tmp_path, judge=NearestJudge())
    (tmp_path / "art" / "art-64.npy").unlink()
    with pytest.raises(DataError, match="no drawings"):
        evaluate("emoji", tmp_path, judge=NearestJudge())


def test_names_unknown_to_the_judge_are_left_out(data: Path) -> None:
    judge = NearestJudge()
    judge.names = ("rocket",)
    with pytest.raises(EvaluationError, match="judge knows"):
        evaluate("emoji", data, judge=judge)


def test_a_line_without_figures_is_all_blank_but_its_reason() -> None:
    line = Line(key="x", name="a measure", target="0.5", lacking="no drawings")
    assert line.cells() == ("a measure", "", "not measured: no drawings", "", "", "", "", "0.5")
    psnr_line = Line(key="y", name="PSNR", unit="dB", reconstructed=figure([24.04], [0]))
    assert psnr_line.cells()[5] == "24.0 dB"
    apart = Line(key="z", name="apart", unit="distance", model=figure([0.1234], [0]))
    assert apart.cells()[2] == "0.123 (0.123 to 0.123)"
    with pytest.raises(ValueError, match="no picture"):
        save_sheet([Section(label="empty", tiles=())], Path("never written.png"))


def test_tiles_carry_their_heading_and_mark() -> None:
    picture = Image.new("RGB", (64, 64), "white")
    plain, right, wrong = (
        np.asarray(draw_tile(Tile(heading="", picture=picture, right=each)), dtype=int)
        for each in (None, True, False)
    )
    assert (plain == 255).all()
    corner = (slice(-23, -3), slice(-23, -3))
    green, red = right[corner].mean(axis=(0, 1)), wrong[corner].mean(axis=(0, 1))
    assert green[1] > green[0] + 40
    assert red[0] > red[1] + 40
    headed = np.asarray(draw_tile(Tile(heading="a long heading " * 9, picture=picture)))
    assert (headed[:48] < 128).any()
    assert (headed[48:] == 255).all()
