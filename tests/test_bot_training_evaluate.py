"""`easel train evaluate`: the table on the screen, three files, and sentences for what is wrong."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import bot.training.evaluate as command
from bot.__main__ import app
from diffusion.train.data import read_index, write_index
from tests.drawn_names import write_names

assert command.evaluate is not None


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", "evaluate", *map(str, arguments)])


@pytest.mark.timeout(120)
def test_the_shipped_model_is_measured_and_written_down(tmp_path: Path) -> None:
    write_names(tmp_path / "art")
    # Two names alone: hardly any prompt can be made, so little is painted.
    rows = [row for row in read_index(tmp_path / "art") if row.name in {"snake", "trophy"}]
    write_index(tmp_path / "art" / "index.json", rows)
    done = run("--folder", tmp_path, "--prompts", "2", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "trained prompts: right among 100" in done.output
    assert "not measured" in done.output
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert (told["model"], told["seed"], told["trained"]) == ("emoji", 7, 4)
    lines = {line["key"]: line for line in told["lines"]}
    assert lines["trained"]["model"]["prompts"] == 2
    assert 0 <= lines["trained"]["model"]["low"] <= lines["trained"]["model"]["high"] <= 1
    assert (tmp_path / "out" / "evaluation.md").read_text("utf-8").count("\n| ") > 12
    with Image.open(tmp_path / "out" / "evaluation.png") as sheet:
        assert sheet.width > 400


def test_faults_are_sentences_before_anything_is_painted(tmp_path: Path) -> None:
    missing = run("--folder", tmp_path / "nowhere")
    assert missing.exit_code == 78
    assert "easel train data --folder" in missing.output
    assert not (tmp_path / "nowhere").exists()
    unknown = run("--model", "no-such-model", "--folder", tmp_path)
    assert unknown.exit_code == 78
    assert "no-such-model" in unknown.output
    (tmp_path / "file").write_text("in the way")
    blocked = run("--folder", tmp_path, "--out", tmp_path / "file" / "below")
    assert blocked.exit_code == 2
    assert run("--prompts", "1").exit_code == 2
