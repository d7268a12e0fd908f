"""Precision of training: chosen by timing, kept by a run that goes on."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from diffusion import load_model
from diffusion.train import run, vae
from diffusion.train.precision import WORTH, Precision, autocast, choose_precision, step_time
from tests.test_diffusion_train_run import quiet
from tests.workbench import workshop


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.05, "float32"), (1.0, "float32"), (WORTH - 0.01, "float32"), (WORTH + 0.01, "bfloat16")],
)
def test_half_precision_must_be_worth_it(ratio: float, expected: str) -> None:
    def timer(precision: Precision, device: str) -> float:
        assert device == "cpu"
        return ratio if precision == "float32" else 1.0

    assert choose_precision("cpu", timer=timer) == expected


def test_products_are_in_the_precision_and_gradients_in_full() -> None:
    layer, x = torch.nn.Linear(4, 4), torch.ones(2, 4)
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with autocast("cpu", precision):  # type: ignore[arg-type]
            y = layer(x)
        assert y.dtype == dtype
        (gradient,) = torch.autograd.grad(y.float().sum(), [layer.weight])
        assert gradient.dtype == torch.float32


def test_a_step_takes_time_in_full_precision() -> None:
    assert step_time("float32", "cpu") > 0


def test_a_run_keeps_the_precision_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a machine measures may differ from day to day; a run must not."""
    shop = workshop(tmp_path, vae_samples=16)
    object.__setattr__(shop.preset.vae, "precision", None)
    state = shop.run / "vae-state.safetensors"

    def precision() -> str:
        with safe_open(state, framework="pt") as file:
            return str(json.loads(file.metadata()["progress"])["precision"])

    monkeypatch.setattr(vae, "choose_precision", lambda device: "bfloat16")
    run.run_vae(shop, minutes=0, report=quiet)
    assert precision() == "bfloat16"
    monkeypatch.setattr(vae, "choose_precision", lambda device: "float32")
    run.run_vae(shop, minutes=5, report=quiet)
    assert precision() == "bfloat16"
    weights = load_file(state)
    assert all(t.dtype == torch.float32 for n, t in weights.items() if n.startswith("weights."))


def test_a_run_may_begin_with_a_model(tmp_path: Path) -> None:
    """The networks of an exported model are where the next run starts; the text encoder is not."""
    shop = workshop(tmp_path / "first")
    run.run_vae(shop, minutes=5, report=quiet)
    run.run_denoiser(shop, minutes=5, report=quiet)
    run.run_export(shop, tmp_path / "model")
    model = load_model(tmp_path / "model")
    again = workshop(tmp_path / "second")
    run.run_vae(again, minutes=0, report=quiet, start=str(tmp_path / "model"))
    weights = load_file(again.run / "vae-state.safetensors")
    for name, tensor in model.vae.state_dict().items():
        assert torch.equal(weights[f"weights.vae.{name}"], tensor.float()), name
    run.run_denoiser(again, minutes=0, report=quiet, start=str(tmp_path / "model"))
    weights = load_file(again.run / "denoiser-state.safetensors")
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(weights[f"weights.unet.{name}"], tensor.float()), name
    before = load_file(shop.run / "denoiser-state.safetensors")
    text = [name for name in weights if name.startswith("weights.text.")]
    assert text
    assert not all(torch.equal(weights[name], before[name]) for name in text)
