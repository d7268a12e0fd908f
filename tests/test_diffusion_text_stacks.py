"""The stacks without CLIP: latent diffusion's words and class numbers."""

from functools import cache

import pytest
import torch
from torch import nn

from diffusion.errors import CheckpointError, ParamsError
from diffusion.networks.bert import BERTTransformer
from diffusion.networks.configs import BERTConfig
from diffusion.text import BertStack, ClassStack, bert_tokenizer, clip_tokenizer
from tests.parity.twins import fill

SIZES = BERTConfig(width=16, layers=2, heads=2, head_dim=4, feed_forward=32)


@cache
def words() -> BertStack:
    model = BERTTransformer(SIZES)
    fill(model, 1)
    return BertStack(tokenizer=bert_tokenizer(), model=model, config=SIZES)


def test_words_stand_between_marks_and_padding() -> None:
    ids = [101, 1037, 2417, 4419, 102]
    tokens = torch.tensor([ids + [0] * (77 - len(ids))])
    with torch.inference_mode():
        expected = words().model(tokens)
    found = words().encode(["a red fox"])
    assert torch.equal(found.context, expected)
    assert found.pooled is None


@pytest.mark.parametrize(
    ("written", "read"),
    [("a (red:1.3) [fox]", "a red fox"), ("a BREAK b", "a b"), ("(a:-1) fox", "a fox")],
)
def test_brackets_are_read_as_words(written: str, read: str) -> None:
    found = words().encode([written, read]).context
    assert torch.equal(found[0], found[1])


def test_what_is_too_long_is_cut_off_as_in_the_original() -> None:
    found = words().encode(["fox " * 75, "fox " * 200]).context
    assert found.shape == (2, 77, 16)
    assert torch.equal(found[0], found[1])


def test_a_tokenizer_of_another_kind_is_refused() -> None:
    with pytest.raises(CheckpointError, match="none of BERT's"):
        BertStack(tokenizer=clip_tokenizer(), model=words().model, config=SIZES)


def test_a_class_is_a_row_of_the_table() -> None:
    table = nn.Embedding(11, 4)
    found = ClassStack(table).encode(["3", " 10 ", "", "0"])
    assert torch.equal(found.context, table.weight[[3, 10, 10, 0]][:, None])
    assert found.pooled is None


@pytest.mark.parametrize("prompt", ["11", "-1", "fox", "1.5", "²", "9" * 5000])
def test_what_is_no_class_is_an_error(prompt: str) -> None:
    with pytest.raises(ParamsError, match="0 to 10"):
        ClassStack(nn.Embedding(11, 4)).encode([prompt])


def test_there_are_no_layers_to_skip() -> None:
    for stack in (words(), ClassStack(nn.Embedding(11, 4))):
        with pytest.raises(ParamsError, match="clip_skip"):
            stack.encode(["1"], clip_skip=1)
