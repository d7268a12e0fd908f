"""Which words of a prompt count: spans, sums, and whether the picture agrees."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diffusion import AbilityError, Influence, Model, Params, describe_model, generate, load_model
from diffusion.influence import influence_of, listen_params
from diffusion.networks.attention import Attention
from diffusion.text.thesaurus import Thesaurus
from diffusion.tiles import finish
from diffusion.words import without, words_of
from tests.parity.pipelines import model as parity_model
from tests.tiny import tiny_model

PROMPTS = (
    "a red heart on a blue background",
    "the smiling cat face with tears of joy",
    "a small green tree in a garden",
    "a yellow car and a house",
    "a big blue fish under water",
    "black and white soccer ball, 3d style",
    "a slice of pizza with cheese",
    "an orange pumpkin with a scary face",
    "a purple umbrella in the rain",
    "very nice beautiful red rose flower",
)


@torch.inference_mode()
def influence(prompt: str, model: Model | None = None) -> tuple[Influence, ...]:
    model = model or tiny_model()
    return finish(influence_of(model, listen_params(model, prompt)))


def test_every_word_has_its_place_and_its_share() -> None:
    prompt = "  a (red:1.3)\theart, 3d <lora:ink:1> \n::2 fish"
    found = influence(prompt)
    words = ["a", "(red:1.3)", "heart,", "3d", "<lora:ink:1>", "::2", "fish"]
    assert [each.word for each in found] == words
    assert [prompt[each.start : each.end] for each in found] == words
    assert sum(each.share for each in found) == pytest.approx(1)
    silent = {each.word for each in found if each.share == 0}
    assert silent == {"<lora:ink:1>", "::2"}


def test_the_same_prompt_has_the_same_numbers_and_the_network_stays_as_it_was() -> None:
    model = tiny_model()
    params = Params(prompt="a red heart", steps=2, width=32, height=32, images=1)
    before = list(generate(model, params))[-1].pictures
    assert influence("a red heart") == influence("a red heart")
    assert list(generate(model, params))[-1].pictures == before


def test_a_prompt_without_words_has_none() -> None:
    assert influence("") == ()
    assert influence("<lora:ink:1>") == (Influence("<lora:ink:1>", 0, 12, 0.0),)


def test_words_beyond_the_first_window_count_too() -> None:
    found = influence("a red heart and " * 12 + "fish")
    assert len(found) == 49
    assert all(each.share > 0 for each in found)


def test_words_that_are_read_as_one_share_alike() -> None:
    model = load_model(tiny_model().info.path)
    assert model.text is not None
    thesaurus = Thesaurus(known=frozenset({"fish"}), synonyms={"great white shark": "fish"})
    model.text.encoders[0].thesaurus = thesaurus
    great, white, shark, red = influence("great white shark red", model)
    assert great.share == white.share == shark.share
    assert red.share > 0


def test_attention_is_that_of_the_layer() -> None:
    layer = Attention(dim=12, context_dim=6, heads=3)
    x, context = torch.randn(2, 5, 12), torch.randn(2, 4, 6)
    keys, values = layer.keys_values(context)
    weights = layer.weights(x, keys)
    assert weights.shape == (2, 3, 5, 4)
    mixed = (weights @ values).transpose(1, 2).flatten(-2)
    assert torch.allclose(layer.to_out(mixed), layer(x, keys, values), atol=1e-6)


def test_a_model_without_words_says_so() -> None:
    with pytest.raises(AbilityError, match="paints without words"):
        listen_params(replace(tiny_model(), text=None), "a")


@pytest.mark.parametrize("family", ["sd1-inpaint", "sdxl", "ldm"])
def test_other_families_are_listened_to(family: str) -> None:
    found = influence("a red heart, very big", parity_model(family, "folder"))
    assert sum(each.share for each in found) == pytest.approx(1)
    assert all(each.share > 0 for each in found)


def test_words_are_taken_out() -> None:
    prompt = " a  red heart on\na red field "
    words = [Influence(prompt[a:b], a, b, 0.1) for a, b in words_of(prompt)]
    assert without(prompt, [words[1], words[3]]) == "a heart a red field"
    assert without(prompt, words) == ""


def paint(model: Model, prompts: Sequence[str]) -> NDArray[np.float64]:
    """Paint one small picture of each prompt from one seed."""
    found = []
    for prompt in prompts:
        info = model.info
        params = Params(
            prompt=prompt,
            seed=5,
            steps=6,
            images=1,
            width=info.native_width,
            height=info.native_height,
            guidance_scale=info.defaults.guidance_scale,
            schedule=info.defaults.schedule,
        )
        pictures = list(generate(model, params))[-1].pictures
        assert pictures is not None
        found.append(np.asarray(pictures[0], dtype=np.float64))
    return np.stack(found)


def test_without_idle_words_the_picture_changes_less_than_without_strong_ones() -> None:
    assert describe_model("emoji").native_width == 64
    model = load_model("emoji")
    idle, strong = [], []
    for prompt in PROMPTS:
        order = sorted(influence(prompt, model), key=lambda each: each.share)
        count = max(1, len(order) // 3)
        asked = (prompt, without(prompt, order[:count]), without(prompt, order[-count:]))
        whole, less, least = paint(model, asked)
        idle.append(np.abs(less - whole).mean())
        strong.append(np.abs(least - whole).mean())
    assert np.mean(idle) < 0.75 * np.mean(strong)
