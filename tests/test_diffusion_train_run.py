"""A whole training run, small: every part learns, stops, goes on where it was, and ends in a model
that paints.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from diffusion import Params, generate, load_model
from diffusion.train import run
from diffusion.train.denoiser import train_denoiser
from diffusion.train.state import Progress
from diffusion.train.vae import train_vae
from tests.thinning import thinned
from tests.workbench import workshop


class StopError(Exception):
    """Stands for the power cord."""


def quiet(part: str, progress: Progress) -> None:
    del part, progress


def stop_at(steps: int) -> Callable[[str, Progress], None]:
    def report(part: str, progress: Progress) -> None:
        del part
        if progress.steps >= steps:
            raise StopError

    return report


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_both_networks_learn_and_the_model_paints(tmp_path: Path) -> None:
    shop = workshop(tmp_path, vae_samples=1200, denoiser_samples=1600)
    run.run_vae(shop, minutes=5, report=quiet)
    run.run_denoiser(shop, minutes=5, report=quiet)
    log = {
        part: json.loads(_metadata(shop.run / f"{part}-state.safetensors"))["log"]
        for part in ("vae", "denoiser")
    }
    assert log["vae"][-1]["loss"] < 0.9 * log["vae"][0]["loss"]
    assert log["denoiser"][-1]["loss"] < 0.95 * log["denoiser"][0]["loss"]

    run.run_export(shop, tmp_path / "model")
    model = load_model(tmp_path / "model")
    defaults = model.info.defaults
    params = Params(prompt="red square", steps=6, width=32, height=32, images=1, seed=1,
                    guidance_scale=defaults.guidance_scale, sampler=defaults.sampler,
                    schedule=defaults.schedule)  # fmt: skip
    *_, last = generate(model, params)
    assert last.pictures is not None
    run.sample_sheet(tmp_path / "model", tmp_path / "sheet.png", prompts=["red square", "bar"])
    with Image.open(tmp_path / "sheet.png") as sheet:
        # Two columns of three pictures of 32 pixels, shown four times enlarged.
        assert 2 * 128 < sheet.width < 2 * 160
        assert 3 * 128 < sheet.height < 3 * 160


def _metadata(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return str(file.metadata()["progress"])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("part", thinned(["vae", "denoiser"], every=2))
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at step 50 with the state of step 25, it ends bit for bit like an unbroken run."""
    for function in (train_vae, train_denoiser):
        defaults: dict[str, object] = function.__kwdefaults__ or {}
        monkeypatch.setitem(defaults, "save_every", 25)
    states = []
    for name in ("whole", "broken"):
        shop = workshop(tmp_path / name, vae_samples=480, denoiser_samples=480)
        run.run_vae(shop, minutes=5, report=quiet) if part == "denoiser" else shop.run.mkdir()
        command = run.run_vae if part == "vae" else run.run_denoiser
        if name == "broken":
            with pytest.raises(StopError):
                command(shop, minutes=5, report=stop_at(50))
        command(shop, minutes=5, report=quiet)
        states.append(load_file(shop.run / f"{part}-state.safetensors"))
    whole, broken = states
    assert whole.keys() == broken.keys()
    assert any(name.startswith("adam.exp_avg_sq.") for name in whole)
    for name, tensor in whole.items():
        assert torch.equal(tensor, broken[name]), name


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_sheet_is_painted_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = workshop(tmp_path, denoiser_samples=8 * 100)
    run.run_vae(shop, minutes=5, report=quiet)
    monkeypatch.setattr(run, "SHEET_EVERY", 50)
    monkeypatch.setattr(run, "SHEET_PROMPTS", ("red disc",))
    monkeypatch.setitem(train_denoiser.__kwdefaults__ or {}, "save_every", 25)
    with pytest.raises(StopError):
        run.run_denoiser(shop, minutes=5, report=stop_at(50))
    assert (shop.run / "sheet.png").exists()


def test_the_clock_stops_a_run_with_its_state_kept(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    run.run_vae(shop, minutes=0, report=quiet)
    state = shop.run / "vae-state.safetensors"
    assert json.loads(_metadata(state))["steps"] == 0
    run.run_vae(shop, minutes=5, report=quiet)
    assert json.loads(_metadata(state))["samples"] == 80


@pytest.mark.slow
def test_sharpening_the_decoder_keeps_the_latents(tmp_path: Path) -> None:
    shop = workshop(tmp_path, vae_samples=400)
    run.run_vae(shop, minutes=5, report=quiet)
    before = run.load_vae(shop)
    run.run_decoder(shop, minutes=5, report=quiet)
    after = run.load_vae(shop)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(before.encode(images), after.encode(images))
    latents = before.encode(images)
    assert not torch.equal(before.decode(latents), after.decode(latents))


def test_workers_share_a_batch_and_agree_with_one(tmp_path: Path) -> None:
    """Two workers' gradient is the mean of two halves; a wrong sum would double the step."""
    from diffusion.train.caches import make_batches
    from diffusion.train.denoiser import Denoiser, GradientStep
    from diffusion.train.emoji import build_networks

    shop = workshop(tmp_path)
    run.run_vae(shop, minutes=5, report=quiet)
    text, unet = build_networks(shop.preset, run.load_tokenizer(shop), seed=1)
    for parameter in unet.out.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    batches = make_batches(shop.preset, run.load_vae(shop), shop.pixels(), shop.rows(), text)
    alphas = torch.linspace(0.99, 0.01, 1000)
    network = Denoiser(text.model, unet)

    def gradient(workers: int, batch: int, seed: int) -> torch.Tensor:
        recipe = replace(shop.preset.denoiser, workers=workers, batch=batch)
        GradientStep(network, batches, alphas, recipe)(seed)
        return torch.cat([p.grad.flatten() for p in unet.out.parameters() if p.grad is not None])

    halves = [gradient(1, 4, seed) for seed in (6, 7)]
    together = gradient(2, 8, 3)
    assert torch.allclose(together, (halves[0] + halves[1]) / 2, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(halves[0], halves[1], rtol=1e-2)


def test_an_unknown_preset_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="cpu, gpu, tiny"):
        run.open_workshop(tmp_path, "huge")
