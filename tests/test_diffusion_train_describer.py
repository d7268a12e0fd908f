"""The describer's training: its split, its pictures, its run, its table, its command."""

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner, Result

import bot.training.describer
from bot.__main__ import app
from diffusion.describe import load_describer
from diffusion.info import DESCRIBER_NAME
from diffusion.train.data import DataError, Pixels, Row, read_art, read_index, write_index
from diffusion.train.describer import training
from diffusion.train.describer.augment import augment
from diffusion.train.describer.file import export_describer
from diffusion.train.describer.lesson import Lesson, make_lesson, on_colour
from diffusion.train.describer.measure import (
    CANDIDATES,
    COLUMNS,
    figures_of,
    measure_describer,
    nearest,
    to_markdown,
)
from diffusion.train.describer.training import (
    DescriberRecipe,
    DescriberTrainer,
    train_describer,
)
from tests.tiny import tiny_folder, tiny_model
from tests.workbench import write_shapes

SMALL = DescriberRecipe(
    batch=16, samples=1280, channels=(8, 8, 16), embedding=16, learning_rate=4e-3
)
# One drawing of each style is kept out, and one name altogether.
KEPT = {("3d", "red disc"), ("twemoji", "blue bar"), ("3d", "green bar"), ("twemoji", "green bar")}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Keep the tests from spinning on every core."""
    torch.set_num_threads(1)


def write(folder: Path) -> tuple[list[Row], Pixels]:
    """Write the shapes with some of them kept out."""
    rows = [
        replace(row, held_out=(row.style, row.name) in KEPT)
        for row in write_shapes(folder / "art", size=64)
    ]
    write_index(folder / "art" / "index.json", rows)
    return rows, read_art(folder / "art", 64)


def begin(folder: Path, recipe: DescriberRecipe = SMALL) -> DescriberTrainer:
    rows, art = write(folder) if not (folder / "art").exists() else _again(folder)
    lesson = make_lesson(rows, painted=("3d",), known=("red disc", "blue disc"))
    return DescriberTrainer(lesson, art, folder / "run", recipe)


def _again(folder: Path) -> tuple[list[Row], Pixels]:
    return read_index(folder / "art"), read_art(folder / "art", 64)


def lesson_of(folder: Path) -> tuple[Lesson, Pixels]:
    rows, art = write(folder)
    return make_lesson(rows, painted=("3d",)), art


def test_what_is_kept_from_the_denoiser_is_kept_from_the_describer(tmp_path: Path) -> None:
    rows, _ = write(tmp_path)
    lesson = make_lesson(rows, painted=("3d", "noto"), known=("red disc",))
    assert {(row.style, row.name) for row in lesson.held_out} == KEPT
    assert not KEPT & {(row.style, row.name) for row in lesson.train}
    assert "green bar" not in lesson.names, "no drawing of it is left to learn"
    assert "red disc" in lesson.names
    assert lesson.painted == ("3d",), "the data set has no noto"
    assert [(row.style, row.name) for row in lesson.of_the_model] == [("3d", "red disc")]
    trainer = begin(tmp_path)
    assert len(trainer.art) == len(rows) - len(KEPT)
    kept_out = {row.row for row in lesson.held_out}
    assert not kept_out & {row.row for row in trainer.lesson.train}
    assert trainer.weights.tolist().count(2.0) == 1, "blue disc in 3d is the model's own"


def test_a_lesson_needs_two_names(tmp_path: Path) -> None:
    rows, _ = write(tmp_path)
    with pytest.raises(DataError, match="too few"):
        make_lesson(rows[:1], painted=("3d",))


def test_pictures_are_in_range_repeat_and_keep_their_hue(tmp_path: Path) -> None:
    _, art = write(tmp_path)
    x = torch.from_numpy(np.array(art)).permute(0, 3, 1, 2).float() / 255
    flips = torch.ones(len(x), dtype=torch.bool)
    first = augment(x, flips, torch.Generator().manual_seed(1))
    assert first.shape == (len(x), 3, 64, 64)
    assert first.abs().max() <= 1
    assert torch.equal(first, augment(x, flips, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, augment(x, flips, torch.Generator().manual_seed(2)))
    red = torch.zeros(200, 4, 64, 64)
    red[:, (0, 3)] = 1
    shown = augment(red, flips[:1].expand(200), torch.Generator().manual_seed(3))
    middle = shown[:, :, 28:36, 28:36].mean((2, 3))
    assert (middle[:, 0] > middle[:, 1] + 0.8).all()
    assert (middle[:, 0] > middle[:, 2] + 0.8).all()


def test_what_has_a_left_and_a_right_is_never_mirrored() -> None:
    half = torch.zeros(100, 4, 64, 64)
    half[..., :32] = 1
    half[:, :3] = 0
    shown = augment(half, torch.zeros(100, dtype=torch.bool), torch.Generator().manual_seed(4))
    left, right = shown[..., 24:40, 10:20].mean((1, 2, 3)), shown[..., 24:40, 44:54].mean((1, 2, 3))
    assert (left < -0.6).all()
    mirrored = augment(half, torch.ones(100, dtype=torch.bool), torch.Generator().manual_seed(4))
    assert (mirrored[..., 24:40, 44:54].mean((1, 2, 3)) < -0.6).sum() > 20
    assert right.mean() > left.mean() + 0.8


def test_training_learns_and_ends(tmp_path: Path) -> None:
    trainer, told = begin(tmp_path), list[int]()
    train_describer(trainer, minutes=5, report=lambda state: told.append(state.samples))
    assert trainer.finished
    assert told == [800]
    assert trainer.progress.samples == 1280
    export_describer(trainer, tmp_path / DESCRIBER_NAME)
    describer = load_describer(tmp_path / DESCRIBER_NAME)
    rows = trainer.lesson.train
    names, _ = describer.look(_pictures(trainer.lesson, read_art(tmp_path / "art", 64)))
    right = [
        describer.vocabulary.names[i] == row.name
        for i, row in zip(names.argmax(axis=1), rows, strict=True)
    ]
    assert np.mean(right) >= 0.6, "chance is an eighth"


def _pictures(lesson: Lesson, art: Pixels) -> list[Image.Image]:
    return [Image.fromarray(laid) for laid in on_colour(art[[row.row for row in lesson.train]])]


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole = begin(tmp_path)
    losses = [whole.step() for _ in range(6)]
    first = begin(tmp_path)
    asked = iter([False, False, False, True])
    train_describer(first, minutes=5, report=lambda state: None, stop=lambda: next(asked))
    assert first.progress.steps == 3
    second = begin(tmp_path)
    assert second.progress.samples == 48
    assert [second.step() for _ in range(3)] == losses[3:]
    for name, value in whole.learned().state_dict().items():
        assert torch.equal(second.learned().state_dict()[name], value), name


def test_another_recipe_is_another_run(tmp_path: Path) -> None:
    train_describer(begin(tmp_path), minutes=0, report=lambda state: None)
    with pytest.raises(DataError, match="a run of other recipe"):
        begin(tmp_path, replace(SMALL, seed=9))
    (tmp_path / "run" / training.RECIPE).write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        begin(tmp_path)


def test_words_of_names_are_shared_and_gone_from_the_file(tmp_path: Path) -> None:
    trainer = begin(tmp_path)
    names = trainer.lesson.names
    shared = trainer.words()
    red, blue = names.index("red disc"), names.index("blue disc")
    vectors = trainer.words.vectors
    words = sorted({word for name in names for word in name.split()})
    expected = (vectors[words.index("red")] + vectors[words.index("disc")]) / 2**0.5
    assert torch.allclose(shared[red], expected)
    assert torch.allclose(
        shared[red] - shared[blue],
        (vectors[words.index("red")] - vectors[words.index("blue")]) / 2**0.5,
        atol=1e-6,
    )
    assert torch.equal(trainer.learned().names, trainer.network.names + shared)
    assert trainer.learned().state_dict().keys() == trainer.network.state_dict().keys()


def test_the_file_says_how_it_was_made(tmp_path: Path) -> None:
    trainer = begin(tmp_path)
    trainer.step()
    path = tmp_path / "model" / DESCRIBER_NAME
    export_describer(trainer, path, {"held_out.right": 0.5})
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["measured"]) == {"held_out.right": 0.5}
    told = json.loads(metadata["training"])
    assert (told["drawings"], told["kept_out"], told["samples"]) == (14, 4, 16)
    assert [line.split(":")[0] for line in metadata["credits"].splitlines()] == ["3d", "twemoji"]
    assert load_describer(path).vocabulary.names == trainer.lesson.names


def test_the_table_tells_chance_from_knowledge(tmp_path: Path) -> None:
    trainer = begin(tmp_path)
    train_describer(trainer, minutes=5, report=lambda state: None)
    path = tmp_path / DESCRIBER_NAME
    export_describer(trainer, path)
    lesson, art = trainer.lesson, read_art(tmp_path / "art", 64)
    told: list[tuple[int, int]] = []
    lines = measure_describer(
        load_describer(path), lesson, art, report=lambda done, total: told.append((done, total))
    )
    of = {line.key: line for line in lines}
    assert list(of) == ["nearest", "held_out", "unlike", "model", "coloured"]
    assert of["held_out"].pictures == 4
    assert of["held_out"].right is not None
    # Two are of a name that it has no word for: wrong, whatever it says.
    assert of["held_out"].right.value <= 0.5
    assert of["held_out"].right.prompts == 4
    assert of["nearest"].right is not None
    assert of["nearest"].right.value == 0.5, "the same shape in the other style is equal here"
    assert of["unlike"].pictures == 2
    assert of["coloured"].background is not None
    assert figures_of(lines)["held_out.pictures"] == 4
    assert "held_out.right" in figures_of(lines)
    table = to_markdown(lines).splitlines()
    assert len(table) == 2 + len(lines)
    assert all(line.count("|") == len(COLUMNS) + 1 for line in table)
    assert str(CANDIDATES) in table[0]


def test_the_most_similar_drawing_is_found(tmp_path: Path) -> None:
    lesson, art = lesson_of(tmp_path)
    owners, scores = nearest(lesson, art)
    found = dict(zip(((row.style, row.name) for row in lesson.held_out), owners, strict=True))
    assert found["3d", "red disc"] == "red disc"
    assert found["twemoji", "blue bar"] == "blue bar"
    assert found["3d", "green bar"] != "green bar"
    assert scores.shape == (4, len(lesson.names))
    assert scores.max() == pytest.approx(0, abs=1e-4)


def test_painted_pictures_are_measured_too(tmp_path: Path) -> None:
    trainer = begin(tmp_path)
    export_describer(trainer, tmp_path / DESCRIBER_NAME)
    lines = measure_describer(
        load_describer(tmp_path / DESCRIBER_NAME),
        trainer.lesson,
        read_art(tmp_path / "art", 64),
        model=tiny_model(),
        painted=2,
    )
    assert lines[-1].key == "painted"
    assert lines[-1].pictures == 2, "one of its names, two pictures"


def test_nothing_to_measure_is_a_sentence(tmp_path: Path) -> None:
    trainer = begin(tmp_path)
    export_describer(trainer, tmp_path / DESCRIBER_NAME)
    describer, art = load_describer(tmp_path / DESCRIBER_NAME), read_art(tmp_path / "art", 64)
    with pytest.raises(DataError, match="no drawing is kept out"):
        measure_describer(describer, replace(trainer.lesson, held_out=()), art)
    with pytest.raises(DataError, match="other names"):
        measure_describer(describer, replace(trainer.lesson, names=("a", "b")), art)


def easel(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", "describer", *map(str, arguments)])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network and a run for tests."""
    monkeypatch.setattr(
        training, "DescriberRecipe", lambda *, seed: replace(SMALL, samples=64, seed=seed)
    )
    monkeypatch.setattr("diffusion.train.precision.choose_precision", lambda device: "float32")


@pytest.mark.usefixtures("small")
def test_the_command_trains_writes_and_measures(tmp_path: Path) -> None:
    write(tmp_path)
    model = tmp_path / "model"
    at = ("--folder", tmp_path, "--preset", "tiny", "--model", model)
    done = easel(*at)
    assert done.exit_code == 0, done.output
    assert "drawings kept out" in done.output
    describer = load_describer(model / DESCRIBER_NAME)
    assert describer.vocabulary.painted == ("3d", "twemoji")
    with safe_open(model / DESCRIBER_NAME, framework="pt") as file:
        assert json.loads(file.metadata()["measured"])["held_out.pictures"] == 4
    before = (model / DESCRIBER_NAME).read_bytes()
    again = easel(*at, "--measure")
    assert again.exit_code == 0, again.output
    assert again.output == done.output[done.output.index("┏") :]
    assert (model / DESCRIBER_NAME).read_bytes() == before


@pytest.mark.usefixtures("small")
def test_ctrl_c_loses_no_step_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    calls, rate = list[float](), training._share

    def interrupted(done: float) -> float:
        calls.append(done)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return rate(done)

    monkeypatch.setattr(training, "_share", interrupted)
    done = easel("--folder", tmp_path, "--preset", "tiny", "--model", tmp_path / "model")
    assert done.exit_code == 130
    assert "Go on with: easel" in done.output
    with safe_open(tmp_path / "run-tiny" / training.STATE, "pt") as state:
        assert json.loads(state.metadata()["progress"])["steps"] == 2
    assert not (tmp_path / "model").exists()


def test_faults_are_sentences(tmp_path: Path) -> None:
    done = easel("--folder", tmp_path, "--model", tmp_path / "model")
    assert done.exit_code == 78
    assert "easel train data --folder" in done.output
    write(tmp_path)
    done = easel("--folder", tmp_path, "--preset", "huge")
    assert done.exit_code == 2
    assert "cpu, gpu, tiny" in done.output
    done = easel("--folder", tmp_path, "--measure", "--model", tiny_folder())
    assert done.exit_code == 78
    assert "describer" in done.output
    single = tmp_path / "sd.safetensors"
    single.write_bytes(b"")
    done = easel("--folder", tmp_path, "--model", single)
    assert done.exit_code == 2
    assert "is a file" in re.sub(r"[\s│]+", " ", done.output)


def test_the_command_is_one_of_the_group() -> None:
    assert "describer" in CliRunner().invoke(app, ["train", "--help"]).output
    assert bot.training.describer.describer is not None
