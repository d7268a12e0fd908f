"""Loading: strict, named errors, nothing taken from a file that is not whole."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusion import CheckpointError, UnknownModelError, load_model
from diffusion.files import sha256_of
from diffusion.info import describe_model
from tests.tiny import tiny_folder, tiny_model, write_tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "model")


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change tensors and keep the hash in config.json right, so that only the change is wrong."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    edit(folder, lambda config: config.update(sha256=sha256_of(path)))


def test_a_model_answers_with_the_fixed_names() -> None:
    model = tiny_model()
    assert model.family == "emoji"
    conditioning = model.encode_prompts(["a red heart", ""], clip_skip=0)
    assert conditioning.context.shape == (2, 16, 32)
    assert conditioning.pooled is not None
    assert conditioning.pooled.shape == (2, 32)
    latents = model.vae.encode(torch.zeros(2, 3, 32, 32))
    assert latents.shape == (2, *model.latent_shape(32, 32))
    assert model.vae.decode(latents).shape == (2, 3, 32, 32)
    predicted = model.backbone(latents, torch.tensor([1.0, 500.5]), conditioning.context)
    assert predicted.shape == latents.shape
    assert not any(p.requires_grad for p in model.backbone.parameters())


def test_weights_survive_the_file(folder: Path) -> None:
    """What was written in half precision is what every network holds, tensor by tensor."""
    tensors = load_file(folder / "model.safetensors")
    model = load_model(folder)
    placed = {f"model.diffusion_model.{n}": p for n, p in model.backbone.state_dict().items()}
    placed |= {f"first_stage_model.{n}": p for n, p in model.vae.state_dict().items()}
    for name, tensor in placed.items():
        assert torch.equal(tensor, tensors[name].float()), name
    text = [n for n in tensors if n.startswith("cond_stage_model.transformer.text_model.")]
    assert model.text is not None
    assert len(text) == len(model.text.encoders[0].model.state_dict())


def test_the_description_needs_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    info = describe_model(folder)
    assert (info.native_width, info.size_multiple, info.display_scale) == (32, 8, 1)


def test_an_unknown_model_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="nowhere"):
        load_model(tmp_path / "nowhere")


def test_missing_weights_are_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load_model(folder)


@pytest.mark.parametrize("where", [0.001, 0.3, 0.99])
def test_one_flipped_bit_is_refused(folder: Path, where: float) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_model(folder)


@pytest.mark.parametrize("where", [0, 4, 100, 0.5, -1])
def test_a_truncated_file_is_refused_even_without_a_hash(folder: Path, where: float) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(where * len(data)) if 0 < where < 1 else int(where)])
    edit(folder, lambda config: config.update(sha256=None))
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        load_model(folder)


class Canary:
    """Unpickling this writes a file: proof that code ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "ran")


def test_a_pickle_in_disguise_never_runs(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / "model.safetensors").write_bytes(pickle.dumps(Canary(canary)))
    edit(folder, lambda config: config.update(sha256=None))
    with pytest.raises(CheckpointError):
        load_model(folder)
    assert not canary.exists()


def test_a_missing_tensor_is_named(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.pop("model.diffusion_model.out.2.bias"))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"the unet .* missing out\.2\.bias; unknown none"):
        load_model(folder)


def test_an_unknown_tensor_is_named(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({"first_stage_model.extra": torch.ones(1)}))
    with pytest.raises(CheckpointError, match=r"the vae .* unknown extra"):
        load_model(folder)


def test_a_foreign_tensor_is_named(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({"lora_unet_x": torch.ones(1)}))
    with pytest.raises(CheckpointError, match="lora_unet_x"):
        load_model(folder)


def test_a_wrong_shape_is_named(folder: Path) -> None:
    rewrite(
        folder,
        lambda tensors: tensors.update({"model.diffusion_model.out.2.bias": torch.ones(3)}),
    )
    with pytest.raises(CheckpointError, match=r"wrong shape out\.2\.bias"):
        load_model(folder)


def test_numbers_that_are_not_finite_are_refused(folder: Path) -> None:
    rewrite(
        folder,
        lambda tensors: tensors["model.diffusion_model.out.2.bias"].fill_(torch.nan),  # type: ignore[arg-type]
    )
    with pytest.raises(CheckpointError, match="not finite"):
        load_model(folder)


def test_a_section_that_describes_no_network_is_named(folder: Path) -> None:
    edit(folder, lambda config: config["unet"].update(wings=2))
    with pytest.raises(CheckpointError, match=r'section "unet" .*wings'):
        load_model(folder)


def test_a_damaged_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is no tokenizer"):
        load_model(folder)


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(ValueError, match="float8"):
        load_model(tiny_folder(), dtype="float8")
