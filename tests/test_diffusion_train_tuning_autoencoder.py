"""The first stage, taught a folder: a sharper decoder, and one from nothing with its denoiser."""

from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion.loading import load_model
from diffusion.train.tuning.autoencoder import AutoencoderRecipe
from diffusion.train.tuning.begin_autoencoder import (
    OpenedAutoencoder,
    autoencoder_recipe,
    open_autoencoder,
)
from diffusion.train.tuning.recipe import TuningError
from diffusion.train.tuning.reconstructing import finish_autoencoder, quality
from diffusion.train.tuning.subject import open_subject
from diffusion.train.tuning.tune import go_on
from diffusion.train.tuning.watching import finish
from tests.drawings import write_drawings
from tests.parity.pipelines import system
from tests.tiny import tiny_folder
from tests.tuning import CAPTION, Quiet, bits, picture, recipe, same, trained


def opened(
    root: Path,
    *,
    name: str = "vae",
    model: Path | None = None,
    **given: Any,  # noqa: ANN401
) -> OpenedAutoencoder:
    pictures = root / "drawings"
    if not pictures.exists():
        write_drawings(pictures)
    source = model or tiny_folder()
    chosen = autoencoder_recipe(source, {"batch": 4, **given})
    return open_autoencoder(
        pictures, model=source, recipe=chosen, out=root / name, precision="float32"
    )


def test_a_sharper_decoder_leaves_the_latents_as_they_are(tmp_path: Path) -> None:
    run = opened(tmp_path, steps=25, learning_rate=3e-3, average=0.5).run
    before, start = quality(run), bits(run.vae)
    assert go_on(run, Quiet())
    assert quality(run) > before + 1
    path = finish_autoencoder(run)
    base, new = open_subject(tiny_folder()), open_subject(path)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(base.vae.encode(images), new.vae.encode(images))
        latents = base.vae.encode(images)
        assert not torch.allclose(base.vae.decode(latents), new.vae.decode(latents))
    moved = {n for n, t in bits(run.vae).items() if not torch.equal(t, start[n])}
    assert moved
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved)
    assert picture(load_model(path), CAPTION).size == (32, 32)


def test_a_stopped_autoencoder_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    given: dict[str, Any] = {"steps": 5, "scratch": True, "mirror": True}
    whole = opened(tmp_path, name="whole", **given).run
    assert go_on(whole, Quiet())
    assert not go_on(opened(tmp_path, name="part", **given).run, Quiet(2))
    part = opened(tmp_path, name="part", **given).run
    assert part.progress.steps == 2
    assert go_on(part, Quiet())
    assert same(bits(part.vae), bits(whole.vae))
    assert same(part.average.shadow, whole.average.shadow)
    with pytest.raises(TuningError, match="steps was 5, now 6"):
        opened(tmp_path, name="part", **{**given, "steps": 6})


def test_from_nothing_end_to_end(tmp_path: Path) -> None:
    """An autoencoder, then text encoder and U-Net on it: nothing of the base is left."""
    run = opened(tmp_path, steps=60, scratch=True, learning_rate=3e-3, average=0.5).run
    before = quality(run)
    assert go_on(run, Quiet())
    assert quality(run) > before + 2
    stage = finish_autoencoder(run)
    subject = open_subject(stage)
    with torch.no_grad():
        art = torch.stack([subject.vae.encode(one.pixels()) for one in _batches(run)])
    assert 0.7 < float(art.std()) < 1.4
    fresh = trained(
        tmp_path, recipe("scratch", steps=6, learning_rate=1e-3), name="fresh", model=stage
    )
    model = load_model(finish(fresh, tmp_path / "drawings"))
    base = open_subject(tiny_folder())
    assert not same(bits(base.unet), bits(model.backbone))
    assert picture(model, CAPTION).size == (32, 32)


def _batches(run: Any) -> list[Any]:  # noqa: ANN401
    return [run.batches.draw(4, torch.Generator().manual_seed(seed)) for seed in range(4)]


@pytest.mark.parametrize("scratch", [False, True])
def test_other_models_get_an_autoencoder_alone(tmp_path: Path, scratch: bool) -> None:
    source = system("sd1").single
    run = opened(
        tmp_path, name="v.safetensors", model=source, steps=2, side=32, scratch=scratch, average=0.0
    ).run
    assert go_on(run, Quiet())
    path = finish_autoencoder(run)
    with_it = open_subject(source, vae=path)
    assert same({n: t.half().float() for n, t in bits(run.vae).items()}, bits(with_it.vae))
    assert (with_it.vae.config.scaling_factor == 0.18215) != scratch
    images = torch.stack([each for one in _batches(run) for each in one.pixels()])
    with torch.no_grad():
        deviation = float(with_it.vae.encode(images).std())
    assert not scratch or 0.8 < deviation < 1.25


@pytest.mark.parametrize(
    "given", [{"steps": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"seed": -1}, {"warmup": 2000}]
)
def test_numbers_that_make_no_run_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(TuningError):
        AutoencoderRecipe(**given)


def test_the_defaults_go_by_the_size_of_the_model() -> None:
    small, large = (autoencoder_recipe(m, {}) for m in ("emoji", system("sd1").single))
    assert small.learning_rate > large.learning_rate
    assert autoencoder_recipe("emoji", {"steps": 50}).warmup == 5
