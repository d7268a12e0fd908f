"""The parts of tiny pipelines with random weights, and their single files."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel, VQModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.parity.layouts import (
    State,
    clip_single,
    open_clip_single,
    unet_single,
    vae_single,
)
from tests.parity.words import PAD_BANG, PAD_END, bert_words, clip_words

COND, FIRST, SECOND = "cond_stage_model.", "conditioner.embedders.0.", "conditioner.embedders.1."
ATTENDS_ABOVE = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
ATTENDS_BELOW = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
CLASSES = 11


def conditional(
    context: int,
    heads: int | list[int],
    *,
    channels: tuple[int, int] = (32, 64),
    blocks: tuple[tuple[str, str], tuple[str, str]] = ATTENDS_ABOVE,
    inputs: int = 4,
    outputs: int = 4,
    linear: bool = False,
    depth: list[int] | None = None,
    added: int = 0,
    guidance: int | None = None,
) -> Any:  # noqa: ANN401 - a foreign class without annotations
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=inputs,
        out_channels=outputs,
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
        time_cond_proj_dim=guidance,
    )


def unconditional(*, pixels: bool) -> Any:  # noqa: ANN401 - a foreign class without annotations
    return UNet2DModel(
        in_channels=3,
        out_channels=3,
        sample_size=16,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None if pixels else 32,
        flip_sin_to_cos=not pixels,
        freq_shift=int(pixels),
        downsample_padding=0 if pixels else 1,
        norm_eps=1e-6 if pixels else 1e-5,
    )


def kl(scaling: float = 0.18215) -> Any:  # noqa: ANN401 - a foreign class without annotations
    """An autoencoder that makes sides eight times smaller, as all of the family."""
    return AutoencoderKL(
        block_out_channels=(32, 32, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        scaling_factor=scaling,
        sample_size=64,
    )


def vq() -> Any:  # noqa: ANN401 - a foreign class without annotations
    return VQModel(
        block_out_channels=(32, 32, 64),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"),
        layers_per_block=1,
        latent_channels=3,
        num_vq_embeddings=64,
        vq_embed_dim=3,
        scaling_factor=1.0,
    )


def clip(width: int, *, projection: int = 0, act: str = "quick_gelu", pad: int = PAD_END) -> Any:  # noqa: ANN401 - a foreign class without annotations
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        num_hidden_layers=4,
        num_attention_heads=width // 64,
        intermediate_size=96,
        hidden_act=act,
        projection_dim=projection or 512,
        bos_token_id=49406,
        # Shipped configurations say 2; then the end is found as the largest id.
        eos_token_id=2,
        pad_token_id=pad,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def bert() -> Any:  # noqa: ANN401 - a foreign class without annotations
    sizes = {"encoder_layers": 2, "encoder_ffn_dim": 192, "d_model": 48}
    return LDMBertModel(LDMBertConfig(vocab_size=30522, encoder_attention_heads=2, **sizes))


Parts = dict[str, Any]


def one_text(*, inputs: int = 4, guidance: int | None = None) -> Parts:
    unet = conditional(64, 8, inputs=inputs, guidance=guidance)
    parts: Parts = {"unet": unet, "vae": kl(), "text_encoder": clip(64)}
    return {**parts, "tokenizer": clip_words(PAD_END)}


def open_text() -> Parts:
    return {
        "unet": conditional(128, [1, 2], channels=(64, 128), linear=True),
        "vae": kl(),
        "text_encoder": clip(128, act="gelu", pad=PAD_BANG),
        "tokenizer": clip_words(PAD_BANG),
    }


def two_texts(*, inputs: int = 4) -> Parts:
    return {
        "unet": conditional(
            192,
            [1, 2],
            channels=(64, 128),
            blocks=ATTENDS_BELOW,
            inputs=inputs,
            linear=True,
            depth=[1, 2],
            added=96 + 6 * 256,
        ),
        "vae": kl(0.13025),
        "text_encoder": clip(64),
        "text_encoder_2": clip(128, projection=96, act="gelu", pad=PAD_BANG),
        "tokenizer": clip_words(PAD_END),
        "tokenizer_2": clip_words(PAD_BANG),
    }


def refiner() -> Parts:
    return {
        "unet": conditional(
            128,
            [1, 2],
            channels=(64, 128),
            blocks=ATTENDS_BELOW,
            linear=True,
            added=96 + 5 * 256,
        ),
        "vae": kl(0.13025),
        "text_encoder": None,
        "tokenizer": None,
        "text_encoder_2": clip(128, projection=96, act="gelu", pad=PAD_BANG),
        "tokenizer_2": clip_words(PAD_BANG),
    }


def latent(*, words: bool) -> Parts:
    if not words:
        return {"unet": unconditional(pixels=False), "vqvae": vq()}
    unet = conditional(48, 8)
    return {"unet": unet, "vqvae": kl(), "bert": bert(), "tokenizer": bert_words()}


def classes() -> Parts:
    return {"unet": conditional(512, [1, 2], inputs=3, outputs=3), "vqvae": vq()}


def class_table() -> Tensor:
    """The embeddings of the classes of a class-conditional model, C x 512."""
    return torch.randn(CLASSES, 512, generator=torch.Generator().manual_seed(9))


def text_of_sd1(parts: Parts) -> State:
    return clip_single(parts["text_encoder"], COND)


def text_of_sd2(parts: Parts) -> State:
    return open_clip_single(parts["text_encoder"], COND, extra=True)


def text_of_xl(parts: Parts) -> State:
    first = clip_single(parts["text_encoder"], FIRST)
    return first | open_clip_single(parts["text_encoder_2"], SECOND, extra=False)


def text_of_refiner(parts: Parts) -> State:
    return open_clip_single(parts["text_encoder_2"], FIRST, extra=False)


def single(text: Callable[[Parts], State], parts: Parts) -> State:
    vae = parts["vae"] if "vae" in parts else parts["vqvae"]
    return {**_unet(parts["unet"]), **vae_single(vae), **text(parts)}


def _unet(unet: Any) -> State:  # noqa: ANN401 - a foreign class without annotations
    """Distilled models came after the original names; the guidance's layer keeps its own."""
    embedded = unet.time_embedding.cond_proj
    if embedded is None:
        return unet_single(unet)
    unet.time_embedding.cond_proj = None
    state = unet_single(unet)
    unet.time_embedding.cond_proj = embedded
    return {**state, "model.diffusion_model.time_embed.cond_proj.weight": embedded.weight}
