"""Training on a folder: what is refused at the start, what is drawn, stops that cost nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from diffusion.train.folder import TrainingDataError
from diffusion.train.tuning.begin import Wish, open_run
from diffusion.train.tuning.images import buckets_for
from diffusion.train.tuning.recipe import Recipe, TuningError, default_recipe
from diffusion.train.tuning.room import trained_bytes, unet_bytes
from diffusion.train.tuning.subject import open_subject
from diffusion.train.tuning.tune import go_on, spread_timesteps
from diffusion.train.tuning.watching import finish
from diffusion.train.tuning.words import captions_context, encode_captions
from tests.drawings import write_drawings
from tests.parity.pipelines import system
from tests.tiny import tiny_folder
from tests.tuning import Quiet, opened, recipe, same, trained


@pytest.mark.parametrize("method", ["lora", "full", "inversion", "scratch"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path: Path, method: str) -> None:
    chosen = recipe(method, steps=7, average=0.9 if method == "full" else 0.0, mirror=True)
    whole = trained(tmp_path, chosen, name="whole")
    for until in (3, 4, None):
        part = opened(tmp_path, chosen, name="part")
        assert part.resumed == (until != 3)
        assert go_on(part.run, Quiet(until)) == (until is None)
    assert same(dict(part.run.weights), dict(whole.weights))
    assert same(load_file(part.run.place.state), load_file(whole.place.state))
    assert part.run.progress.log == whole.progress.log
    assert len(whole.progress.log) == 7


@pytest.mark.parametrize(
    ("change", "said"),
    [({"rank": 2}, "rank was 4, now 2"), ({"seed": 9}, "seed was 0, now 9")],
)
def test_a_state_of_other_settings_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    chosen = recipe(steps=3)
    go_on(opened(tmp_path, chosen).run, Quiet(1))
    with pytest.raises(TuningError, match=said):
        opened(tmp_path, recipe(**{"steps": 3, **change}))
    assert opened(tmp_path, chosen).resumed


def test_a_state_of_other_pictures_or_another_model_is_refused(tmp_path: Path) -> None:
    go_on(opened(tmp_path, recipe(steps=3)).run, Quiet(1))
    extra = tmp_path / "drawings" / "yellow disc.png"
    Image.new("RGB", (32, 32), "yellow").save(extra)
    with pytest.raises(TuningError, match="pictures was"):
        opened(tmp_path, recipe(steps=3))
    extra.unlink()
    other = trained(tmp_path, recipe("full", steps=1, warmup=0), name="other")
    model = finish(other, tmp_path / "drawings")
    with pytest.raises(TuningError, match="model was"):
        opened(tmp_path, recipe(steps=3), model=model)


def test_a_result_that_no_run_made_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.safetensors").write_bytes(b"mine")
    with pytest.raises(TuningError, match="is there already"):
        opened(tmp_path, recipe())
    assert (tmp_path / "a" / "a.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize("place", ["drawings/a.safetensors", "a.bin", "gone/a.safetensors"])
def test_a_place_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, place: str
) -> None:
    pictures = write_drawings(tmp_path / "drawings")
    wish = Wish(pictures=pictures, model=tiny_folder(), recipe=recipe(), out=tmp_path / place)
    with pytest.raises(TuningError, match=r"--out|must end"):
        open_run(wish)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawings"]


def test_bad_pictures_are_told_at_once_by_name(tmp_path: Path) -> None:
    pictures = write_drawings(tmp_path / "drawings")
    (pictures / "broken one.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    Image.new("RGB", (8, 40)).save(pictures / "thin line.png")
    with pytest.raises(TrainingDataError) as caught:
        opened(tmp_path, recipe())
    assert "broken one.png is damaged" in str(caught.value)
    assert "thin line.png has 8 x 40 pixels; 16 a side" in str(caught.value)
    assert not (tmp_path / "a" / "a-training").exists()


def test_too_little_memory_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"Memory has .* MiB free and training takes"):
        opened(tmp_path, recipe(batch=4096, side=2048))


def test_a_long_caption_is_warned_of_with_begin_and_end_counted(tmp_path: Path) -> None:
    pictures = write_drawings(tmp_path / "drawings")
    (pictures / "red_square_0.png").rename(pictures / f"{'red ' * 15}square.png")
    warnings = opened(tmp_path, recipe()).warnings
    assert len(warnings) == 1
    subject = open_subject(tiny_folder())
    tokens = len(subject.encoder.tokens("red " * 15 + "square"))
    assert f"has a caption of {tokens + 2} tokens, the text encoder reads 16: " in warnings[0]


def test_mixed_shapes_are_learned_in_buckets_of_their_own(tmp_path: Path) -> None:
    pictures = write_drawings(tmp_path / "drawings", count=4)
    for number in range(4):
        Image.new("RGB", (64, 32), "orange").save(pictures / f"orange sunset {number}.png")
    run = opened(tmp_path, recipe(steps=6)).run
    shapes = {latents.shape[1:] for latents in run.pictures.latents.values()}
    assert shapes == {(4, 4, 4), (4, 2, 6)} or len(shapes) == 2
    assert go_on(run, Quiet())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sd1-inpaint", "inpainting"),
        ("sd1-lcm", "distilled"),
        ("sdxl-refiner", "refiner"),
        ("ldm", "family 'ldm'"),
        ("ldm-class", "family 'ldm_class'"),
        ("ddpm", "family 'ddpm'"),
    ],
)
def test_models_that_cannot_be_trained_are_refused_by_kind(name: str, said: str) -> None:
    with pytest.raises(TuningError, match=said):
        open_subject(system(name).folder)


def test_frozen_captions_are_encoded_as_trained_ones_are(tmp_path: Path) -> None:
    subject = open_subject(tiny_folder())
    captions = ["red square", "a (blue) [fish], 3d", "fish " * 30]
    found = encode_captions(subject, captions)
    assert list(found) == ["", *captions]
    with torch.no_grad():
        wanted = captions_context(subject.encoder, ["", *captions])
    for row, encoded in zip(wanted, found.values(), strict=True):
        assert torch.allclose(encoded.context, row, atol=1e-6)
        assert not encoded.context.is_inference()


def test_timesteps_are_spread_and_cover_the_table() -> None:
    generator = torch.Generator().manual_seed(3)
    drawn = torch.stack([spread_timesteps(8, 1000, generator) for _ in range(500)])
    assert drawn.sort(dim=1).values.div(125, rounding_mode="floor").eq(torch.arange(8)).all()
    assert drawn.min() < 10
    assert drawn.max() > 989
    assert abs(float(drawn.float().mean()) - 499.5) < 5
    assert len({tuple(row.tolist()) for row in drawn.div(125, rounding_mode="floor")}) > 100


def test_the_backward_pass_is_counted_before_it_is_taken() -> None:
    config = open_subject(tiny_folder()).unet.config
    small, large = unet_bytes(config, 4, 4, 16), unet_bytes(config, 8, 8, 16)
    assert 2 * small < large < 5 * small
    layer = nn.Linear(10, 3)
    assert trained_bytes({"a": layer}) == 4 * 33


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"dropout": 1.5}, "from 0 to 1"),
        ({"rank": True}, "rank is True"),
        ({"warmup": 90, "steps": 80}, "warm up for fewer"),
        ({"decay": "linear"}, "cosine or constant"),
        ({"method": "merge"}, "lora, full, scratch, inversion"),
        ({"method": "inversion", "word": "two words"}, "word is 'two words'"),
    ],
)
def test_numbers_that_make_no_run_are_refused(given: dict[str, object], said: str) -> None:
    fields: dict[str, object] = {"method": "lora", "steps": 100, "batch": 2, "learning_rate": 1e-3}
    with pytest.raises(TuningError, match=said):
        Recipe(**{**fields, **given})  # type: ignore[arg-type]
    with pytest.raises(TuningError, match="there are lora"):
        default_recipe("merge", small=True)  # type: ignore[arg-type]


def test_a_loss_that_is_no_number_ends_the_run_with_advice(tmp_path: Path) -> None:
    run = opened(tmp_path, recipe()).run
    with torch.no_grad():
        run.trained.networks["lora"][0].down.fill_(float("inf"))  # type: ignore[index]
    with pytest.raises(TuningError, match="lower the learning rate"):
        go_on(run, Quiet())


def test_sides_are_those_that_the_model_can_paint() -> None:
    subject = open_subject(tiny_folder())
    unit = subject.model.info.size_multiple
    for side in (0, 40):
        for bucket in buckets_for(subject, side):
            assert bucket.width % unit == bucket.height % unit == 0
            assert bucket.width * bucket.height <= (side or 32) ** 2
    with pytest.raises(TuningError, match=f"use {unit} or more"):
        buckets_for(subject, 3)


@pytest.mark.parametrize("name", ["emoji", "sd1"])
@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_a_step_is_algorithm_1_with_the_models_own_prediction(
    tmp_path: Path, name: str, dropout: float
) -> None:
    """Worked out again from the formulas: velocity for the one, noise for the other."""
    more: dict[str, Any] = {} if name == "emoji" else {"side": 32}
    source = tiny_folder() if name == "emoji" else system("sd1").single
    chosen = recipe(dropout=dropout, steps=10, warmup=4, seed=6, clip=1e-3, **more)
    run = opened(tmp_path, chosen, model=source).run
    subject = run.subject
    generator = torch.Generator().manual_seed(6 * 1_000_003)
    drawn = run.pictures.draw(4, generator)
    t = spread_timesteps(4, 1000, generator)
    noise = torch.randn(drawn.latents.shape, generator=generator)
    abar = torch.tensor(subject.model.noise_schedule.alphas_cumprod)[t].float()[:, None, None, None]
    captions = ["" if dropout else caption for caption in drawn.captions]
    with torch.no_grad():
        x = abar.sqrt() * drawn.latents + (1 - abar).sqrt() * noise
        output = subject.unet(x, t, captions_context(subject.encoder, captions))
    snr = abar / (1 - abar)
    if name == "emoji":
        wanted, weight = abar.sqrt() * noise - (1 - abar).sqrt() * drawn.latents, 1 / (snr + 1)
    else:
        wanted, weight = noise, 1 / snr
    expected = (weight * snr.clamp(max=5) * (output - wanted).square()).mean()
    with run.attached(), torch.enable_grad():
        loss = run.step()
    assert loss == pytest.approx(float(expected), rel=1e-4)
    assert run.optimiser.param_groups[0]["lr"] == chosen.learning_rate / 4
    gradients = [p.grad for p in run.named.values() if p.grad is not None]
    assert float(torch.cat([g.flatten() for g in gradients]).norm()) <= 1.001e-3


def test_libraries_are_as_they_were_after_a_run(tmp_path: Path) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    go_on(opened(tmp_path, recipe(steps=1, warmup=0)).run, Quiet())
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic


def test_mirrored_pictures_are_their_own_latents_and_as_likely(tmp_path: Path) -> None:
    run = opened(tmp_path, recipe(mirror=True)).run
    ways = next(iter(run.pictures.latents.values()))
    assert len(ways) == 2
    generator = torch.Generator().manual_seed(1)
    pairs = {ways[0].sum().item(): 0 for ways in run.pictures.latents.values()}
    drawn = torch.cat([run.pictures.draw(12, generator).latents for _ in range(40)])
    plain = sum(float(latent.sum()) in pairs for latent in drawn)
    assert 0.4 < plain / len(drawn) < 0.75, "symmetric drawings count as plain"


def test_every_step_draws_anew(tmp_path: Path) -> None:
    run = opened(tmp_path, recipe(steps=4, learning_rate=1e-9)).run
    watcher = Quiet()
    assert go_on(run, watcher)
    assert len(set(watcher.losses)) == 4
