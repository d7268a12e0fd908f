"""What else hub folders hold: ControlNets, tiny autoencoders, safety checkers, older spellings."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny, ControlNetModel, DDPMScheduler
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig

from diffusion.checkpoints import open_checkpoint
from diffusion.checkpoints.load import load_part
from diffusion.errors import CheckpointError
from diffusion.networks.configs import ControlNetConfig, SafetyConfig, TextConfig, TinyVAEConfig
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.tiny import TinyDecoder, TinyEncoder
from tests.parity.layouts import unet_single
from tests.parity.test_checkpoints import equal, loaded, weights
from tests.parity.tinies import tiny
from tests.parity.twins import fill

OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def controlnet() -> Any:  # noqa: ANN401 - a foreign class without annotations
    network = ControlNetModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=64,
        conditioning_embedding_out_channels=(8, 16, 24),
    )
    fill(network, 5)
    return network


def control_single(network: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """Write the original names by the published table."""
    state = dict(network.state_dict())
    own = {k: v for k, v in state.items() if not k.startswith("controlnet_")}

    class Encoder:
        config = network.config

        def state_dict(self) -> dict[str, Tensor]:
            return own

    out = unet_single(Encoder(), "control_model.")  # type: ignore[arg-type]
    hint = ["conv_in", *(f"blocks.{i}" for i in range(4)), "conv_out"]
    for key, value in state.items():
        if key.startswith("controlnet_down_blocks."):
            index, name = key.split(".")[1:]
            out[f"control_model.zero_convs.{index}.0.{name}"] = value
        elif key.startswith("controlnet_mid_block."):
            out[f"control_model.middle_block_out.0.{key.split('.')[-1]}"] = value
        elif key.startswith("controlnet_cond_embedding."):
            place, _, name = key.removeprefix("controlnet_cond_embedding.").rpartition(".")
            out[f"control_model.input_hint_block.{2 * hint.index(place)}.{name}"] = value
    return out


def test_controlnets_of_both_layouts(tmp_path: Path) -> None:
    network = controlnet()
    network.save_pretrained(tmp_path / "x")
    save_file(control_single(network), tmp_path / "x.safetensors")
    folder, single = open_checkpoint(tmp_path / "x"), open_checkpoint(tmp_path / "x.safetensors")
    assert folder.kind == single.kind == "controlnet"
    states = []
    for checkpoint in (folder, single):
        config = checkpoint.parts["controlnet"].config
        assert isinstance(config, ControlNetConfig)
        assert config.hint_widths == (8, 16, 24)
        with torch.device("meta"):
            ours = ControlNet(config)
        load_part(checkpoint.parts["controlnet"], ours, "cpu", torch.float32)
        states.append(ours.state_dict())
    assert folder.parts["controlnet"].config == single.parts["controlnet"].config
    equal(states[0], states[1])
    with pytest.raises(CheckpointError, match="folder of ControlNets"):
        folder.require("model")


def test_a_folder_with_a_tiny_autoencoder(tmp_path: Path) -> None:
    network = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 2),
        num_decoder_blocks=(2, 1),
    )
    fill(network, 6)
    network.save_pretrained(tmp_path / "x")
    checkpoint = open_checkpoint(tmp_path / "x")
    assert checkpoint.kind == "taesd"
    config = TinyVAEConfig(width=8, blocks=(2, 1))
    with torch.device("meta"):
        decoder, encoder = TinyDecoder(config), TinyEncoder(config)
    for name, ours in (("taesd", decoder), ("taesd_encoder", encoder)):
        assert checkpoint.parts[name].config == config
        load_part(checkpoint.parts[name], ours, "cpu", torch.float32)
    with torch.inference_mode():
        latents = torch.randn(1, 4, 4, 6)
        wanted: Any = network.decode(latents).sample
        assert torch.allclose(decoder(latents), wanted, atol=1e-5)
        images = torch.rand(1, 3, 8, 12) * 2 - 1
        assert torch.allclose(encoder(images), network.encode(images).latents, atol=1e-5)


def test_a_safety_checker(tmp_path: Path) -> None:
    config = CLIPConfig(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "image_size": 28,
            "patch_size": 14,
            "hidden_act": "quick_gelu",
        },
        projection_dim=24,
    )
    checker = StableDiffusionSafetyChecker(config)
    model = tiny("sd1")
    path = model.write_folder(tmp_path / "x", torch.float32)
    checker.save_pretrained(path / "safety_checker")
    part = open_checkpoint(path).parts["safety"]
    assert part.config == SafetyConfig(
        width=32, layers=2, heads=2, feed_forward=48, image_size=28, projection_dim=24
    )
    with torch.device("meta"):
        empty = StableDiffusionSafetyChecker(config)
    load_part(part, empty, "cpu", torch.float32)
    wanted = {k: v for k, v in checker.state_dict().items() if "position_ids" not in k}
    found = {k: v for k, v in empty.state_dict().items() if "position_ids" not in k}
    equal(found, wanted)
    # An index that sets it to null means that there is none.
    index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    index["safety_checker"] = [None, None]
    (path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    assert "safety" not in open_checkpoint(path).parts


@pytest.mark.parametrize(
    ("name", "part"), [("sd1", "vae"), ("ldm-uncond", "unet"), ("ddpm", "unet")]
)
def test_older_spellings_of_attention(name: str, part: str, tmp_path: Path) -> None:
    path = tiny(name).write_folder(tmp_path / "x", torch.float32)
    before = weights(loaded(open_checkpoint(path)))
    file = path / part / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    for new, old in OLD.items():
        state = {
            key.replace(f".{new}.", f".{old}.") if "transformer_blocks" not in key else key: value
            for key, value in state.items()
        }
    assert any(".proj_attn." in key for key in state)
    save_file(state, file)
    equal(weights(loaded(open_checkpoint(path))), before)


def test_the_first_ddpm_repositories_keep_everything_in_one_folder(tmp_path: Path) -> None:
    model = tiny("ddpm")
    unet: Any = model.networks["unet"]
    unet.save_pretrained(tmp_path / "x")
    DDPMScheduler(beta_end=0.02, variance_type="fixed_large").save_pretrained(tmp_path / "x")
    index = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", "DDPMScheduler"],
    }
    (tmp_path / "x" / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    checkpoint = open_checkpoint(tmp_path / "x")
    assert (checkpoint.kind, checkpoint.family) == ("model", "ddpm")
    assert checkpoint.schedule["variance_type"] == "fixed_large"
    single = open_checkpoint(model.write_single(tmp_path / "x.safetensors", torch.float32))
    equal(weights(loaded(checkpoint)), weights(loaded(single)))


@pytest.mark.parametrize(("token", "wanted"), [("!", 0), ("<|endoftext|>", 98)])
def test_the_padding_token_of_a_folder(token: str, wanted: int, tmp_path: Path) -> None:
    path = tiny("sd1").write_folder(tmp_path / "x", torch.float32)
    (path / "tokenizer").mkdir()
    special = {"pad_token": {"content": token}}
    vocabulary = {"!": 0, "<|endoftext|>": 98}
    for name, table in (("special_tokens_map.json", special), ("vocab.json", vocabulary)):
        (path / "tokenizer" / name).write_text(json.dumps(table), encoding="utf-8")
    config = open_checkpoint(path).parts["text"].config
    assert isinstance(config, TextConfig)
    assert (config.pad_id, config.begin_id, config.end_id) == (wanted, 97, 98)
