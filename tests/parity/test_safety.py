"""The safety checker against diffusers: same pixels, same scores, same verdict."""

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from diffusion.networks.configs import SafetyConfig
from diffusion.safety import SafetyChecker, pixel_values
from tests.parity.twins import fill

CONFIG = SafetyConfig(
    width=32, layers=2, heads=4, feed_forward=64, image_size=32, patch_size=8, projection_dim=24
)


def pictures(count: int = 6) -> list[Image.Image]:
    rng = np.random.default_rng(3)
    sizes = [(40, 56), (64, 64), (33, 90), (512, 300), (32, 32), (75, 31)]
    return [
        Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
        for w, h in (sizes[i % len(sizes)] for i in range(count))
    ]


def pair() -> tuple[SafetyChecker, StableDiffusionSafetyChecker]:
    ours = SafetyChecker(CONFIG).eval()
    fill(ours, seed=1)
    vision = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "image_size": 32, "patch_size": 8, "projection_dim": 24,
        "hidden_act": "quick_gelu",
    }  # fmt: skip
    peer = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=24)).eval()
    theirs = peer.state_dict()
    nested = any(key.startswith("vision_model.vision_model.") for key in theirs)
    named = {
        key if nested else key.replace("vision_model.vision_model.", "vision_model."): tensor
        for key, tensor in ours.state_dict().items()
    }
    peer.load_state_dict(named, strict=True)
    return ours, peer


def thresholds(ours: SafetyChecker, peer: torch.nn.Module, margin: float) -> None:
    """Put the thresholds near the cosines that occur, so that both verdicts happen."""
    with torch.inference_mode():
        scores = ours(pixel_values(pictures(), size=32))
    for module in (ours, peer):
        module.get_parameter("special_care_embeds_weights").data.copy_(scores.special[0] + margin)
        module.get_parameter("concept_embeds_weights").data.copy_(
            scores.concepts.quantile(0.97, dim=0) + margin
        )


def test_pixels_are_those_of_the_reference() -> None:
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    theirs = processor(pictures(), return_tensors="pt").pixel_values
    assert (pixel_values(pictures(), size=32) - theirs).abs().max() < 2e-6


@torch.inference_mode()
def test_scores_are_those_of_the_reference() -> None:
    ours, peer = pair()
    pixels = pixel_values(pictures(), size=32)
    scores = ours(pixels)
    embedding = peer.visual_projection(peer.vision_model(pixels)[1])
    for mine, vectors in (
        (scores.special, peer.special_care_embeds),
        (scores.concepts, peer.concept_embeds),
    ):
        theirs = torch.cosine_similarity(embedding[:, None], vectors[None], dim=-1)
        assert (mine - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("margin", [-0.011, -0.002, 0.0, 0.0004, 0.0006, 0.004, 0.012, 2.0])
@torch.inference_mode()
def test_verdicts_are_those_of_the_reference(margin: float) -> None:
    ours, peer = pair()
    thresholds(ours, peer, margin)
    many = pictures()
    blank = [np.zeros((8, 8, 3)) for _ in many]
    _, theirs = peer(pixel_values(many, size=32), blank)
    assert ours.check(many) == theirs
