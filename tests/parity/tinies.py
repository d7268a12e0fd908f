"""The tiny models that both layouts are written of, one of every family."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel, VQModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.parity.layouts import (
    State,
    Tiny,
    bert_single,
    clip_single,
    ddpm_single,
    open_clip_single,
    unet_single,
    vae_single,
)
from tests.parity.twins import fill

COND, FIRST, SECOND = "cond_stage_model.", "conditioner.embedders.0.", "conditioner.embedders.1."
CROSS = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
TURNED = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")


def conditional(
    context: int,
    heads: int | list[int] = 8,
    *,
    channels: tuple[int, int] = (32, 64),
    blocks: tuple[tuple[str, str], tuple[str, str]] = CROSS,
    inputs: int = 4,
    linear: bool = False,
    depth: list[int] | None = None,
    added: int = 0,
) -> Any:  # noqa: ANN401 - a foreign class without annotations
    return UNet2DConditionModel(
        in_channels=inputs,
        out_channels=3 if inputs == 3 else 4,
        block_out_channels=channels,
        down_block_types=blocks[0],
        up_block_types=blocks[1],
        attention_head_dim=heads,
        cross_attention_dim=context,
        use_linear_projection=linear,
        transformer_layers_per_block=depth or 1,
        addition_embed_type="text_time" if added else None,
        addition_time_embed_dim=256 if added else None,
        projection_class_embeddings_input_dim=added or None,
    )


def kl(scaling: float = 0.18215) -> Any:  # noqa: ANN401 - a foreign class without annotations
    return AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        scaling_factor=scaling,
    )


def vq() -> Any:  # noqa: ANN401 - a foreign class without annotations
    return VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        layers_per_block=1,
        latent_channels=3,
        num_vq_embeddings=16,
        vq_embed_dim=3,
        scaling_factor=1.0,
    )


def unconditional(*, pixels: bool) -> Any:  # noqa: ANN401 - a foreign class without annotations
    return UNet2DModel(
        in_channels=3,
        out_channels=3,
        sample_size=32,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None if pixels else 32,
        flip_sin_to_cos=not pixels,
        freq_shift=int(pixels),
        downsample_padding=0 if pixels else 1,
        norm_eps=1e-6 if pixels else 1e-5,
    )


def clip(width: int, layers: int, projection: int = 0, act: str = "quick_gelu") -> Any:  # noqa: ANN401 - a foreign class without annotations
    config = CLIPTextConfig(
        vocab_size=99,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=80,
        hidden_act=act,
        projection_dim=projection or 512,
        bos_token_id=97,
        eos_token_id=98,
        pad_token_id=98,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def bert() -> Any:  # noqa: ANN401 - a foreign class without annotations
    config = LDMBertConfig(
        vocab_size=99, encoder_layers=2, encoder_ffn_dim=192, encoder_attention_heads=2, d_model=48
    )
    return LDMBertModel(config)


def _sd1(networks: Mapping[str, nn.Module]) -> State:
    text = clip_single(networks["text_encoder"], COND)
    return {**unet_single(networks["unet"]), **vae_single(networks["vae"]), **text}


def _sd2(networks: Mapping[str, nn.Module]) -> State:
    text = open_clip_single(networks["text_encoder"], COND, extra=True)
    return {**unet_single(networks["unet"]), **vae_single(networks["vae"]), **text}


def _sdxl(networks: Mapping[str, nn.Module]) -> State:
    text = clip_single(networks["text_encoder"], FIRST)
    text |= open_clip_single(networks["text_encoder_2"], SECOND, extra=False)
    return {**unet_single(networks["unet"]), **vae_single(networks["vae"]), **text}


def _refiner(networks: Mapping[str, nn.Module]) -> State:
    text = open_clip_single(networks["text_encoder_2"], FIRST, extra=False)
    return {**unet_single(networks["unet"]), **vae_single(networks["vae"]), **text}


def _ldm(networks: Mapping[str, nn.Module]) -> State:
    text = bert_single(networks["bert"])
    return {**unet_single(networks["unet"]), **vae_single(networks["vqvae"]), **text}


def _uncond(networks: Mapping[str, nn.Module]) -> State:
    return {**unet_single(networks["unet"]), **vae_single(networks["vqvae"])}


def _classes(networks: Mapping[str, nn.Module]) -> State:
    table = torch.randn(11, 512, generator=torch.Generator().manual_seed(9))
    return {**_uncond(networks), f"{COND}embedding.weight": table}


def _ddpm(networks: Mapping[str, nn.Module]) -> State:
    return ddpm_single(networks["unet"])


Build = Callable[[], dict[str, nn.Module]]
Single = Callable[[Mapping[str, nn.Module]], State]
FAMILIES: dict[str, tuple[str, str, Build, Single]] = {
    "sd1": (
        "sd1",
        "StableDiffusionPipeline",
        lambda: {"unet": conditional(64), "vae": kl(), "text_encoder": clip(64, 2)},
        _sd1,
    ),
    "sd1-inpaint": (
        "sd1",
        "StableDiffusionInpaintPipeline",
        lambda: {"unet": conditional(64, inputs=9), "vae": kl(), "text_encoder": clip(64, 2)},
        _sd1,
    ),
    "sd2": (
        "sd2",
        "StableDiffusionPipeline",
        lambda: {
            "unet": conditional(128, [1, 2], channels=(64, 128), linear=True),
            "vae": kl(),
            "text_encoder": clip(128, 2, act="gelu"),
        },
        _sd2,
    ),
    "sdxl": (
        "sdxl",
        "StableDiffusionXLPipeline",
        lambda: {
            "unet": conditional(
                192,
                [1, 2],
                channels=(64, 128),
                blocks=TURNED,
                linear=True,
                depth=[1, 2],
                added=96 + 6 * 256,
            ),
            "vae": kl(0.13025),
            "text_encoder": clip(64, 2),
            "text_encoder_2": clip(128, 3, projection=96, act="gelu"),
        },
        _sdxl,
    ),
    "refiner": (
        "sdxl_refiner",
        "StableDiffusionXLImg2ImgPipeline",
        lambda: {
            "unet": conditional(
                128,
                [1, 2],
                channels=(64, 128),
                blocks=TURNED,
                linear=True,
                added=96 + 5 * 256,
            ),
            "vae": kl(0.13025),
            "text_encoder_2": clip(128, 3, projection=96, act="gelu"),
        },
        _refiner,
    ),
    "ldm": (
        "ldm",
        "LDMTextToImagePipeline",
        lambda: {"unet": conditional(48), "vqvae": kl(), "bert": bert()},
        _ldm,
    ),
    "ldm-uncond": (
        "ldm_uncond",
        "LDMPipeline",
        lambda: {"unet": unconditional(pixels=False), "vqvae": vq()},
        _uncond,
    ),
    "ldm-class": (
        "ldm_class",
        "LDMPipeline",
        lambda: {"unet": conditional(512, [1, 2], inputs=3), "vqvae": vq()},
        _classes,
    ),
    "ddpm": ("ddpm", "DDPMPipeline", lambda: {"unet": unconditional(pixels=True)}, _ddpm),
}


def tiny(name: str, seed: int = 11) -> Tiny:
    """Return a tiny model of a family with random weights."""
    family, pipeline, build, single = FAMILIES[name]
    networks = build()
    for index, network in enumerate(networks.values()):
        fill(network, seed + index)
        network.eval()
    return Tiny(name=name, family=family, pipeline=pipeline, networks=networks, single=single)
