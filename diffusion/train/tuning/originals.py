"""Networks of ours in the key names of the original single files (CompVis, Stability).

The names are facts of the format: `model.diffusion_model.` and `first_stage_model.` before our own
names, CLIP below `cond_stage_model.transformer.text_model.`, OpenCLIP (Stable Diffusion 2) below
`cond_stage_model.model.` with queries, keys and values joined. Promises: what is written is read
back by `load_model` as the same numbers, prediction and noise schedule. Writes no file itself.
"""

import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from diffusion.checkpoints.schedules import family_schedule
from diffusion.networks.configs import VAEConfig
from diffusion.schedules import NoiseSchedule
from diffusion.train.tuning.recipe import TuningError
from diffusion.train.tuning.subject import Subject

_OPEN_CLIP: Final = (
    ("embeddings.token_embedding.weight", "token_embedding.weight"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("encoder.layers.", "transformer.resblocks."),
    ("self_attn.out_proj", "attn.out_proj"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("final_layer_norm", "ln_final"),
)
_COND: Final = "cond_stage_model."


def single_file(
    subject: Subject, networks: Mapping[str, Mapping[str, Tensor]]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a single file; TuningError for a family of which there
    are none. `networks`: weights of "unet", "vae" and "text" by our names.
    """
    family = subject.model.family
    tensors = {f"model.diffusion_model.{n}": t for n, t in networks["unet"].items()}
    tensors |= {f"first_stage_model.{n}": t for n, t in networks["vae"].items()}
    if family == "sd1":
        tensors |= clip_names(networks["text"])
    elif family == "sd2":
        tensors |= open_clip_names(networks["text"], layers=subject.encoder.config.layers)
    else:
        raise TuningError(f"models of the family {family!r} cannot be written as one file here.")
    if subject.vae.config.scaling_factor != VAEConfig().scaling_factor:
        tensors["scale_factor"] = torch.tensor(subject.vae.config.scaling_factor)
    schedule = subject.model.noise_schedule
    tensors |= _markers(schedule, family)
    predicts = "v" if schedule.prediction_type == "v_prediction" else schedule.prediction_type
    return tensors, {"format": "pt", "modelspec.prediction_type": predicts}


def clip_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return CLIP's weights as Stable Diffusion 1 names them."""
    prefix = f"{_COND}transformer.text_model."
    return {prefix + name.removeprefix("text_model."): t for name, t in state.items()}


def open_clip_names(state: Mapping[str, Tensor], *, layers: int) -> dict[str, Tensor]:
    """Return a text transformer of `layers` layers as Stable Diffusion 2 names OpenCLIP's.

    Such files hold one layer more than is used, and readers count on it: the last is written twice.
    """
    bare = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    found: dict[str, Tensor] = {}
    for name, tensor in bare.items():
        match = re.fullmatch(r"(.*)self_attn\.([qkv])_proj\.(weight|bias)", name)
        if match is None:
            found[name] = tensor
        elif match[2] == "q":
            three = [bare[f"{match[1]}self_attn.{each}_proj.{match[3]}"] for each in "qkv"]
            found[f"{match[1]}attn.in_proj_{match[3]}"] = torch.cat(three)
    for ours, theirs in _OPEN_CLIP:
        found = {name.replace(ours, theirs): tensor for name, tensor in found.items()}
    last, unused = f"resblocks.{layers - 1}.", f"resblocks.{layers}."
    found |= {n.replace(last, unused): t.clone() for n, t in found.items() if last in n}
    return {f"{_COND}model.{name}": tensor for name, tensor in found.items()}


def _markers(schedule: NoiseSchedule, family: str) -> dict[str, Tensor]:
    """Return the tensors by which readers know a noise schedule that is not the family's own."""
    markers: dict[str, Tensor] = {}
    if schedule.prediction_type == "v_prediction":
        markers["v_pred"] = torch.zeros(0)
    own = NoiseSchedule.from_diffusers(
        {**family_schedule(family), "rescale_betas_zero_snr": schedule.rescale_betas_zero_snr}
    )
    if schedule.rescale_betas_zero_snr:
        markers["ztsnr"] = torch.zeros(0)
    elif schedule.alphas_cumprod != own.alphas_cumprod:
        kept = torch.tensor([1.0, *schedule.alphas_cumprod], dtype=torch.float64)
        markers["betas"] = (1 - kept[1:] / kept[:-1]).float()
    return markers
