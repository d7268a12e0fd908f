"""A trained network as a hub folder, which any loader of `DDPMPipeline` folders reads.

Promises: the names and shapes of diffusers' `UNet2DModel` (0.42), so that the folder goes through
the same loader as everybody's checkpoint. Never writes half a file.
"""

import json
from pathlib import Path
from typing import Final, Literal

from diffusion.checkpoints.inventory_vae import ddpm_inventory
from diffusion.networks.ddpm import DDPMUNet
from diffusion.train.ddpm.training import SCHEDULE
from diffusion.train.state import write_atomically

# Which of the two variances of section 3.2 Algorithm 2 draws with: beta-tilde or beta. With fewer
# than all steps the larger one leaves noise behind (Song et al. 2021, table 1), so it is not ours.
Variance = Literal["fixed_small", "fixed_large"]
_VERSION: Final = "0.42.0"


def write_folder(folder: Path, network: DDPMUNet, *, variance: Variance = "fixed_small") -> None:
    """Write model_index.json, scheduler/ and unet/ into a folder.

    ValueError for a network that such a folder cannot describe.
    """
    if network.config.channel_mult[0] != 1:
        raise ValueError(f"the levels are {network.config.channel_mult} wide; the first must be 1.")
    index = {
        "_class_name": "DDPMPipeline",
        "_diffusers_version": _VERSION,
        "scheduler": ["diffusers", "DDPMScheduler"],
        "unet": ["diffusers", "UNet2DModel"],
    }
    _write(folder / "scheduler" / "scheduler_config.json", {**SCHEDULE, "variance_type": variance})
    _write(folder / "unet" / "config.json", _config(network))
    own = network.state_dict()
    tensors = {}
    for name, entry in ddpm_inventory(network.config).entries.items():
        # Attention's 1 x 1 convolutions are linear layers there.
        flat = entry.hub[0].endswith(".weight") and ".attentions." in entry.hub[0]
        tensors[entry.hub[0]] = own[name].flatten(1) if flat and own[name].dim() == 4 else own[name]
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    write_atomically(path, tensors, {"format": "pt"})
    # Last: a folder with an index is whole.
    _write(folder / "model_index.json", index)


def _config(network: DDPMUNet) -> dict[str, object]:
    config = network.config
    widths = [config.model_channels * mult for mult in config.channel_mult]
    return {
        "_class_name": "UNet2DModel",
        "_diffusers_version": _VERSION,
        "sample_size": config.resolution,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "block_out_channels": widths,
        "layers_per_block": config.num_res_blocks,
        "down_block_types": [
            "AttnDownBlock2D" if attends else "DownBlock2D" for attends in config.attention
        ],
        "up_block_types": [
            "AttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(config.attention)
        ],
        "attention_head_dim": None,
        "norm_num_groups": config.norm_groups,
        "norm_eps": config.norm_eps,
        "act_fn": "silu",
        "center_input_sample": False,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "mid_block_scale_factor": 1,
        "time_embedding_type": "positional",
    }


def _write(path: Path, told: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
