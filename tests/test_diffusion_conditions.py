"""What a job is steered by: strands, their weights, the negative row, and when words change."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from diffusion import Params, ParamsError
from diffusion.conditions import Guide, guide_for
from diffusion.model import Model
from diffusion.text import Conditioning
from tests.tiny import tiny_model

PARAMS = Params(prompt="a", steps=10, width=32, height=32, guidance_scale=3.0)


def guide(params: Params, model: Model | None = None) -> tuple[Guide, list[str]]:
    """Build a guide whose contexts are the numbers of their texts; return those, too."""
    asked: list[str] = []

    def encode(prompts: Sequence[str]) -> Conditioning:
        asked.extend(prompts)
        numbers = torch.arange(1.0, len(prompts) + 1)
        return Conditioning(context=numbers[:, None, None].expand(-1, 16, 32))

    made = guide_for(model or tiny_model(), params, encode, width=32, height=32)
    return made, asked


def contexts(made: Guide, step: int) -> list[float]:
    found = [condition.context for condition in made.at(step)]
    return [float(context[0, 0]) for context in found if context is not None]


def test_a_guided_prompt_has_two_rows_and_the_negative_is_last() -> None:
    made, asked = guide(replace(PARAMS, negative_prompt="b"))
    assert asked == ["a", "b"]
    assert (made.rows, contexts(made, 0)) == (2, [1.0, 2.0])


def test_without_guidance_there_is_one_row() -> None:
    made, asked = guide(replace(PARAMS, guidance_scale=1.0))
    assert (made.rows, asked) == (1, ["a"])


def test_equal_texts_are_encoded_once() -> None:
    _, asked = guide(replace(PARAMS, prompt="a AND b AND a"))
    assert len(asked) == len(set(asked))


def test_parts_are_weighted_against_the_negative() -> None:
    made, _ = guide(replace(PARAMS, prompt="a::3 b::1", guidance_scale=2.0))
    assert [strand.weight for strand in made.positives] == [0.75, 0.25]
    outputs = torch.tensor([8.0, 4.0, 1.0])[:, None, None, None]
    # 1 + 2 (0.75 (8 - 1) + 0.25 (4 - 1))
    assert float(made.combine(outputs)) == pytest.approx(13.0)


def test_weights_that_make_one_need_no_negative_row_without_guidance() -> None:
    made, _ = guide(replace(PARAMS, prompt="a::3 b::1", guidance_scale=1.0))
    assert made.negative is None
    outputs = torch.tensor([8.0, 4.0])[:, None, None, None]
    assert float(made.combine(outputs)) == pytest.approx(7.0)
    more, _ = guide(replace(PARAMS, prompt="a AND b", guidance_scale=1.0))
    assert more.negative is not None, "two whole weights are more than one"


def test_words_change_at_their_step() -> None:
    made, asked = guide(replace(PARAMS, prompt="[a:b:0.4]"))
    assert asked == ["a", "b", ""]
    assert [contexts(made, step)[0] for step in range(10)] == [1.0] * 4 + [2.0] * 6


def test_words_take_turns() -> None:
    made, _ = guide(replace(PARAMS, prompt="[a|b]", steps=4))
    assert [contexts(made, step)[0] for step in range(4)] == [1.0, 2.0, 1.0, 2.0]


def test_a_negative_of_several_conditions_is_refused() -> None:
    with pytest.raises(ParamsError, match="one condition"):
        guide(replace(PARAMS, negative_prompt="a AND b"))


@pytest.mark.parametrize(
    ("own", "asked", "zeros"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
def test_an_empty_negative_is_zeros_where_the_checkpoint_or_the_job_says_so(
    own: bool, asked: bool | None, zeros: bool
) -> None:
    model = replace(tiny_model(), zero_empty_negative=own)
    made, _ = guide(replace(PARAMS, zero_negative=asked), model)
    assert contexts(made, 0) == [1.0, 0.0 if zeros else 2.0]
    given, _ = guide(replace(PARAMS, zero_negative=asked, negative_prompt="b"), model)
    assert contexts(given, 0) == [1.0, 2.0], "what is written is never zeros"


def test_a_model_without_words_has_one_row_whatever_is_asked() -> None:
    made, asked = guide(PARAMS, replace(tiny_model(), text=None))
    assert (made.rows, asked) == (1, [])
    assert made.at(0)[0].context is None


def test_a_distilled_model_is_told_its_guidance_and_has_no_negative_row() -> None:
    made, asked = guide(PARAMS, replace(tiny_model(), guidance_embedded=True))
    assert (made.rows, made.embedded, asked) == (1, 2.0, ["a"])


def test_rescaling_gives_back_the_spread_of_the_positive() -> None:
    made, _ = guide(replace(PARAMS, guidance_rescale=1.0))
    outputs = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    assert float(made.combine(outputs).std()) == pytest.approx(float(outputs[0].std()), rel=1e-5)
