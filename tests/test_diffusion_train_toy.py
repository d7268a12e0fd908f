"""The toy model: it learns its shapes, forgets them in the forward process, and is filmed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from bot.training import train
from diffusion.train.film import film, frame, strip
from diffusion.train.shapes import SHAPES, points
from diffusion.train.toy import (
    Toy,
    ToyRecipe,
    distance,
    forward_process,
    reverse_process,
    train_toy,
)

# Large enough to see the shape, small enough for seconds.
SHORT = ToyRecipe(shape="easel", steps=900, batch=256, width=64, drawn=2048)


@pytest.fixture(scope="module")
def toy() -> Toy:
    return train_toy(SHORT)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_centred_scaled_and_their_own(name: str) -> None:
    found = points(name, 4000)
    assert found.shape == (4000, 2)
    assert np.abs(found.mean(axis=0)).max() < 1e-9
    assert abs(found.std() - 1) < 1e-9
    assert np.array_equal(found, points(name, 4000))
    assert not np.array_equal(found, points(name, 4000, seed=1))
    others = [torch.from_numpy(points(other, 1000)) for other in SHAPES if other != name]
    same = distance(torch.from_numpy(points(name, 1000, seed=1)), torch.from_numpy(found[:1000]))
    assert all(distance(torch.from_numpy(found[:1000]), other) > 2 * same for other in others)


def test_an_unknown_shape_is_told() -> None:
    with pytest.raises(KeyError, match="there are heart, spiral"):
        points("fox", 10)


def test_the_loss_falls_and_the_same_seed_gives_the_same_numbers(toy: Toy) -> None:
    assert len(toy.losses) == 9
    assert toy.losses[-1] < 0.85 * toy.losses[0]
    again = train_toy(SHORT)
    assert again.losses == toy.losses
    for name, weight in toy.network.state_dict().items():
        assert torch.equal(weight, again.network.state_dict()[name]), name


def test_the_forward_process_begins_with_data_and_ends_in_noise(toy: Toy) -> None:
    frames = forward_process(toy, 1000, 5)
    assert len(frames) == 5
    assert float(torch.cdist(frames[0], toy.learned).amin(dim=1).max()) < 0.05
    apart = [distance(points, toy.learned) for points in frames]
    assert apart == sorted(apart)
    assert abs(float(frames[-1].std()) - 1) < 0.1
    assert abs(float(frames[-1].mean())) < 0.1
    # Noise has no memory of where a point was.
    both = torch.stack([frames[0].flatten(), frames[-1].flatten()])
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.1


@pytest.mark.parametrize(("sampler", "steps"), [("ddpm", 60), ("ddim", 20), ("euler", 20),
                                                 ("dpmpp_2m", 20), ("euler_a", 40)])  # fmt: skip
def test_every_kind_of_sampler_finds_the_shape(toy: Toy, sampler: str, steps: int) -> None:
    frames = reverse_process(toy, 1000, sampler=sampler, steps=steps)
    assert frames[0].shape == (1000, 2)
    assert len(frames) >= steps + 1
    drawn, noise = (distance(frames[i], toy.learned) for i in (-1, 0))
    wrong = distance(frames[-1], torch.from_numpy(points("star", 2000)).float())
    assert drawn < 0.4 * noise
    assert drawn < 0.6 * wrong


def test_an_untrained_network_finds_nothing(toy: Toy) -> None:
    fresh = train_toy(replace(SHORT, steps=1))
    drawn, good = (
        distance(reverse_process(model, 1000, steps=30)[-1], model.learned)
        for model in (fresh, toy)
    )
    assert good < 0.5 * drawn


def test_a_film_shows_both_processes(toy: Toy, tmp_path: Path) -> None:
    reverse = reverse_process(toy, 500, sampler="ddim", steps=8)
    forward = forward_process(toy, 500, len(reverse))
    for name in ("toy.webp", "toy.gif"):
        film(forward, reverse, tmp_path / name)
        with Image.open(tmp_path / name) as shown:
            assert shown.n_frames == len(reverse)  # type: ignore[attr-defined]
            assert shown.size == (600, 334)
    strip(reverse, tmp_path / "toy.png", frames=4)
    with Image.open(tmp_path / "toy.png") as shown:
        assert shown.size == (1200, 300)
    with pytest.raises(ValueError, match="9 and 8 frames"):
        film(forward, reverse[:-1], tmp_path / "not.webp")


def test_a_point_is_drawn_where_it_is() -> None:
    corner, nothing = np.array([[-2.0, 2.0]], np.float32), np.zeros((0, 2), np.float32)
    drawn = np.asarray(frame(corner, nothing, 0.5)).astype(int)
    ink = np.abs(drawn[:300] - [250, 248, 243]).sum(axis=2)
    y, x = np.argwhere(ink == ink.max())[0]
    assert abs(x - 300 / 6) < 2
    assert abs(y - 300 / 6) < 2
    assert ink[:, 300:].max() == 0


def test_the_command_writes_a_film_and_says_how_good_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusion.train.toy.ToyRecipe", lambda **given: ToyRecipe(
        steps=200, batch=128, width=32, drawn=1024, **given))  # fmt: skip
    out = tmp_path / "toy.webp"
    run = CliRunner().invoke(
        train, ["toy", "--out", str(out), "--shape", "star", "--sampler", "ddim", "--steps", "5"]
    )
    assert run.exit_code == 0, run.output
    assert "mean distance" in " ".join(run.output.split())
    assert out.stat().st_size > 1000
    assert out.with_suffix(".png").exists()
    for wrong in (["--shape", "fox"], ["--sampler", "magic"], ["--out", "toy.txt"]):
        told = CliRunner().invoke(train, ["toy", *wrong])
        assert told.exit_code == 2
        assert wrong[1] in told.output
