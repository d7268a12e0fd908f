"""Loading a model: what is refused and why, what may be exchanged, and the trial of Stable
Diffusion 2.
"""

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffusion import (
    CheckpointError,
    OutOfMemoryError,
    Params,
    ParamsError,
    generate,
    load_model,
    loading,
)
from diffusion.foreign import describe_checkpoint
from diffusion.networks.unet import UNet
from diffusion.text import ClipEncoder
from tests.parity.pipelines import addons, system
from tests.tiny import tiny_folder

PARAMS = Params(prompt="a fox", seed=3, steps=2, width=64, height=64, images=1)


def test_an_addon_given_as_a_model_says_where_it_belongs() -> None:
    with pytest.raises(CheckpointError, match="is a LoRA: put it into the folder of LoRAs"):
        load_model(next((addons() / "loras").glob("*.safetensors")))
    with pytest.raises(CheckpointError, match="an autoencoder alone: give it to a model"):
        describe_checkpoint(system("sd1").folder / "vae")


def test_a_file_without_an_autoencoder_asks_for_one_and_takes_it(tmp_path: Path) -> None:
    tensors = load_file(system("sd1").single)
    bare = tmp_path / "bare.safetensors"
    save_file({k: t for k, t in tensors.items() if not k.startswith("first_stage_model.")}, bare)
    with pytest.raises(CheckpointError, match="has no autoencoder: name one"):
        load_model(bare)
    model = load_model(bare, vae=system("sd1").folder / "vae")
    whole = load_model(system("sd1").single)
    for name, weight in whole.vae.state_dict().items():
        assert torch.equal(weight, model.vae.state_dict()[name]), name


def test_another_prediction_type_can_be_told_and_a_wrong_one_is_refused() -> None:
    path = system("sd1").single
    assert load_model(path).noise_schedule.prediction_type == "epsilon"
    told = load_model(path, prediction_type="v_prediction")
    assert told.noise_schedule.prediction_type == "v_prediction"
    with pytest.raises(CheckpointError, match=r"'velocity'.*choose one of epsilon"):
        load_model(path, prediction_type="velocity")


@pytest.mark.parametrize(("shift", "found"), [(0.0, "epsilon"), (-3.0, "v_prediction")])
def test_stable_diffusion_2_files_are_tried_out(
    shift: float, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(self: UNet, x: Tensor, timesteps: Tensor, *others: Any) -> Tensor:  # noqa: ANN401
        assert timesteps.tolist() == [999.0]
        return x + shift

    monkeypatch.setattr(UNet, "forward", answer)
    assert load_model(system("sd2").single).noise_schedule.prediction_type == found


def test_half_precision_files_are_widened() -> None:
    model = load_model(system("sd1").folder, dtype="bfloat16")
    assert {p.dtype for p in model.backbone.parameters()} == {torch.bfloat16}
    with pytest.raises(ValueError, match="float8"):
        load_model(system("sd1").folder, dtype="float8")


def test_a_schedule_that_is_not_known_is_refused_with_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(system("sd1").folder, folder)
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"beta_schedule": "wavy"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="wavy"):
        load_model(folder)


def test_an_unknown_lora_names_the_nearest(tmp_path: Path) -> None:
    shutil.copy(next((addons() / "loras").glob("*.safetensors")), tmp_path / "fur.safetensors")
    model = load_model(system("sd1").folder, loras=tmp_path)
    with pytest.raises(ParamsError, match="did you mean 'fur'"):
        next(generate(model, Params(prompt="a <lora:furr:1> fox", width=64, height=64)))
    with pytest.raises(ParamsError, match="there is no LoRA of that name"):
        next(generate(model, Params(prompt="a <lora:../fur:1> fox", width=64, height=64)))


def test_a_folder_of_addons_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no folder"):
        load_model(system("sd1").folder, loras=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "family", "sampler", "steps", "scale"),
    [
        ("sd1", "sd1", "dpmpp_2m", 25, 7.5),
        ("sd1-lcm", "sd1", "lcm", 4, 8.0),
        ("sdxl-turbo", "sdxl", "euler_a", 4, 1.0),
        ("sdxl", "sdxl", "dpmpp_2m", 30, 6.0),
        ("ddpm", "ddpm", "ddim", 100, 1.0),
    ],
)
def test_a_folder_is_described_with_the_settings_it_looks_best_with(
    name: str, family: str, sampler: str, steps: int, scale: float
) -> None:
    info = describe_checkpoint(system(name).folder)
    assert (info.family, info.defaults.sampler, info.defaults.steps) == (family, sampler, steps)
    assert info.defaults.guidance_scale == scale
    assert info.native_width % info.size_multiple == 0


def test_an_inpainting_network_alone_in_its_noise_paints_everything() -> None:
    *_, last = generate(load_model(system("sd1-inpaint").folder), PARAMS)
    assert last.pictures is not None


def test_a_network_for_other_pictures_is_refused_with_its_channels() -> None:
    model = load_model(system("sd1-inpaint").folder)
    # Frozen: a depth model has five, and nothing else about it is different.
    object.__setattr__(model.backbone.config, "in_channels", 5)
    with pytest.raises(ParamsError, match="takes 5 channels where latents have 4"):
        next(generate(model, PARAMS))


def test_the_collector_of_cycles_is_as_before_after_loading(tmp_path: Path) -> None:
    assert gc.isenabled()
    load_model(system("sd1").folder)
    assert gc.isenabled()
    cut = tmp_path / "model.safetensors"
    cut.write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        load_model(cut)
    assert gc.isenabled()


@pytest.mark.parametrize("layout", ["folder", "single"])
def test_weights_can_be_left_in_host_memory(layout: str) -> None:
    path = getattr(system("sd1"), layout)
    here, there = load_model(path), load_model(path, device="meta", offload=True)
    assert there.device == torch.device("meta")
    for network in ("backbone", "vae"):
        wanted = getattr(here, network).state_dict()
        for name, weight in getattr(there, network).state_dict().items():
            assert torch.equal(weight, wanted[name]), name
    assert there.text is not None
    assert next(there.text.encoders[0].model.parameters()).device.type == "cpu"
    assert there.noise_schedule == here.noise_schedule


def test_an_infinite_weight_is_found_beside_the_loading(tmp_path: Path) -> None:
    tensors = load_file(system("sd1").single)
    name = next(key for key in tensors if key.startswith("model.diffusion_model.output_blocks"))
    tensors[name].view(-1)[-1] = torch.inf
    save_file(tensors, tmp_path / "broken.safetensors")
    with pytest.raises(CheckpointError, match=rf"{name.split('.')[-2]}.*not finite as float32"):
        load_model(tmp_path / "broken.safetensors")


@pytest.mark.parametrize("prefix", ["cond_stage_model.", "first_stage_model.decoder"])
def test_an_infinite_weight_is_found_in_every_part(prefix: str, tmp_path: Path) -> None:
    tensors = load_file(system("sd1").single)
    name = next(key for key in tensors if key.startswith(prefix) and key.endswith(".weight"))
    tensors[name].view(-1)[0] = torch.nan
    save_file(tensors, tmp_path / "broken.safetensors")
    with pytest.raises(CheckpointError, match=rf"{name}.*not finite as float32"):
        load_model(tmp_path / "broken.safetensors")


def test_two_encoders_share_a_tokenizer_of_the_same_files_only(tmp_path: Path) -> None:
    folder = tmp_path / "xl"
    shutil.copytree(system("sdxl").folder, folder)
    for name in ("tokenizer", "tokenizer_2"):
        whole = json.loads((folder / name / "tokenizer.json").read_text(encoding="utf-8"))
        (folder / name / "tokenizer.json").unlink()
        merges = [pair if isinstance(pair, str) else " ".join(pair)
                  for pair in whole["model"]["merges"]]  # fmt: skip
        (folder / name / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
        (folder / name / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")

    def encoders() -> list[ClipEncoder]:
        text = load_model(folder).text
        assert text is not None
        return list(text.encoders)

    first, second = encoders()
    assert first.tokenizer is second.tokenizer
    assert first.tokens("a red fox") == second.tokens("a red fox")
    with (folder / "tokenizer_2" / "merges.txt").open("r+") as file:
        lines = file.read().splitlines()
        file.seek(0)
        file.truncate()
        file.write("\n".join(lines[:100]) + "\n")
    first, second = encoders()
    assert first.tokenizer is not second.tokenizer
    assert first.tokens("a red fox") != second.tokens("a red fox")


def test_a_model_too_large_for_its_device_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("the device is full")

    monkeypatch.setattr(loading, "load_part", full)
    with pytest.raises(OutOfMemoryError, match=r"does not fit into the memory of cpu .*is full"):
        load_model(system("sd1").single)


def test_backbone_and_autoencoder_are_arranged_for_the_device_that_will_run_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(loading, "arrange", lambda *given: asked.append(given))
    for path in (system("sd1").single, tiny_folder()):
        model = load_model(path, device="meta", offload=True)
        wanted = torch.device("meta"), torch.float32
        assert asked == [(model.backbone, *wanted), (model.vae, *wanted)]
        asked.clear()
