"""Captions for the pictures, and the tokenizer that is trained on them.

Promises: `{name}[, 1-2 keywords], {style} style[, on a {colour} background]`, with parts dropped
at random by rates that can be set; a byte-level BPE of CLIP's layout (Radford et al. 2021: lower
case, 256 bytes, 256 bytes at the end of a word, merges, begin, end) that encodes any text. Never:
randomness of its own (the generator is an argument), or a token for unknown text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from diffusion.train.data import Row
from diffusion.train.synonyms import is_kept_out

MAX_TOKENS: Final = 77
BEGIN: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"
_WORD_END: Final = "</w>"
# English short forms, runs of letters, single digits, runs of anything else: as in CLIP.
_SPLIT: Final = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


class CaptionsError(ValueError):
    """A rate, a colour or a vocabulary size makes no sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """A plain colour that captions can name (sRGB, 0..255)."""

    name: str
    rgb: tuple[int, int, int]


WHITE: Final = Colour(name="white", rgb=(255, 255, 255))
BACKGROUNDS: Final[tuple[Colour, ...]] = (
    Colour(name="red", rgb=(214, 48, 49)),
    Colour(name="orange", rgb=(240, 140, 40)),
    Colour(name="yellow", rgb=(250, 215, 70)),
    Colour(name="green", rgb=(60, 160, 80)),
    Colour(name="teal", rgb=(30, 150, 150)),
    Colour(name="light blue", rgb=(160, 210, 245)),
    Colour(name="blue", rgb=(45, 100, 210)),
    Colour(name="purple", rgb=(130, 70, 180)),
    Colour(name="pink", rgb=(245, 150, 190)),
    Colour(name="brown", rgb=(125, 80, 50)),
    Colour(name="gray", rgb=(140, 140, 140)),
    Colour(name="black", rgb=(20, 20, 20)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How often parts of a caption change; each is a probability."""

    empty: float = 0.10
    by_keywords: float = 0.10
    with_keywords: float = 0.30
    article: float = 0.25
    no_style: float = 0.10
    background: float = 0.30

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise CaptionsError(f"rate {name}={value} is not a probability; use 0 to 1.")


DEFAULT_RATES: Final = Rates()


def choose_background(rng: np.random.Generator, rates: Rates = DEFAULT_RATES) -> Colour:
    """Choose white, or with probability `rates.background` one of the named colours."""
    if rng.random() >= rates.background:
        return WHITE
    return BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]


def full_caption(name: str, style: str, background: Colour = WHITE) -> str:
    """Return the plain caption with nothing dropped and no keywords, as prompts are written."""
    return _join([name], style, background)


def sample_caption(
    row: Row,
    rng: np.random.Generator,
    background: Colour = WHITE,
    rates: Rates = DEFAULT_RATES,
) -> str:
    """Draw one caption for a picture that lies on `background`; "" for training without text."""
    draws, keywords = rng.random(5), usable_keywords(row)
    if draws[0] < rates.empty:
        return ""
    if draws[1] < rates.by_keywords and len(keywords) >= 3:
        subject = _some(keywords, 3, rng)
    else:
        subject = [_with_article(row.name) if draws[2] < rates.article else row.name]
        if draws[3] < rates.with_keywords and keywords:
            subject += _some(keywords, int(rng.integers(1, 3)), rng)
    style = "" if draws[4] < rates.no_style else row.style
    return _join(subject, style, background)


def usable_keywords(row: Row) -> tuple[str, ...]:
    """Return the keywords that captions may have: none of the synonyms kept to measure with."""
    return tuple(word for word in row.keywords if not _kept_out(word))


# Asked for every caption of every batch.
_kept_out = cache(is_kept_out)


def _some(words: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    order = rng.permutation(len(words))[:count]
    return [words[int(i)] for i in order]


def _with_article(name: str) -> str:
    if name.endswith("s") and not name.endswith("ss"):
        return name
    return ("an " if name[0] in "aeiou" else "a ") + name


def _join(subject: list[str], style: str, background: Colour) -> str:
    parts = [*subject]
    if style:
        parts.append(f"{style} style")
    if background != WHITE:
        article = "an" if background.name[0] in "aeiou" else "a"
        parts.append(f"on {article} {background.name} background")
    return ", ".join(parts)


def corpus(rows: Iterable[Row], seed: int = 0, repeats: int = 4) -> list[str]:
    """Return captions to train the tokenizer on: every name and keyword occurs."""
    rng = np.random.default_rng(seed)
    texts = []
    for row in rows:
        texts.append(", ".join((row.name, *usable_keywords(row))))
        texts += [
            sample_caption(row, rng, choose_background(rng), DEFAULT_RATES) for _ in range(repeats)
        ]
    return texts


def train_tokenizer(texts: Iterable[str], vocab_size: int = 3000) -> Tokenizer:
    """Train the BPE (Sennrich et al. 2016); it adds begin and end and never pads.

    Ids: 256 bytes, the same bytes closing a word, the merges, begin, end. The vocabulary is
    smaller than asked only when the texts are used up.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = [*letters, *(letter + _WORD_END for letter in letters)]
    merges_wanted = vocab_size - len(base) - 2
    if merges_wanted < 0:
        raise CaptionsError(
            f"a vocabulary of {vocab_size} is too small; bytes, begin and end take {len(base) + 2}."
        )
    splitter = _new_tokenizer({}, [])
    words: Counter[str] = Counter()
    for text in texts:
        normal = splitter.normalizer.normalize_str(text)
        words.update(word for word, _ in splitter.pre_tokenizer.pre_tokenize_str(normal))
    merges = learn_merges(words, merges_wanted)
    tokens = [*base, *("".join(pair) for pair in merges)]
    # Two merges can spell the same token; a vocabulary holds it once.
    tokens = [*dict.fromkeys(tokens), BEGIN, END]
    return _finish(_new_tokenizer({token: i for i, token in enumerate(tokens)}, merges))


def learn_merges(words: Mapping[str, int], count: int) -> list[tuple[str, str]]:
    """Return the most frequent pairs in order; ties go to the pair that sorts first."""
    spelled = {word: [*word[:-1], word[-1] + _WORD_END] for word in sorted(words)}
    totals: Counter[tuple[str, str]] = Counter()
    places: dict[tuple[str, str], set[str]] = {}
    for word, parts in spelled.items():
        for pair in pairwise(parts):
            totals[pair] += words[word]
            places.setdefault(pair, set()).add(word)
    merges: list[tuple[str, str]] = []
    while len(merges) < count and totals:
        best = min(totals, key=lambda pair: (-totals[pair], pair))
        merges.append(best)
        for word in places.pop(best):
            old = spelled[word]
            new = _merge(old, best)
            spelled[word] = new
            for pair in pairwise(old):
                totals[pair] -= words[word]
            for pair in pairwise(new):
                totals[pair] += words[word]
                places.setdefault(pair, set()).add(word)
        totals = Counter({pair: total for pair, total in totals.items() if total > 0})
    return merges


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(parts):
        if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out


def _new_tokenizer(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(
        BPE(vocab=vocab, merges=merges, end_of_word_suffix=_WORD_END, continuing_subword_prefix="")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_WORD_END, "Ġ"), decoders.Fuse(), decoders.ByteLevel()]
    )
    return tokenizer


def _finish(tokenizer: Tokenizer) -> Tokenizer:
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    # Begin and end are no "added tokens": nobody can type them into a prompt.
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, begin), (END, end)]
    )
    return tokenizer
