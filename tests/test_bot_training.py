"""`easel train`: each part is a command that stops by its clock and goes on where it was."""

import json
import os
import signal
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

from bot.__main__ import app
from diffusion.train import denoiser, vae
from tests.workbench import write_shapes


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["train", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.timeout(120)
def test_the_parts_make_a_model_one_after_the_other(tmp_path: Path) -> None:
    write_shapes(tmp_path / "art")
    at = ("--folder", tmp_path, "--preset", "tiny")
    first = run("vae", *at, "--minutes", "1")
    assert "vae: 400 of 400 samples" in first
    assert "samples" not in run("vae", *at, "--minutes", "1"), "there is nothing left to do"
    run("denoiser", *at, "--minutes", "0")
    with Image.open(tmp_path / "run-tiny" / "sheet.png") as sheet:
        assert sheet.width > 16 * 32
        assert sheet.height > 3 * 32
    assert (tmp_path / "run-tiny" / "vae-loss.png").stat().st_size > 1000
    run("export", *at, "--out", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["training"]["vae"]["samples"] == 400
    assert config["training"]["drawings"] == 18


@pytest.mark.parametrize("part", ["vae", "decoder", "denoiser"])
def test_ctrl_c_loses_no_step_and_says_how_to_go_on(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shapes(tmp_path / "art")
    at = ("--folder", tmp_path, "--preset", "tiny")
    if part != "vae":
        run("vae", *at, "--minutes", "0")
    module, calls = denoiser if part == "denoiser" else vae, list[float]()
    before, rate = signal.getsignal(signal.SIGINT), module.cosine

    def interrupted(progress: float) -> float:
        calls.append(progress)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return float(rate(progress))

    monkeypatch.setattr(module, "cosine", interrupted)
    done = CliRunner().invoke(app, ["train", part, *map(str, at)])
    assert done.exit_code == 130
    assert "Stopping: the state is saved after this step" in done.output
    assert "Go on with: easel" in done.output
    with safe_open(tmp_path / "run-tiny" / f"{part}-state.safetensors", "pt") as state:
        assert json.loads(state.metadata()["progress"])["steps"] == 3, "the third is finished"
    assert not (tmp_path / "run-tiny" / "sheet.png").exists()
    assert signal.getsignal(signal.SIGINT) is before
    assert len(calls) == 3


def test_an_unknown_preset_is_a_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "vae", "--folder", str(tmp_path), "--preset", "huge"])
    assert done.exit_code == 2
    assert "cpu, gpu, tiny" in done.output


@pytest.mark.parametrize("part", ["vae", "denoiser"])
def test_a_model_of_other_sizes_to_begin_with_is_a_sentence(tmp_path: Path, part: str) -> None:
    write_shapes(tmp_path / "art")
    at = ("--folder", str(tmp_path), "--preset", "tiny", "--minutes", "0")
    run("vae", *at)
    if part == "vae":
        (tmp_path / "run-tiny" / "vae-state.safetensors").unlink()
    done = CliRunner().invoke(app, ["train", part, *at, "--start", "emoji"])
    assert done.exit_code == 78
    assert "other sizes than this preset" in done.output


def test_a_workshop_without_data_is_a_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "vae", "--folder", str(tmp_path), "--preset", "tiny"])
    assert done.exit_code == 78
    assert "build the data set first" in done.output


def test_the_denoiser_learns_a_folder_too(tmp_path: Path) -> None:
    """`finetune` and `lora` do it (tested with them); here, that the words arrive there."""
    (tmp_path / "drawings").mkdir()
    at = ("train", "denoiser", "--pictures", str(tmp_path / "drawings"))
    done = CliRunner().invoke(app, [*at, "--method", "lora"])
    assert done.exit_code == 78
    assert "holds no pictures" in done.output
    done = CliRunner().invoke(app, [*at, "--method", "magic"])
    assert done.exit_code == 2
    assert "full, scratch and lora" in done.output
