"""Tokenizers: the same ids as transformers' CLIP and BERT tokenizers, without a hub."""

import gzip
import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import BertTokenizer, CLIPTokenizer

import diffusion
from diffusion.errors import CheckpointError
from diffusion.text import bert_tokenizer, clip_tokenizer, tokenizer_from_folder

DATA = Path(diffusion.__file__).parent / "data"
# Lines of PartiPrompts (Yu et al. 2022).
PARTI = """\
artificial intelligence
an iPhone case
a fire hydrant
a pickup truck with a horse on its left and two dogs on its right
a photograph of a blue porsche 356 coming around a bend in the road
a white cat with black ears and markings
a mountain and its reflection in a lake
a chimpanzee wearing a bowtie and playing a piano
the Taj Mahal at sunrise
a glass of orange juice with an orange peel stuck on the rim
a long chemtrail trailing an airplane in a blue sky
a smiling man with wavy brown hair and trimmed beard
people packed on a double-decker bus
An alien octopus floats through a portal reading a newspaper. DSLR photo.
a subway train in an empty station
a pirate ship landing on the moon
a child and a penguin sitting on the moon
Four deer surrounding a moose.
a marina without any boats in it
tall buildings seen through a window with rain on it
a black background with a large yellow circle
a bunch of laptops piled on a sofa
a full bookshelf with three shelves
two sets of identical twins
a robot kicking a soccer ball
a yellow wall
a hammer on a table
a cat jumps over a baby gate
an airplane taking off of a runway
a painting of black and white checkerboard
Downtown LA at sunrise. detailed ink wash.
a portrait of a man wearing sunglasses and a business suit, painting in pop art style
a painting of a phone from the 20s
a watercolor painting of a tree and a building
a diagram of the star constellations
the mona lisa
a t-shirt with Carpe Diem written on it
""".splitlines()
ODD = [
    "",
    " ",
    "a",
    "A RED Fox",
    "it's we're they've I'm she'll he'd don't 's'T",
    "2024, 3.14 and 1,000,000; 7th",
    "🦊❄️👩‍👩‍👧‍👦",
    "赤いハートと富士山、夜景",
    "café naïve Ångström ﬁ Ⅷ ½",
    "cafe\u0301 e\u0301",
    "tab\tnew\nline\r\x0b\x0c\u00a0\u3000end",
    "\x00\x01\x7f\u200b\u202e\ufeff",
    "under_score-hyphen/slash\\back (round) [square] {curly} <angle> ###!!!...",
    "antidisestablishmentarianism " * 40,
    "a" * 500,
    "ß ẞ İ ı Σ ς",
    "مرحبا שלום नमस्ते ไทย 한국어",
    "a photo of a cat",
]


@cache
def ours() -> Tokenizer:
    return clip_tokenizer()


@cache
def merges() -> list[tuple[str, str]]:
    table = gzip.decompress((DATA / "clip/bpe_simple_vocab_16e6.txt.gz").read_bytes())
    pairs = [line.split(" ") for line in table.decode("utf-8").split("\n")[1:48895]]
    return [(first, second) for first, second in pairs]


@cache
def peer() -> CLIPTokenizer:
    """transformers' tokenizer; the vocabulary is built here once more from the table alone."""
    visible = [b for b in range(256) if chr(b).isprintable() and b not in (0x20, 0xA0, 0xAD)]
    hidden = [b for b in range(256) if b not in visible]
    letters = [chr(b) for b in visible] + [chr(256 + i) for i in range(len(hidden))]
    words = letters + [letter + "</w>" for letter in letters] + ["".join(p) for p in merges()]
    words += ["<|startoftext|>", "<|endoftext|>"]
    assert len(words) == 49408
    table = {word: i for i, word in enumerate(words)}
    # Pairs, as its library takes them; the annotation says otherwise.
    return CLIPTokenizer(vocab=table, merges=merges())  # type: ignore[arg-type]


@cache
def bert_pair() -> tuple[Tokenizer, BertTokenizer]:
    words = (DATA / "bert/vocab.txt").read_text(encoding="utf-8").splitlines()
    assert len(words) == 30522
    return bert_tokenizer(), BertTokenizer(vocab={word: i for i, word in enumerate(words)})


def clip_ids(text: str) -> list[int]:
    return list(ours().encode(text, add_special_tokens=False).ids)


def test_the_ids_that_everybody_knows() -> None:
    assert clip_ids("a photo of a cat") == [320, 1125, 539, 320, 2368]
    assert clip_ids("hello world,") == [3306, 1002, 267]
    assert ours().get_vocab_size() == 49408
    assert ours().token_to_id("<|startoftext|>") == 49406
    assert ours().token_to_id("<|endoftext|>") == 49407
    bert = bert_pair()[0]
    assert bert.encode("i like strawberries", add_special_tokens=False).ids == [
        1045,
        2066,
        13137,
        20968,
    ]
    assert [bert.token_to_id(mark) for mark in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")] == [
        0,
        100,
        101,
        102,
    ]


@pytest.mark.parametrize("text", [*PARTI, *ODD])
def test_clip_tokens_are_those_of_transformers(text: str) -> None:
    assert clip_ids(text) == peer()(text, add_special_tokens=False)["input_ids"]


@settings(deadline=None)
@given(st.text(max_size=80).filter(lambda text: "<|" not in text))
def test_clip_tokens_of_any_text_are_those_of_transformers(text: str) -> None:
    assert clip_ids(text) == peer()(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", [*PARTI, *ODD])
def test_bert_tokens_are_those_of_transformers(text: str) -> None:
    mine, theirs = bert_pair()
    found = mine.encode(text, add_special_tokens=False).ids
    assert found == theirs(text, add_special_tokens=False)["input_ids"]


@settings(deadline=None)
@given(st.text(max_size=80).filter(lambda text: "[" not in text))
def test_bert_tokens_of_any_text_are_those_of_transformers(text: str) -> None:
    mine, theirs = bert_pair()
    found = mine.encode(text, add_special_tokens=False).ids
    assert found == theirs(text, add_special_tokens=False)["input_ids"]


def test_a_prompt_cannot_write_special_tokens() -> None:
    assert not {49406, 49407} & set(clip_ids("a <|endoftext|> b <|startoftext|>"))
    bert = bert_pair()[0]
    assert not {101, 102} & set(bert.encode("a [SEP] b [CLS]", add_special_tokens=False).ids)


def write_pair(folder: Path) -> None:
    vocabulary = ours().get_vocab()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges())]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("layout", ["pair", "whole"])
def test_a_folder_of_clip_gives_the_same_tokens(tmp_path: Path, layout: str) -> None:
    if layout == "pair":
        write_pair(tmp_path)
    else:
        whole = clip_tokenizer()
        whole.enable_truncation(5)
        whole.enable_padding(length=9)
        (tmp_path / "tokenizer.json").write_text(whole.to_str(), encoding="utf-8")
    found = tokenizer_from_folder(tmp_path)
    for text in (*PARTI, *ODD):
        assert found.encode(text, add_special_tokens=False).ids == clip_ids(text)


def test_a_folder_of_bert_gives_the_same_tokens(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes((DATA / "bert/vocab.txt").read_bytes())
    found = tokenizer_from_folder(tmp_path)
    text = "a virus monster is playing guitar, oil on canvas"
    expected = bert_pair()[0].encode(text, add_special_tokens=False).ids
    assert found.encode(text, add_special_tokens=False).ids == expected


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"tokenizer.json": "{"},
        {"tokenizer.json": "[]"},
        {"vocab.json": "{}"},
        {"vocab.json": "[1]", "merges.txt": "a b"},
        {"vocab.json": "{", "merges.txt": "a b"},
        {"vocab.json": '{"a": 1}', "merges.txt": "a b"},
        {"vocab.json": '{"a": -1}', "merges.txt": "a"},
        {"vocab.txt": "no\nspecial\nwords"},
    ],
)
def test_a_damaged_folder_is_an_error_that_names_it(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=tmp_path.name):
        tokenizer_from_folder(tmp_path)
