"""The shipped model from data set to files: sizes, normalisation, previews, export.

Promises: the files use the key names of Stable Diffusion, so the
shipped model goes through the same loader as everybody's checkpoint.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer
from torch import Tensor

from diffusion.networks.configs import TextConfig
from diffusion.networks.convolution import Conv2d
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.text import TextEncoder, build_text_model
from diffusion.train.captions import BEGIN, END, train_tokenizer
from diffusion.train.captions import corpus as caption_corpus
from diffusion.train.compose.phrases import corpus as phrase_corpus
from diffusion.train.data import Row
from diffusion.train.packages import PACKAGES
from diffusion.train.presets import EmojiPreset
from diffusion.train.state import write_atomically
from diffusion.train.vae import composite

SCHEDULE: Final = {
    "beta_schedule": "cosine",
    "num_train_timesteps": 1000,
    "cosine_s": 0.008,
    "cosine_end": 0.008,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "steps_offset": 0,
}


def text_config(preset: EmojiPreset, tokenizer: Tokenizer) -> TextConfig:
    """Return the sizes of the text transformer that goes with a tokenizer."""
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    if begin is None or end is None:
        raise ValueError("the tokenizer has no begin or end token")
    return TextConfig(
        vocab_size=tokenizer.get_vocab_size(),
        width=preset.text_width,
        layers=preset.text_layers,
        heads=preset.text_width // 32,
        feed_forward=4 * preset.text_width,
        window=preset.window,
        activation="gelu",
        begin_id=begin,
        end_id=end,
        pad_id=end,
    )


def build_tokenizer(preset: EmojiPreset, rows: Sequence[Row]) -> Tokenizer:
    """Train the tokenizer on captions of `rows`; padding is the text encoder's business."""
    texts = caption_corpus(rows)
    if preset.compositions:
        texts += phrase_corpus(row.name for row in rows)
    tokenizer = train_tokenizer(texts, preset.vocabulary)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def build_networks(
    preset: EmojiPreset, tokenizer: Tokenizer, seed: int
) -> tuple[TextEncoder, UNet]:
    """Return an untrained text encoder and U-Net."""
    torch.manual_seed(seed)
    config = text_config(preset, tokenizer)
    unet = UNet(preset.unet)
    zero_last_layers(unet)
    return TextEncoder(tokenizer=tokenizer, model=build_text_model(config), config=config), unet


def zero_last_layers(unet: UNet) -> None:
    """Start every residual path at zero (Ho et al. 2020, their code; Dhariwal & Nichol 2021)."""
    for name, module in unet.named_modules():
        if name.endswith(("out_layers.3", "proj_out", "out.2")):
            for parameter in module.parameters():
                torch.nn.init.zeros_(parameter)


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, art: Tensor) -> None:
    """Fold the mean and deviation of every latent channel into the two 1 x 1 convolutions.

    Afterwards the latents of `art` (N x 4 x H x W in [0, 1], on white) have mean 0 and deviation 1
    in each channel and `scaling_factor` stays 1, so nobody else needs to know.
    """
    images = composite(art, torch.ones(len(art), 3))
    latents = torch.cat([vae.encode(part) for part in torch.split(images, 64)])
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    z = vae.config.z_channels
    before, after = vae.quant_conv, vae.post_quant_conv
    if not isinstance(before, Conv2d) or not isinstance(after, Conv2d):
        raise TypeError("this autoencoder has no 1 x 1 convolutions at its latents")
    if before.bias is None or after.bias is None:
        raise TypeError("the 1 x 1 convolutions of the autoencoder have no bias")
    weight, bias = before.weight, before.bias
    weight[:z] /= deviation[:, None, None, None]
    bias[:z] = (bias[:z] - mean) / deviation
    bias[z:] -= 2 * deviation.log()
    after.bias += (after.weight[:, :, 0, 0] * mean).sum(dim=1)
    after.weight *= deviation[None, :, None, None]


@torch.no_grad()
def preview_projection(vae: AutoencoderKL, art: Tensor, *, reach: int = 1) -> tuple[Tensor, Tensor]:
    """Fit, by least squares, the linear map from a latent position's neighbourhood to its pixels.

    Returns a 3p^2 x z x k x k weight with k = 2 reach + 1 and a 3p^2 bias, p pixels a side: the
    cheapest decoder there is, good enough to watch.
    """
    images = composite(art, torch.ones(len(art), 3))
    latents = torch.cat([vae.encode(part) for part in torch.split(images, 64)])
    kernel, positions = 2 * reach + 1, latents.shape[-1] * latents.shape[-2]
    padded = torch.nn.functional.pad(latents, (reach,) * 4, mode="replicate")
    x = torch.nn.functional.unfold(padded, kernel).movedim(1, -1).flatten(0, 1)
    patches = torch.nn.functional.pixel_unshuffle(images, vae.config.downscale)
    y = patches.flatten(2).movedim(1, -1).flatten(0, 1)
    if len(x) != len(art) * positions:
        raise ValueError(f"{len(x)} neighbourhoods for {len(art) * positions} positions")
    ones = torch.ones(len(x), 1)
    solution = torch.linalg.lstsq(torch.cat([x, ones], dim=1).double(), y.double()).solution
    weight = solution[:-1].T.reshape(-1, latents.shape[1], kernel, kernel)
    return weight.float().contiguous(), solution[-1].float()


def credit_lines(styles: Iterable[str]) -> list[str]:
    """Name the authors and licences of the drawings of some styles, a line each."""
    wanted = set(styles)
    return [
        f"{package.style}: {package.author}, {package.licence}, {package.source}"
        for package in PACKAGES
        if package.style in wanted
    ]


def export(
    folder: Path,
    preset: EmojiPreset,
    *,
    vae: AutoencoderKL,
    text: TextEncoder,
    weights: Mapping[str, Tensor],
    preview: tuple[Tensor, Tensor],
    training: Mapping[str, object],
) -> None:
    """Write model.safetensors (half precision), tokenizer.json and config.json.

    `weights` are the averaged parameters named "text.…" and "unet.…"; `training` says how they were
    made.
    """
    tensors = {f"first_stage_model.{n}": t for n, t in vae.state_dict().items()}
    for name, tensor in weights.items():
        part, rest = name.split(".", 1)
        if part == "unet":
            tensors[f"model.diffusion_model.{rest}"] = tensor
        else:
            bare = rest.removeprefix("text_model.")
            tensors[f"cond_stage_model.transformer.text_model.{bare}"] = tensor
    tensors["preview.weight"], tensors["preview.bias"] = preview
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    credits = credit_lines((*preset.styles, *preset.vae_styles))
    metadata = {
        "format": "pt",
        "license": "MIT; trained on drawings under the licences in credits, see THIRD_PARTY_ART.md",
        "credits": "\n".join(credits),
    }
    write_atomically(path, {n: t.half() for n, t in tensors.items()}, metadata)
    text.tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "format": 1,
        "name": "emoji",
        "family": "emoji",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "native_width": preset.pixels,
        "native_height": preset.pixels,
        "size_multiple": preset.vae.config.downscale,
        "display_scale": preset.display_scale,
        "defaults": {
            "steps": 20,
            "guidance_scale": 3.0,
            "sampler": "dpmpp_2m",
            "schedule": "karras",
        },
        "credits": credits,
        "noise_schedule": SCHEDULE,
        "unet": asdict(preset.unet),
        "vae": asdict(preset.vae.config),
        "text": asdict(text.config),
        "training": dict(training),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
