"""What is laid beside the tiny Stable Diffusion 1: ControlNets, LoRAs, embeddings, in files as the
field has them.
"""

import math
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.parity.layouts import unet_single
from tests.parity.twins import fill

# The first lies there as a folder, the second as a file in the original names.
CONTROLS = ("edges", "depth")
CONTROL_XL = "edges-xl"
LORAS = ("ink", "clay")
WORD = "zorblax"
RANK = 3
LORA_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in")
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


@cache
def controlnet(name: str) -> Any:  # noqa: ANN401 - a foreign class
    """Return diffusers' ControlNet of a name."""
    network = ControlNetModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=64,
        conditioning_embedding_out_channels=(8, 16, 24, 32),
    )
    fill(network, 71 + CONTROLS.index(name))
    return network.eval().requires_grad_(False)


@cache
def controlnet_xl() -> Any:  # noqa: ANN401 - a foreign class
    """Return diffusers' ControlNet for the tiny Stable Diffusion XL."""
    network = ControlNetModel(
        block_out_channels=(64, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        attention_head_dim=[1, 2],
        cross_attention_dim=192,
        use_linear_projection=True,
        transformer_layers_per_block=[1, 2],
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=96 + 6 * 256,
        conditioning_embedding_out_channels=(8, 16, 24, 32),
    )
    fill(network, 75)
    return network.eval().requires_grad_(False)


def control_single(network: Any) -> dict[str, Tensor]:  # noqa: ANN401 - a foreign class
    """Return a ControlNet's weights in the original names."""
    state = dict(network.state_dict())

    class Encoder(nn.Module):
        config = network.config

        def state_dict(self, *_: object, **__: object) -> dict[str, Tensor]:  # type: ignore[override]
            return {k: v for k, v in state.items() if not k.startswith("controlnet_")}

    out = unet_single(Encoder(), "control_model.")
    inner = len(network.config.conditioning_embedding_out_channels) * 2 - 2
    hint = ["conv_in", *(f"blocks.{i}" for i in range(inner)), "conv_out"]
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


def kohya(unet: nn.Module, text: nn.Module, seed: int) -> dict[str, Tensor]:
    """Return a LoRA for a U-Net and a text encoder in kohya's names."""
    generator = torch.Generator().manual_seed(seed)
    layers = [("lora_unet_", name, m) for name, m in unet.named_modules() if _chosen(name)]
    layers += [
        ("lora_te_text_model_", name.removeprefix("text_model."), module)
        for name, module in text.named_modules()
        if name.endswith(TEXT_LAYERS)
    ]
    out: dict[str, Tensor] = {}
    for prefix, name, module in layers:
        weight: Any = module.weight
        down = torch.randn(RANK, *weight.shape[1:], generator=generator)
        up = torch.randn(len(weight), RANK, *(1,) * (weight.ndim - 2), generator=generator)
        key = prefix + name.replace(".", "_")
        out[f"{key}.lora_down.weight"] = down / weight[0].numel() ** 0.5
        out[f"{key}.lora_up.weight"] = up / RANK**0.5
        out[f"{key}.alpha"] = torch.tensor(2.0)
    return out


def _chosen(name: str) -> bool:
    return ".attentions." in name and name.endswith(LORA_LAYERS)


def lora(name: str, unet: nn.Module, text: nn.Module) -> dict[str, Tensor]:
    """Return the LoRA of a name."""
    return kohya(unet, text, 81 + LORAS.index(name))


def vectors(width: int) -> Tensor:
    """Return the textual inversion: three vectors, as large as the vocabulary's."""
    drawn = torch.randn(3, width, generator=torch.Generator().manual_seed(91))
    return drawn / math.sqrt(width)


def write_addons(folder: Path, unet: nn.Module, text: nn.Module) -> Path:
    """Write everything for a tiny Stable Diffusion 1 into the folders that we read."""
    for each in ("loras", "controls", "embeddings"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    controlnet(CONTROLS[0]).save_pretrained(folder / "controls" / CONTROLS[0])
    controlnet_xl().save_pretrained(folder / "controls" / CONTROL_XL)
    single = {k: v.contiguous() for k, v in control_single(controlnet(CONTROLS[1])).items()}
    save_file(single, folder / "controls" / f"{CONTROLS[1]}.safetensors")
    for name in LORAS:
        save_file(lora(name, unet, text), folder / "loras" / f"{name}.safetensors")
    save_file({f"<{WORD}>": vectors(64)}, folder / "embeddings" / f"{WORD}.safetensors")
    return folder
