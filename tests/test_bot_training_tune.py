"""`easel train lora|finetune|inversion|autoencoder DIR`: a folder in, a file out, stops between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

import bot.training.tune  # noqa: F401 - registers the commands
from bot.__main__ import app
from bot.training.watched import Stop, stepping, stoppable
from diffusion.train.state import Progress
from tests.drawings import write_drawings
from tests.tiny import tiny_folder

QUICK = ("--steps", 4, "--batch", 2, "--samples", 2, "--device", "cpu")


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["train", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_drawings(tmp_path / "drawings", count=6)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_lora_with_its_sheet_and_its_curve(folder: Path) -> None:
    told = run("lora", "drawings", "--model", tiny_folder(), *QUICK, "--rank", 2)
    assert "step 4 of 4: loss" in told
    assert "pictures/s" in told
    assert "<lora:drawings:0.8>" in told
    assert (folder / "drawings.safetensors").is_file()
    for name in ("samples.png", "loss.png"):
        with Image.open(folder / "drawings-training" / name) as picture:
            assert picture.width > 200
    # The folder's picture, before, and after each of the four steps.
    assert len(list((folder / "drawings-training" / "samples").glob("*-0.png"))) == 5
    again = run("lora", "drawings", "--model", tiny_folder(), *QUICK, "--rank", 2)
    assert "Going on after step 4 of 4" in again


def test_a_stop_says_which_command_goes_on_and_it_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["lora", "drawings", "--model", tiny_folder(), *QUICK]
    arguments += ["--out", "my style.safetensors"]
    monkeypatch.setattr(sys, "argv", ["/bin/easel", "train", *map(str, arguments)])
    told = run(*arguments, "--minutes", 0)
    assert "Stopped after step 0 of 4" in told
    assert "easel train lora drawings --model" in told
    assert '--out "my style.safetensors"' in told
    assert not (folder / "my style.safetensors").exists()
    assert "is ready" in run(*arguments)


def test_a_new_word_and_all_weights(folder: Path) -> None:
    word = run("inversion", "drawings", "--word", "inky", "--model", tiny_folder(), *QUICK,
               "--vectors", 2)  # fmt: skip
    assert "write inky in a prompt" in word
    assert (folder / "inky.safetensors").is_file()
    whole = run("finetune", "drawings", "--model", tiny_folder(), *QUICK, "--samples", 0)
    assert "[models.<alias>]" in whole
    assert (folder / "drawings-model" / "config.json").is_file()
    assert not (folder / "drawings-model-training" / "samples.png").exists()


def test_an_autoencoder_says_how_well_it_reconstructs(folder: Path) -> None:
    told = run("autoencoder", "drawings", "--model", tiny_folder(), *QUICK)
    assert "dB at the start" in told
    assert (folder / "drawings-vae" / "model.safetensors").is_file()
    with Image.open(folder / "drawings-vae-training" / "samples.png") as picture:
        assert picture.width > 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lora", "nowhere"), "holds no pictures"),
        (("lora", "drawings", "--model", "emojy"), "did you mean 'emoji'"),
        (("lora", "drawings", "--rank", 0), "rank is 0"),
        (("inversion", "drawings", "--word", "two words"), "word is 'two words'"),
        (("finetune", "drawings", "--decay", "linear"), "cosine or constant"),
        (("autoencoder", "drawings", "--steps", 0), "steps is 0"),
    ],
)
def test_what_is_wrong_is_a_sentence_and_code_78(
    folder: Path, arguments: tuple[object, ...], said: str
) -> None:
    told = run(*arguments, code=78)
    assert said in told
    assert "Traceback" not in told
    assert sorted(path.name for path in folder.iterdir()) == ["drawings"]


def test_a_broken_picture_is_named(folder: Path) -> None:
    (folder / "drawings" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "torn.png is damaged" in run("lora", "drawings", "--model", tiny_folder(), code=78)


def test_ctrl_c_once_asks_and_twice_ends() -> None:
    console = Console(quiet=True)
    before = signal.getsignal(signal.SIGINT)
    with stoppable(console, None) as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert Stop(minutes=0.0)()
    assert not Stop(minutes=60.0)()


def test_a_terminal_has_a_bar_with_loss_and_speed() -> None:
    console = Console(force_terminal=True, record=True, width=140)
    with stepping(console, 10, 2) as on_step:
        on_step(Progress(steps=5, samples=20), 0.125)
    told = console.export_text()
    assert "5/10" in told
    assert "loss 0.1250" in told
    assert "pictures/s" in told


def test_importing_the_commands_loads_no_torch() -> None:
    code = "import sys, bot.training.tune; print('torch' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
