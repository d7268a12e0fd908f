"""The safety checker's own rule, and the shape of its file."""

import pytest
import torch
from PIL import Image

from diffusion.networks.configs import SafetyConfig
from diffusion.safety import SafetyChecker, Scores, pixel_values

CONFIG = SafetyConfig(
    width=16,
    layers=1,
    heads=2,
    feed_forward=16,
    image_size=16,
    patch_size=8,
    projection_dim=8,
    concepts=2,
    special_concepts=2,
)


def checker() -> SafetyChecker:
    made = SafetyChecker(CONFIG).eval()
    made.get_parameter("special_care_embeds_weights").data.fill_(0.2)
    made.get_parameter("concept_embeds_weights").data.copy_(torch.tensor([0.3, 0.5]))
    return made


@pytest.mark.parametrize(
    ("special", "concepts", "found"),
    [
        ((0.0, 0.0), (0.29, 0.49), False),
        ((0.0, 0.0), (0.31, 0.0), True),
        ((0.0, 0.0), (0.3004, 0.5004), False),
        ((0.0, 0.0), (0.3006, 0.0), True),
        ((0.21, 0.0), (0.292, 0.0), True),
        ((0.0, 0.21), (0.0, 0.492), True),
        ((0.19, 0.0), (0.295, 0.0), False),
        ((0.21, 0.21), (0.289, 0.489), False),
    ],
)
def test_special_concepts_make_the_others_stricter(
    special: tuple[float, ...], concepts: tuple[float, ...], found: bool
) -> None:
    scores = Scores(special=torch.tensor([special]), concepts=torch.tensor([concepts]))
    assert checker().verdicts(scores) == [found]


def test_one_picture_does_not_judge_the_next() -> None:
    scores = Scores(
        special=torch.tensor([[0.9, 0.9], [0.0, 0.0]]),
        concepts=torch.tensor([[0.31, 0.0], [0.295, 0.0]]),
    )
    assert checker().verdicts(scores) == [True, False]


def test_keys_are_those_of_the_file() -> None:
    keys = set(checker().state_dict())
    assert {
        "vision_model.vision_model.embeddings.class_embedding",
        "vision_model.vision_model.embeddings.position_embedding.weight",
        "vision_model.vision_model.pre_layrnorm.weight",
        "vision_model.vision_model.encoder.layers.0.self_attn.q_proj.weight",
        "vision_model.vision_model.post_layernorm.bias",
        "visual_projection.weight",
        "concept_embeds",
        "concept_embeds_weights",
        "special_care_embeds",
        "special_care_embeds_weights",
    } <= keys
    assert all(key.startswith(("vision_model.vision_model.", "visual_", "concept", "special"))
               for key in keys)  # fmt: skip


def test_pictures_of_any_size_and_mode() -> None:
    pictures = [Image.new("L", (9, 40)), Image.new("RGBA", (16, 16)), Image.new("RGB", (300, 17))]
    assert pixel_values(pictures, size=16).shape == (3, 3, 16, 16)
    assert len(checker().check(pictures)) == 3
    assert checker().check([]) == []
