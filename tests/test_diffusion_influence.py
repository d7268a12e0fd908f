"""Which words of a prompt count: spans, sums, and whether the picture agrees."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diffusion import AbilityError, Influence, Model, Params, describe_model, generate, load_model
from diffusion.influence import _moved, _without, influence_of, listen_params
from diffusion.networks.attention import Attention
from diffusion.text.thesaurus import Thesaurus
from diffusion.tiles import finish
from diffusion.words import without, words_of
from tests.benchmarks.influence import agreement
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


def test_of_very_many_words_neighbours_are_measured_together() -> None:
    found = influence("a red heart and " * 40)
    shares = [each.share for each in found]
    assert all(shares[at] == shares[at + 1] == shares[at + 2] > 0 for at in range(0, 159, 3))
    assert len(set(shares)) == 54
    assert sum(shares) == pytest.approx(1)


def test_words_that_are_read_as_one_share_alike() -> None:
    model = load_model(tiny_model().info.path)
    assert model.text is not None
    thesaurus = Thesaurus(known=frozenset({"fish"}), synonyms={"great white shark": "fish"})
    model.text.encoders[0].thesaurus = thesaurus
    great, white, shark, red = influence("great white shark red", model)
    assert great.share == white.share == shark.share
    assert red.share not in (0, shark.share)
    a, *one, fox = influence("a great white shark fox", model)
    assert len({each.share for each in one}) == 1
    assert len({each.share for each in (a, fox, one[0])}) == 3


def test_what_is_taken_out_leaves_the_weights_of_others() -> None:
    prompt = r"a (big (red:1.2) heart:1.3) \(ink\) fish, [old]"
    spans = words_of(prompt)
    kept = [_without(prompt, [span]) for span in spans]
    assert kept == [
        r"(big (red:1.2) heart:1.3) \(ink\) fish, [old]",
        r"a ( (red:1.2) heart:1.3) \(ink\) fish, [old]",
        r"a (big (:1.2) heart:1.3) \(ink\) fish, [old]",
        r"a (big (red:1.2) :1.3) \(ink\) fish, [old]",
        r"a (big (red:1.2) heart:1.3) fish, [old]",
        r"a (big (red:1.2) heart:1.3) \(ink\) [old]",
        r"a (big (red:1.2) heart:1.3) \(ink\) fish, []",
    ]
    assert _without(prompt, spans[3:]) == "a (big (red:1.2) :1.3) []"


@torch.inference_mode()
def test_it_is_how_far_the_outputs_of_the_attention_move() -> None:
    layer = Attention(dim=12, context_dim=6, heads=3)
    x, contexts = torch.randn(1, 5, 12), torch.randn(3, 4, 6)
    contexts[2] = contexts[0]  # nothing moves
    whole, other = (layer(x, *layer.keys_values(each[None]))[0] for each in contexts[:2])
    far = sum((other - whole).norm(dim=1)) / sum(whole.norm(dim=1))
    assert torch.allclose(_moved(layer, x, contexts), torch.tensor([float(far), 0.0]), atol=1e-6)


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


@pytest.mark.slow
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
    assert np.mean(idle) < 0.5 * np.mean(strong)


def test_words_rank_as_the_picture_changes_without_them() -> None:
    model = load_model("emoji")
    found = []
    for prompt in PROMPTS[:5]:
        words = influence(prompt, model)
        whole, *lacking = paint(model, [prompt, *(without(prompt, [word]) for word in words)])
        changed = np.array([np.abs(each - whole).mean() for each in lacking])
        found.append(agreement(np.array([word.share for word in words]), changed))
    assert np.mean(found) > 0.6


def test_colours_of_a_background_and_things_count_and_fillers_do_not() -> None:
    prompt = "a lovely big red heart on a very bright green background"
    words = {each.word: each.share * 11 for each in influence(prompt, load_model("emoji"))}
    assert min(words["heart"], words["green"]) > 1
    assert words["red"] > 1.2 * max(words["very"], words["bright"], words["on"])
    assert max(words["very"], words["bright"], words["on"]) < 0.5
