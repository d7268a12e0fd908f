"""The choice of device and precision."""

import pytest
import torch

from diffusion import DiffusionError
from diffusion.device import choose_device, choose_devices


def test_a_cpu_never_gets_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    chosen = choose_device()
    assert (chosen.device, chosen.dtype) == ("cpu", "float32")
    assert "CPU" in chosen.description


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card")
    chosen = choose_device()
    assert (chosen.device, chosen.dtype, chosen.description) == (
        "cuda",
        "float16",
        "A card, float16",
    )
    assert choose_device("cpu").device == "cpu"
    assert choose_device("cuda", "bfloat16").dtype == "bfloat16"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DiffusionError, match='use "auto" or "cpu"'):
        choose_device("cuda")


def test_every_gpu_of_the_machine_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number=0: f"Card {number}")
    found = choose_devices()
    assert [each.device for each in found] == ["cuda:0", "cuda:1"]
    assert [each.description for each in found] == ["Card 0, float16", "Card 1, float16"]
    assert [each.device for each in choose_devices("cpu")] == ["cpu"]
