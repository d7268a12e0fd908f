"""What makes the pictures of one job differ, or not: chaos, one seed for all, and morphs."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diffusion import Model, Params, ParamsError, describe_model, generate, load_model
from diffusion.conditions import Guide
from diffusion.spread import GUIDANCE_SWING, guides_for
from diffusion.text import Conditioning
from tests.tiny import tiny_model

PARAMS = Params(
    prompt="a red heart",
    negative_prompt="blurred",
    seed=7,
    steps=5,
    width=32,
    height=32,
    images=4,
    guidance_scale=3.0,
)


def guides(params: Params, model: Model | None = None) -> tuple[Guide, ...]:
    model = model or tiny_model()

    def encode(prompts: Sequence[str]) -> Conditioning:
        return model.encode_prompts(prompts)

    return guides_for(model, params, encode, width=params.width, height=params.height)


def context(guide: Guide, step: int, row: int = 0) -> torch.Tensor:
    found = guide.at(step)[row].context
    assert found is not None
    return found


def pixels(params: Params, model: Model | None = None) -> NDArray[np.float64]:
    """Paint a job: n x H x W x 3."""
    pictures = list(generate(model or tiny_model(), params))[-1].pictures
    assert pictures is not None
    return np.stack([np.asarray(picture, dtype=np.float64) for picture in pictures])


def spread(pictures: NDArray[np.float64]) -> float:
    """Return the mean distance of two pictures, in grey levels."""
    return float(np.mean([np.abs(a - b).mean() for a, b in combinations(pictures, 2)]))


def test_without_chaos_and_morph_all_pictures_have_one_guide() -> None:
    for params in (PARAMS, replace(PARAMS, same_seed=True)):
        first, *others = guides(params)
        assert all(other is first for other in others)


def test_chaos_changes_every_picture_but_the_first() -> None:
    plain, shaken = pixels(PARAMS), pixels(replace(PARAMS, chaos=60))
    assert np.array_equal(plain[0], shaken[0])
    assert all(not np.array_equal(a, b) for a, b in zip(plain[1:], shaken[1:], strict=True))
    assert np.array_equal(shaken, pixels(replace(PARAMS, chaos=60)))


def test_chaos_turns_words_at_first_keeps_their_length_and_comes_back() -> None:
    params = replace(PARAMS, steps=10, chaos=100)
    first, second, third, _ = guides(params)
    for step in range(10):
        own, other = context(first, step), context(second, step)
        assert torch.allclose(own.norm(dim=-1), other.norm(dim=-1), rtol=1e-4)
        cosine = torch.nn.functional.cosine_similarity(own, other, dim=-1)
        wanted = [1.4] * 3 + [0.98] * 3 + [0.56] * 2 + [0.0] * 2
        assert torch.allclose(cosine, torch.tensor(wanted[step]).cos(), atol=1e-4)
        assert not torch.equal(other, context(third, step)) or step > 7
        assert context(second, step, 1) is context(first, step, 1), "the negative stays"
    assert 1 < second.scale < 1 + 2 * (1 + GUIDANCE_SWING)
    assert second.scale not in (first.scale, third.scale)


def test_words_that_change_on_the_way_change_at_their_step_under_chaos() -> None:
    params = replace(PARAMS, prompt="a [red:blue:0.5] heart", steps=10, chaos=100)
    first, second, *_ = guides(params)
    strand = second.positives[0]
    assert [until for until, _ in strand.stages] == [3, 5, 6, 8, 10]
    assert torch.equal(context(second, 9), context(first, 9))
    assert not torch.equal(context(second, 4), context(second, 5))


def test_a_picture_is_shaken_alike_in_a_grid_of_any_size() -> None:
    params = replace(PARAMS, chaos=50)
    few, many = guides(replace(params, images=2)), guides(replace(params, images=9))
    assert few[1].scale == many[1].scale
    assert torch.equal(context(few[1], 0), context(many[1], 0))


def test_chaos_never_turns_guidance_on_or_off() -> None:
    params = replace(PARAMS, chaos=100, images=8)
    assert {guide.scale for guide in guides(replace(params, guidance_scale=1.0))} == {1.0}
    assert all(guide.scale > 1 for guide in guides(replace(params, guidance_scale=1.1)))
    distilled = guides(params, replace(tiny_model(), guidance_embedded=True))
    embedded = [guide.embedded for guide in distilled if guide.embedded is not None]
    assert embedded[0] == 2.0
    assert len(set(embedded)) == 8
    assert min(embedded) > 0
    nothing = guides(params, replace(tiny_model(), text=None))
    assert {guide.rows for guide in nothing} == {1}


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_a", "dpmpp_sde"])
def test_of_one_seed_all_pictures_are_one_unless_chaos_parts_them(sampler: str) -> None:
    params = replace(PARAMS, same_seed=True, sampler=sampler)
    first, *others = pixels(params)
    assert all(np.array_equal(first, other) for other in others)
    assert np.array_equal(first, pixels(replace(PARAMS, sampler=sampler))[0])
    assert spread(pixels(replace(params, chaos=50))) > 0


def test_a_morph_shows_its_prompts_and_what_lies_between() -> None:
    phrases = ("a blue fish", "cat face on a green background")
    found = pixels(replace(PARAMS, morph=phrases, images=5))
    for number, prompt in ((0, PARAMS.prompt), (2, phrases[0]), (4, phrases[1])):
        alone = pixels(replace(PARAMS, prompt=prompt, images=1))
        assert np.array_equal(found[number], alone[0]), prompt
    assert all(not np.array_equal(a, b) for a, b in pairwise(found))


def test_prompts_of_a_morph_are_encoded_to_one_length() -> None:
    found = guides(replace(PARAMS, morph=("a heart " * 30,), images=3))
    assert len({len(context(guide, 0, row)) for guide in found for row in (0, 1)}) == 1


def test_a_negative_prompt_that_is_a_prompt_of_the_morph_stays() -> None:
    found = guides(replace(PARAMS, negative_prompt="a blue fish", morph=("a blue fish",), images=3))
    assert torch.equal(context(found[2], 0), context(found[0], 0, 1))
    assert all(context(guide, 0, 1) is context(found[0], 0, 1) for guide in found)


def test_a_pooled_text_is_morphed_and_the_sizes_beside_it_stay() -> None:
    model = replace(tiny_model(), micro_conditioning="sizes", size_dim=4)
    pooled = torch.eye(3, 8)

    def encode(prompts: Sequence[str]) -> Conditioning:
        return Conditioning(
            context=torch.zeros(len(prompts), 16, 32), pooled=pooled[: len(prompts)]
        )

    params = replace(PARAMS, morph=("a blue fish",), images=3)
    found = [guide.at(0)[0].added for guide in guides_for(model, params, encode, width=8, height=8)]
    first, middle, last = (added for added in found if added is not None)
    # The negative prompt was encoded second.
    assert torch.equal(first[:8], pooled[0])
    assert torch.equal(last[:8], pooled[2])
    assert torch.allclose(middle[:8], (pooled[0] + pooled[2]) * 0.5**0.5)
    assert torch.equal(first[8:], last[8:])
    assert torch.equal(first[8:], middle[8:])


@pytest.mark.parametrize(
    ("prompt", "phrase", "field", "message"),
    [
        ("a AND b", "c", "prompt", "one condition"),
        ("a", "b::2 c", "morph", "one condition"),
        ("a", "[b:c:0.5]", "morph", "edit itself"),
        ("a", "b <lora:ink:1>", "morph", "a LoRA holds for all"),
    ],
)
def test_what_cannot_lie_on_the_way_is_refused(
    prompt: str, phrase: str, field: str, message: str
) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        guides(replace(PARAMS, prompt=prompt, morph=(phrase,)))
    assert caught.value.field == field


def test_a_model_without_words_has_no_morph() -> None:
    with pytest.raises(ParamsError, match="without words"):
        guides(replace(PARAMS, morph=("b",)), replace(tiny_model(), text=None))


@pytest.mark.slow
def test_the_more_chaos_the_further_apart_are_the_shipped_models_pictures() -> None:
    info, model = describe_model("emoji"), load_model("emoji")
    base = Params(
        prompt="",
        seed=3,
        steps=8,
        images=4,
        width=info.native_width,
        height=info.native_height,
        guidance_scale=info.defaults.guidance_scale,
        schedule=info.defaults.schedule,
    )
    prompts = ("cat face", "a house", "a blue fish")
    found = [
        np.mean([spread(pixels(replace(base, prompt=p, chaos=chaos), model)) for p in prompts])
        for chaos in (0, 50, 100)
    ]
    assert found == sorted(found)
    assert found[2] > 1.2 * found[0]
