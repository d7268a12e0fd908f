"""The judge: its figures, its files, its training. Small synthetic drawings stand for the art."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from diffusion.train import data
from diffusion.train.judge import Judge, JudgeError, judge_names, measure
from diffusion.train.judge import train as judge_train
from diffusion.train.judge.network import JudgeConfig, JudgeNet
from diffusion.train.judge.train import Recipe, Trainer
from diffusion.train.packages import STYLES as ALL_STYLES

SMALL = Recipe(batch=16, samples=800, learning_rate=3e-3, save_every=10)
NAMES = ["disc", "box", "bar", "ring", "cross", "dots"]
STYLES = ["3d", "twemoji", "noto"]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Keep the tests from spinning on every core."""
    torch.set_num_threads(1)


def draw_picture(name: str, style: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    colour = {"3d": (200, 30, 30, 255), "twemoji": (30, 160, 60, 255), "noto": (40, 60, 200, 255)}
    picture = Image.new("RGBA", (64, 64))
    pen = ImageDraw.Draw(picture)
    ink = colour[style]
    if name == "disc":
        pen.ellipse((8, 8, 56, 56), fill=ink)
    elif name == "box":
        pen.rectangle((10, 10, 54, 54), fill=ink)
    elif name == "bar":
        pen.rectangle((26, 4, 38, 60), fill=ink)
    elif name == "ring":
        pen.ellipse((8, 8, 56, 56), outline=ink, width=6)
    elif name == "cross":
        pen.rectangle((28, 4, 36, 60), fill=ink)
        pen.rectangle((4, 28, 60, 36), fill=ink)
    else:
        for x in (10, 30, 50):
            pen.ellipse((x - 6, x - 6, x + 6, x + 6), fill=ink)
    return np.asarray(picture, dtype=np.uint8)


def drawings() -> tuple[list[data.Row], measure.Pixels]:
    rows: list[data.Row] = []
    pictures = []
    for name in [*NAMES, "rare"]:
        for style in STYLES if name != "rare" else STYLES[:1]:
            rows.append(
                data.Row(
                    row=len(rows),
                    style=style,
                    name=name,
                    keywords=(),
                    group="",
                    code_points="",
                    icon=name,
                    weight=1.0,
                    flip=True,
                    held_out=False,
                    unseen_by_judge=(name, style) in {("disc", "noto"), ("cross", "3d")},
                )
            )
            pictures.append(draw_picture(name, style))
    return rows, np.stack(pictures)


def make_trainer(recipe: Recipe = SMALL) -> Trainer:
    rows, art = drawings()
    return Trainer(judge_train.split_rows(rows), art, recipe)


def make_judge(seed: int = 0, names: int = 120) -> Judge:
    torch.manual_seed(seed)
    network = JudgeNet(JudgeConfig(names=names, styles=2, channels=(4, 8, 8), embedding=16))
    return Judge(network, [f"name {i}" for i in range(names)], ["3d", "noto"])


def test_right_among_counts_beaten_distractors() -> None:
    scores = np.zeros((3, 10), dtype=np.float32)
    scores[0, 4] = 1.0  # beats all
    scores[1, 4] = 1.0  # wanted is another one, beaten by 4
    wanted = np.array([4, 2, 7])
    # Row 2 ties with everything, which counts as wrong.
    assert measure.right_among(scores, wanted, 9, 0).tolist() == [True, False, False]


def test_right_among_of_noise_is_chance_and_of_few_distractors_more() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(6000, 300)).astype(np.float32)
    wanted = rng.integers(300, size=6000)
    assert measure.right_among(scores, wanted, 99, 0).mean() == pytest.approx(0.01, abs=0.006)
    assert measure.right_among(scores, wanted, 1, 0).mean() == pytest.approx(0.5, abs=0.03)


def test_distractors_are_fixed_by_seed_and_place_and_never_the_wanted_name() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(400, 200)).astype(np.float32)
    wanted = rng.integers(200, size=400)
    first = measure.right_among(scores, wanted, 5, 1)
    assert (first == measure.right_among(scores, wanted, 5, 1)).all()
    assert (first[:50] == measure.right_among(scores[:50], wanted[:50], 5, 1)).all()
    assert (first != measure.right_among(scores, wanted, 5, 2)).any()
    best = np.where(np.arange(200) == wanted[:, None], np.float32(9), scores)
    assert measure.right_among(best, wanted, 199, 1).all()


def test_the_interval_draws_whole_prompts() -> None:
    right = np.array([True] * 50 + [False] * 50)
    low, high, prompts = measure.bootstrap(right, [str(i) for i in range(100)], 2000, 0)
    assert prompts == 100
    wide = 1.96 * math.sqrt(0.25 / 100)
    assert low == pytest.approx(0.5 - wide, abs=0.02)
    assert high == pytest.approx(0.5 + wide, abs=0.02)
    # Four copies of each prompt know no more than one.
    again = measure.bootstrap(np.repeat(right, 4), [str(i // 4) for i in range(400)], 2000, 0)
    assert again == (low, high, 100)


def test_judge_names_agrees_with_the_scores_and_repeats() -> None:
    one = make_judge()
    rng = np.random.default_rng(5)
    pictures = rng.integers(256, size=(12, 64, 64, 3), dtype=np.uint8)
    name_scores, style_scores = one.look(pictures)
    best = [one.names[i] for i in name_scores.argmax(axis=1)]
    styles = [one.styles[i] for i in style_scores.argmax(axis=1)]
    score = judge_names(one, pictures, best, styles)
    assert (score.right_among, score.top1, score.top5, score.style) == (1.0, 1.0, 1.0, 1.0)
    assert (score.low, score.high, score.pictures, score.distractors) == (1.0, 1.0, 12, 99)
    worst = [one.names[i] for i in name_scores.argmin(axis=1)]
    assert judge_names(one, pictures, worst).right_among == 0.0
    assert judge_names(one, pictures, worst).style is None
    middle = [one.names[i] for i in np.argsort(name_scores, axis=1)[:, 100]]
    assert judge_names(one, pictures, middle) == judge_names(one, pictures, middle)


def test_pictures_of_other_sizes_and_kinds_are_taken() -> None:
    one = make_judge()
    picture = Image.new("RGBA", (128, 128), (255, 0, 0, 255))
    small = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    small[..., 0] = 255
    assert np.array_equal(measure.to_pixels([picture]), small)
    assert np.allclose(one.look([picture])[0], one.look(small)[0])
    lengths = np.linalg.norm(one.embed(small), axis=1)
    assert lengths == pytest.approx([1.0], abs=1e-5)


def test_wrong_questions_get_a_sentence() -> None:
    one = make_judge()
    picture = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(JudgeError, match="purple cow"):
        judge_names(one, picture, ["purple cow"])
    with pytest.raises(JudgeError, match="crayon"):
        judge_names(one, picture, ["name 1"], ["crayon"])
    with pytest.raises(JudgeError, match="as many names"):
        judge_names(one, picture, ["name 1", "name 2"])
    with pytest.raises(JudgeError, match="use 1 to 119"):
        judge_names(one, picture, ["name 1"], distractors=120)
    with pytest.raises(JudgeError, match="no picture"):
        judge_names(one, picture[:0], [])


def test_split_keeps_unseen_drawings_out_and_rare_names_away() -> None:
    rows, _ = drawings()
    split = judge_train.split_rows(rows)
    assert split.names == tuple(sorted(NAMES))
    assert split.styles == tuple(STYLES)
    unseen = {(row.name, row.style) for row in split.unseen}
    assert unseen == {("disc", "noto"), ("cross", "3d")}
    assert not unseen & {(row.name, row.style) for row in split.train}
    assert len(split.train) == 16
    trainer = make_trainer()
    assert len(trainer.art) == 16
    assert len(trainer.unseen) == 2


def test_augmentation_is_in_range_changes_pictures_and_repeats() -> None:
    _, art = drawings()
    x = torch.from_numpy(art).permute(0, 3, 1, 2).float() / 255
    first = judge_train.augment(x, torch.Generator().manual_seed(1))
    assert first.shape == (len(art), 3, 64, 64)
    assert first.abs().max() <= 1.0
    assert torch.equal(first, judge_train.augment(x, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, judge_train.augment(x, torch.Generator().manual_seed(2)))
    # The drawing stays on the canvas: with these limits its middle is never lost.
    solid = torch.ones(64, 4, 64, 64)
    solid[:, :3] = 0
    moved = judge_train.augment(solid, torch.Generator().manual_seed(3))
    assert moved[:, :, 28:36, 28:36].mean() < -0.7


def test_learning_rate_warms_up_and_falls() -> None:
    recipe = Recipe(samples=1000, learning_rate=1.0)
    rates = [judge_train.learning_rate(recipe, n) for n in (0, 15, 30, 500, 1000, 2000)]
    assert rates[0] < 0.01
    assert rates[1] == pytest.approx(0.5, abs=0.05)
    assert rates[2] == pytest.approx(1.0, abs=0.01)
    assert rates[2] > rates[3] > rates[4]
    assert rates[4] == rates[5] == pytest.approx(0.01)


def test_training_learns_and_stops_at_its_end(tmp_path: Path) -> None:
    told: list[str] = []
    trainer = make_trainer()
    score = judge_train.train(trainer, tmp_path, minutes=5, report=told.append)
    assert trainer.finished
    assert trainer.progress.samples == SMALL.samples
    log = trainer.progress.log
    assert log[-1]["loss"] < log[0]["loss"] - 0.3
    metrics = json.loads((tmp_path / "judge-metrics.json").read_text())
    assert metrics["finished"] is True
    assert metrics["unseen"]["right_among"] == score.right_among
    assert len(metrics["log"]) == len(log) == 5
    assert not list(tmp_path.glob("*.part"))
    # Drawings it has trained on are known by now.
    split = trainer.split
    one = Judge(trainer.network, split.names, split.styles)
    pictures = judge_train.on_white(drawings()[1][[row.row for row in split.train]])
    known = judge_names(
        one,
        pictures,
        [row.name for row in split.train],
        [row.style for row in split.train],
        distractors=5,
    )
    assert known.right_among >= 0.6
    assert (known.style or 0) >= 0.6


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole = make_trainer()
    losses = [whole.step() for _ in range(6)]
    first = make_trainer()
    for _ in range(3):
        first.step()
    first.save(tmp_path / "state.safetensors")
    second = make_trainer(replace(SMALL, seed=SMALL.seed))
    assert second.load(tmp_path / "state.safetensors")
    assert second.progress.samples == 48
    assert [second.step() for _ in range(3)] == pytest.approx(losses[3:], abs=1e-6)
    for name, value in whole.network.state_dict().items():
        assert torch.allclose(second.network.state_dict()[name].float(), value.float(), atol=1e-6)


def test_every_step_sees_other_pictures() -> None:
    trainer = make_trainer(replace(SMALL, learning_rate=0.0))
    assert len({trainer.step() for _ in range(4)}) == 4


def test_no_minutes_means_no_step(tmp_path: Path) -> None:
    trainer = make_trainer()
    judge_train.train(trainer, tmp_path, minutes=0, report=lambda text: None)
    assert trainer.progress.steps == 0
    assert (tmp_path / "judge-state.safetensors").exists()


def test_an_exported_judge_comes_back_in_half_precision(tmp_path: Path) -> None:
    trainer = make_trainer()
    for _ in range(3):
        trainer.step()
    judge_train.export(trainer, tmp_path, trainer.score())
    loaded = Judge.load(tmp_path)
    assert loaded.names == trainer.split.names
    assert loaded.styles == trainer.split.styles
    pictures = judge_train.on_white(drawings()[1])
    direct = Judge(trainer.network, trainer.split.names, trainer.split.styles)
    assert np.allclose(loaded.look(pictures)[0], direct.look(pictures)[0], atol=0.2)
    assert (tmp_path / "judge.safetensors").stat().st_size < 2.6 * 1.3e6
    assert loaded.network.embed.weight.dtype == torch.float32


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=r"judge\.json does not exist"):
        Judge.load(tmp_path)
    trainer = make_trainer()
    judge_train.export(trainer, tmp_path, trainer.score())
    info = json.loads((tmp_path / "judge.json").read_text())
    (tmp_path / "judge.json").write_text(json.dumps({**info, "names": info["names"][1:]}))
    with pytest.raises(JudgeError, match="damaged"):
        Judge.load(tmp_path)
    (tmp_path / "judge.json").write_text(json.dumps(info))
    weights = tmp_path / "judge.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(JudgeError, match="damaged"):
        Judge.load(tmp_path)


def test_the_command_trains_and_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, art = drawings()
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "art-64.npy", art)
    data.write_index(folder / "index.json", rows)
    out = tmp_path / "out"
    arguments = [str(folder), str(tmp_path / "state"), "--minutes", "5", "--samples", "256"]
    judge_train.main([*arguments, "--threads", "1", "--out", str(out)])
    assert Judge.load(out).names == tuple(sorted(NAMES))
    assert json.loads((out / "judge.json").read_text())["trained_samples"] == 256


def heart(size: int = 64) -> Image.Image:
    """Draw a plain red heart: two discs over a triangle."""
    picture = Image.new("RGB", (4 * size, 4 * size), "white")
    pen = ImageDraw.Draw(picture)
    ink, u = (215, 45, 65), 4 * size / 64
    pen.ellipse((5 * u, 9 * u, 33.5 * u, 37 * u), fill=ink)
    pen.ellipse((30.5 * u, 9 * u, 59 * u, 37 * u), fill=ink)
    pen.polygon([(7 * u, 30 * u), (57 * u, 30 * u), (32 * u, 59 * u)], fill=ink)
    pen.rectangle((20 * u, 22 * u, 44 * u, 32 * u), fill=ink)
    return picture.resize((size, size), Image.Resampling.BOX)


def test_the_shipped_judge_knows_a_red_heart_and_its_own_figures() -> None:
    shipped = Judge.load()
    assert len(shipped.names) > 1200
    assert set(shipped.styles) == set(ALL_STYLES)
    assert set(shipped.names) >= data.ALWAYS_TRAINED
    score = judge_names(shipped, [heart()], ["red heart"])
    assert score.right_among == 1.0
    blank = Image.new("RGB", (64, 64), "white")
    assert judge_names(shipped, [blank], ["red heart"]).right_among == 0.0
    info = json.loads((measure.SHIPPED / "judge.json").read_text())
    assert info["unseen"]["right_among"] >= 0.80
    assert (measure.SHIPPED / "judge.safetensors").stat().st_size < 3_000_000
