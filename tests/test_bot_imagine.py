"""`easel imagine`: a real (tiny) model, no Discord, files that carry where they come from."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.config import Config, DefaultsConfig, ModelConfig
from bot.exits import Exit
from bot.imagine import paint, params_of
from bot.loading import describe_models
from diffusion import Params
from diffusion.pictures import read_parameters
from tests.tiny import tiny_folder

PROMPT = "a red heart --seed 7 --steps 2 --cfg 3"


def config() -> Config:
    return Config(models={"emoji": ModelConfig(path=str(tiny_folder()))})


def easel(folder: Path, *arguments: str) -> Result:
    path = folder / "config.toml"
    path.write_text(f'[models.emoji]\npath = "{tiny_folder()}"\n', encoding="utf-8")
    return CliRunner().invoke(app, ["imagine", *arguments, "--config", str(path)])


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.convert("RGB").tobytes()


def test_it_writes_the_grid_and_each_picture(tmp_path: Path) -> None:
    grid, tiles = tmp_path / "deep" / "grid.png", tmp_path / "tiles"
    result = easel(tmp_path, PROMPT, "-o", str(grid), "--tiles", str(tiles))
    assert result.exit_code == 0, result.stderr
    assert str(grid) in result.stdout
    written = sorted(tiles.iterdir())
    assert [path.name[-6:] for path in written] == ["-1.png", "-2.png", "-3.png", "-4.png"]
    with Image.open(grid) as whole, Image.open(written[2]) as third:
        width, height = third.size
        assert whole.size == (2 * width, 2 * height)
        assert whole.crop((0, height, width, 2 * height)).tobytes() == third.tobytes()


def test_the_files_say_how_they_were_made(tmp_path: Path) -> None:
    grid = tmp_path / "grid.png"
    easel(tmp_path, PROMPT, "-o", str(grid))
    told = read_parameters(grid.read_bytes()) or ""
    assert told.startswith("a red heart\n")
    for part in ("Steps: 2", "Seed: 7", "CFG scale: 3"):
        assert part in told
    assert b"trainedAlgorithmicMedia" in grid.read_bytes()


def test_the_same_prompt_gives_the_same_pixels(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one.png", "two.png", "other.png"))
    easel(tmp_path, PROMPT, "-o", str(one))
    easel(tmp_path, PROMPT, "-o", str(two))
    easel(tmp_path, PROMPT.replace("7", "8"), "-o", str(other))
    assert pixels(one) == pixels(two) != pixels(other)


def test_repeats_are_files_of_their_own(tmp_path: Path) -> None:
    result = easel(tmp_path, f"{PROMPT} --repeat 2", "-o", str(tmp_path / "grid.png"))
    assert result.exit_code == 0, result.stderr
    assert pixels(tmp_path / "grid.png") != pixels(tmp_path / "grid-2.png")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    result = easel(tmp_path, PROMPT, "-o", str(tmp_path / "file" / "grid.png"))
    assert result.exit_code == 78
    assert "cannot be written" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_prompt_without_a_seed_draws_one() -> None:
    models = describe_models(config())
    (one,), (two,) = (params_of("a fox", config(), models) for _ in range(2))
    assert one.seed != two.seed


def test_a_prompt_error_shows_the_place_and_the_way_out() -> None:
    with pytest.raises(Exit) as caught:
        params_of("a fox --sed 7", config(), describe_models(config()))
    assert caught.value.code == 1
    assert "^" in str(caught.value)
    assert "a fox --seed 7" in str(caught.value)


def test_progress_counts_up_to_the_end(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    info = describe_models(config())["emoji"]
    paint(
        Params(prompt="a fox", steps=3, width=32, height=32),
        config(),
        info,
        output=tmp_path / "grid.png",
        tiles=None,
        progress=lambda done, total: heard.append((done, total)),
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_word_lists_are_drawn_from_as_on_discord(tmp_path: Path) -> None:
    (tmp_path / "colour.txt").write_text("purple\n", encoding="utf-8")
    listed = config().model_copy(
        update={"defaults": DefaultsConfig(wildcards=tmp_path)},
    )
    (params,) = params_of("a __colour__ heart", listed, describe_models(listed))
    assert params.prompt == "a purple heart"
    with pytest.raises(Exit, match="__shape__"):
        params_of("a __shape__", listed, describe_models(listed))
