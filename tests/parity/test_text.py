"""Text encoders against diffusers' own pipelines, with the same random weights: within 1e-5."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import CLIPTokenizer

from diffusion.networks.configs import TextConfig
from diffusion.text import ClipEncoder, ClipStack, TextEncoder, build_text_model, clip_tokenizer
from diffusion.text.clip import TextModel
from diffusion.text.inversions import Inversions
from tests.parity.twins import fill
from tests.test_diffusion_text_tokenizers import merges

LIMIT = 1e-5
SD1 = TextConfig(width=32, layers=4, heads=4, feed_forward=64)
SD2 = replace(SD1, activation="gelu", pad_id=0)
FIRST = replace(SD1, skip=1, final_norm=False)
SECOND = replace(SD2, width=48, projection_dim=40, skip=1, final_norm=False)
PROMPTS = ["a photo of a red fox, sitting in the snow", "", "🦊 it's 3 o'clock"]


def encoder_of(config: TextConfig, seed: int) -> TextModel:
    model = build_text_model(config)
    fill(model, seed)
    model.train(mode=False)
    return model


def peer_tokenizer(own: Tokenizer, config: TextConfig) -> CLIPTokenizer:
    pad = "!" if config.pad_id == 0 else "<|endoftext|>"
    return CLIPTokenizer(
        vocab=own.get_vocab(),
        merges=merges(),  # type: ignore[arg-type]
        pad_token=pad,
        model_max_length=config.window,
    )


def peer(models: Sequence[TextModel], configs: Sequence[TextConfig]) -> Any:  # noqa: ANN401
    """diffusers' pipeline with nothing but the text side."""
    own = clip_tokenizer()
    tokenizers = [peer_tokenizer(own, config) for config in configs]
    parts: dict[str, Any] = {
        "vae": None,
        "unet": None,
        "scheduler": DDIMScheduler(steps_offset=1, clip_sample=False),
    }
    if len(models) == 1:
        # diffusers' clip skip looks for the norm below `text_model`, where transformers had it
        # before 5.6; as an attribute outside the module tree it changes nothing else.
        object.__setattr__(models[0], "text_model", models[0])
        return StableDiffusionPipeline(
            **parts,
            text_encoder=models[0],
            tokenizer=tokenizers[0],
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    return StableDiffusionXLPipeline(
        **parts,
        text_encoder=models[0],
        text_encoder_2=models[1],
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
    )


def encoded_by(pipeline: Any, prompts: list[str], clip_skip: int) -> tuple[Tensor, ...]:  # noqa: ANN401
    with torch.inference_mode():
        found = pipeline.encode_prompt(
            prompt=prompts,
            device="cpu",
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
            clip_skip=clip_skip or None,
        )
    return tuple(each for each in found if each is not None)


def furthest(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("clip_skip", [0, 1, 2])
@pytest.mark.parametrize("config", [SD1, SD2], ids=["sd1", "sd2"])
def test_one_encoder_agrees(config: TextConfig, clip_skip: int) -> None:
    model = encoder_of(config, 1)
    ours = TextEncoder(tokenizer=clip_tokenizer(), model=model, config=config)
    (expected,) = encoded_by(peer([model], [config]), PROMPTS, clip_skip)
    assert furthest(ours.encode(PROMPTS, clip_skip).context, expected) <= LIMIT


@pytest.mark.parametrize("clip_skip", [0, 1])
def test_two_encoders_agree(clip_skip: int) -> None:
    configs = [FIRST, SECOND]
    models = [encoder_of(config, seed) for seed, config in enumerate(configs)]
    ours = ClipStack(
        [
            ClipEncoder(tokenizer=clip_tokenizer(), model=model, config=config, place=place)
            for place, (model, config) in enumerate(zip(models, configs, strict=True))
        ]
    ).encode(PROMPTS, clip_skip)
    context, pooled = encoded_by(peer(models, configs), PROMPTS, clip_skip)
    assert furthest(ours.context, context) <= LIMIT
    assert ours.pooled is not None
    assert furthest(ours.pooled, pooled) <= LIMIT


def test_a_textual_inversion_agrees(tmp_path: Path) -> None:
    vectors = torch.randn(3, SD1.width, generator=torch.Generator().manual_seed(5))
    path = tmp_path / "cat-toy.safetensors"
    save_file({"<cat-toy>": vectors}, path)
    prompts = ["a photo of <cat-toy>, red", "<cat-toy> on <cat-toy>", "no toy"]
    encoder = ClipEncoder(
        tokenizer=clip_tokenizer(),
        model=encoder_of(SD1, 2),
        config=SD1,
        inversions=Inversions({"cat-toy": path}, (SD1.width,)),
    )
    ours = ClipStack([encoder]).encode(prompts)
    pipeline = peer([encoder_of(SD1, 2)], [SD1])
    pipeline.load_textual_inversion({"<cat-toy>": vectors})
    (expected,) = encoded_by(pipeline, prompts, 0)
    assert furthest(ours.context, expected) <= LIMIT


def test_emphasis_multiplies_states_and_restores_the_mean() -> None:
    model = encoder_of(SD1, 3)
    ours = TextEncoder(tokenizer=clip_tokenizer(), model=model, config=SD1)
    plain = ours.encode(["a red fox"]).context
    weights = torch.ones(1, 77, 1)
    weights[0, 2] = 1.5
    expected = plain * weights
    expected = expected * (plain.mean() / expected.mean())
    assert furthest(ours.encode(["a (red:1.5) fox"]).context, expected) <= LIMIT
    assert torch.equal(ours.encode(["a (red:1.0) fox"]).context, plain)


def test_long_prompts_are_windows_encoded_alone() -> None:
    model = encoder_of(SD2, 4)
    ours = TextEncoder(tokenizer=clip_tokenizer(), model=model, config=SD2)
    found = ours.encode(["a red fox BREAK blue snow", "short"]).context
    alone = ours.encode(["a red fox", "blue snow", "short", ""]).context
    assert furthest(found[0], alone[:2].reshape(-1, SD2.width)) <= LIMIT
    assert furthest(found[1], alone[2:].reshape(-1, SD2.width)) <= LIMIT


def test_a_prompt_of_no_weight_stays_finite() -> None:
    model = encoder_of(SD1, 6)
    ours = TextEncoder(tokenizer=clip_tokenizer(), model=model, config=SD1)
    for prompt in ("(a red fox:0)", "(" * 3000 + "fox", "[" * 3000 + "fox", "\ud83d fox"):
        assert torch.isfinite(ours.encode([prompt]).context).all()
