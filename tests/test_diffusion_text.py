"""Text encoding: windows, clip skip, and agreement with transformers' own forward pass."""

import pytest
import torch

from diffusion.text import TextEncoder
from tests.tiny import tiny_model


@pytest.fixture
def text() -> TextEncoder:
    stack = tiny_model().text
    assert isinstance(stack, TextEncoder)
    return stack


def test_a_window_is_begin_tokens_end_and_padding(text: TextEncoder) -> None:
    config = text.config
    ids = text.tokens("a red heart")
    (window,) = text.window_ids("a red heart")
    assert len(window) == config.window
    assert window[: len(ids) + 2] == [config.begin_id, *ids, config.end_id]
    assert set(window[len(ids) + 2 :]) <= {config.pad_id}


def test_long_prompts_take_more_windows_and_keep_every_token(text: TextEncoder) -> None:
    ids = text.tokens("red heart " * 30)
    windows = text.window_ids("red heart " * 30)
    room = text.config.window - 2
    assert len(windows) == -(-len(ids) // room)
    kept = [i for w in windows for i in w if i not in {text.config.begin_id, text.config.end_id}]
    assert kept == ids


def test_prompts_of_one_call_get_equally_many_windows(text: TextEncoder) -> None:
    encoded = text.encode(["red heart " * 30, ""])
    assert encoded.context.shape[0] == 2
    assert encoded.context.shape[1] % text.config.window == 0
    alone = text.encode([""]).context
    assert torch.allclose(encoded.context[1, : text.config.window], alone[0], atol=1e-5)


def test_a_prompt_does_not_depend_on_its_company(text: TextEncoder) -> None:
    alone = text.encode(["a red heart"]).context
    together = text.encode(["a blue fish", "a red heart"]).context
    assert torch.allclose(together[1], alone[0], atol=1e-5)


def test_the_last_layer_is_what_transformers_returns(text: TextEncoder) -> None:
    tokens = torch.tensor(text.window_ids("a blue fish"))
    with torch.inference_mode():
        expected = text.model(input_ids=tokens).last_hidden_state
    assert torch.allclose(text.encode(["a blue fish"]).context, expected, atol=1e-6)


def test_pooled_is_the_state_at_the_first_end_token(text: TextEncoder) -> None:
    encoded = text.encode(["a red heart"])
    assert encoded.pooled is not None
    place = len(text.tokens("a red heart")) + 1
    assert torch.equal(encoded.pooled[0], encoded.context[0, place])


def test_clip_skip_has_its_range(text: TextEncoder) -> None:
    with pytest.raises(ValueError, match="takes 0 to 0"):
        text.encode(["a"], clip_skip=1)


@pytest.mark.parametrize("prompt", ["", "赤いハート", "🦊❄️", "\x00\ud83d\ude00", "a" * 6000])
def test_any_text_can_be_encoded(text: TextEncoder, prompt: str) -> None:
    prompt = prompt.encode("utf-8", "ignore").decode("utf-8")
    assert torch.isfinite(text.encode([prompt]).context).all()
