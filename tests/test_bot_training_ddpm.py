"""`easel train ddpm`: from a folder of pictures to a sheet, and to a model that `imagine` knows."""

import os
import re
import signal
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import bot.training.ddpm  # noqa: F401 - adds the command
from bot.__main__ import app
from diffusion.networks.configs import DDPMConfig
from diffusion.train.ddpm import training
from diffusion.train.ddpm.training import DDPMRecipe
from tests.workbench import write_shapes


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network and a clock for tests: every run takes eight steps more."""

    def recipe(*, seed: int) -> DDPMRecipe:
        network = DDPMConfig(
            model_channels=8,
            channel_mult=(1, 1),
            num_res_blocks=1,
            attention=(False, False),
            norm_groups=4,
        )
        return DDPMRecipe(network=network, batch=4, seed=seed)

    monkeypatch.setattr(training, "DDPMRecipe", recipe)
    monkeypatch.setattr(training, "_LOG_EVERY", 2)
    monkeypatch.setattr(training, "Budget", EightSteps)
    monkeypatch.setattr("diffusion.train.precision.choose_precision", lambda device: "float32")


class EightSteps:
    """Stands for the clock."""

    def __init__(self, *, minutes: float) -> None:
        self.asked, self.spent, self.steps = 0, 1.0, 8 if minutes else 0

    @property
    def over(self) -> bool:
        self.asked += 1
        return self.asked > self.steps


def easel(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_pictures(folder: Path) -> Path:
    folder.mkdir()
    for name, colour in (("red", "red"), ("blue", "blue"), ("green", "lime")):
        Image.new("RGB", (48, 40), colour).save(folder / f"{name}.png")
    return folder


def test_a_folder_of_pictures_becomes_a_model_that_imagine_paints_with(tmp_path: Path) -> None:
    mine, out = write_pictures(tmp_path / "mine"), tmp_path / "out"
    told = easel(
        "train", "ddpm", "--pictures", mine, "--out", out, "--steps", "3", "--minutes", "1"
    )
    assert told.exit_code == 0, told.output
    assert "3 pictures, 32 samples in 1 s (float32 on cpu), loss 0." in told.output
    for name in ("loss.png", "sheet.png"):
        with Image.open(out / name) as picture:
            assert picture.width > 500
    config = tmp_path / "config.toml"
    config.write_text('[models.mine]\npath = "out/model"\n[defaults]\nmodel = "mine"\n')
    grid = tmp_path / "grid.png"
    told = easel("imagine", "anything --steps 3 --sampler ddpm --seed 1", "--config", config,
                 "-o", grid)  # fmt: skip
    assert told.exit_code == 0, told.output
    with Image.open(grid) as picture:
        assert picture.size == (512, 512)


def test_the_same_command_goes_on_and_another_seed_does_not(tmp_path: Path) -> None:
    write_shapes(tmp_path / "art", size=64)
    at = ("train", "ddpm", "--folder", tmp_path, "--names", "all", "--steps", "1")
    assert "9 pictures, 32 samples" in easel(*at).output
    assert "9 pictures, 64 samples" in easel(*at).output
    refused = easel(*at, "--seed", "3")
    assert refused.exit_code == 78
    assert "begun with other recipe" in refused.output
    assert "9 pictures, 64 samples" in easel(*at, "--minutes", "0").output


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, out = write_pictures(tmp_path / "mine"), tmp_path / "out"
    at = ("train", "ddpm", "--pictures", mine, "--out", out, "--steps", "1")
    step, before = training.Trainer.step, signal.getsignal(signal.SIGINT)

    def interrupted(self: training.Trainer) -> float:
        if self.progress.steps == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "step", interrupted)
        told = easel(*at)
    assert told.exit_code == 130
    assert "12 samples" in told.output, "the step that ran is finished first"
    assert "Go on with: easel" in told.output
    assert (out / "model" / "model_index.json").exists()
    assert not (out / "sheet.png").exists()
    assert signal.getsignal(signal.SIGINT) is before
    assert "44 samples" in easel(*at).output


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--folder", "nowhere"), 78, "nowhere/art/index.json does not exist; build the data set"),
        (("--pictures", "nowhere"), 78, "nowhere cannot be trained on yet: .* holds no pictures"),
        (("--folder", ".", "--style", "oil"), 78, "holds no style"),
        (("--folder", ".", "--names", "some"), 78, "unknown preset 'some'"),
        (("--steps", "0"), 2, "Invalid value for '--steps'"),
        (("--minutes", "-1"), 2, "Invalid value for '--minutes'"),
        (("--seed", "-1"), 2, "Invalid value for '--seed'"),
    ],
)
def test_wrong_input_is_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "art", size=64)
    told = easel("train", "ddpm", *arguments)
    assert told.exit_code == code
    assert re.search(sentence, " ".join(told.output.split())), told.output
    assert [path.name for path in tmp_path.iterdir()] == ["art"]
