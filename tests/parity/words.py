"""The tokenizers of the reference, from the published tables of words."""

import gzip
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import BertTokenizer, CLIPTokenizer

import diffusion

DATA = Path(diffusion.__file__).parent / "data"
PAD_END, PAD_BANG = 49407, 0


@cache
def merges() -> Any:  # noqa: ANN401 - pairs, whatever the annotation of their user says
    """Return CLIP's merges, in their order."""
    packed = gzip.decompress((DATA / "clip" / "bpe_simple_vocab_16e6.txt.gz").read_bytes())
    table = packed.decode("utf-8").split("\n")
    # The vocabulary is 2 x 256 bytes, the merges and two special tokens.
    pairs = [line.split() for line in table[1 : 1 + 49408 - 512 - 2]]
    return [(first, second) for first, second in pairs]


@cache
def vocabulary() -> dict[str, int]:
    """Return CLIP's tokens with their ids."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    others = len(ByteLevel.alphabet()) - len(printable)
    letters = [chr(each) for each in printable] + [chr(256 + i) for i in range(others)]
    tokens = letters + [f"{each}</w>" for each in letters] + ["".join(pair) for pair in merges()]
    return {token: i for i, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}


def clip_words(pad: int) -> Any:  # noqa: ANN401 - a foreign class
    """Return CLIP's tokenizer; OpenCLIP pads with "!", the original with the end token."""
    token = {PAD_END: "<|endoftext|>", PAD_BANG: "!"}[pad]
    return CLIPTokenizer(
        vocab=dict(vocabulary()), merges=list(merges()), pad_token=token, model_max_length=77
    )


def bert_words() -> Any:  # noqa: ANN401 - a foreign class
    """Return BERT's tokenizer."""
    pieces = (DATA / "bert" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, model_max_length=77)
