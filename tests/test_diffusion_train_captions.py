"""Captions and the tokenizer trained on them."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from diffusion.train import captions
from diffusion.train.captions import BACKGROUNDS, BEGIN, END, WHITE, CaptionsError, Rates
from diffusion.train.data import Row

NEVER = Rates(
    empty=0.0, by_keywords=0.0, with_keywords=0.0, article=0.0, no_style=0.0, background=0.0
)


def make_row(name: str = "red apple", keywords: tuple[str, ...] = ("fruit", "food", "diet")) -> Row:
    return Row(
        row=0,
        style="twemoji",
        name=name,
        keywords=keywords,
        group="Food & Drink",
        code_points="1f34e",
        icon=name,
        weight=1.0,
        flip=True,
        held_out=False,
        unseen_by_judge=False,
    )


def draw(rates: Rates, count: int, row: Row | None = None) -> list[str]:
    rng = np.random.default_rng(7)
    return [captions.sample_caption(row or make_row(), rng, WHITE, rates) for _ in range(count)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    rows = [make_row(), make_row("cat face", ("pet", "cat")), make_row("red heart", ("love",))]
    trained = captions.train_tokenizer(captions.corpus(rows), vocab_size=600)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    trained.save(str(path))
    return Tokenizer.from_file(str(path))


def test_a_full_caption_is_name_style_and_background() -> None:
    blue = next(colour for colour in BACKGROUNDS if colour.name == "blue")
    orange = next(colour for colour in BACKGROUNDS if colour.name == "orange")
    assert captions.full_caption("red apple", "3d") == "red apple, 3d style"
    assert captions.full_caption("x", "3d", blue) == "x, 3d style, on a blue background"
    assert captions.full_caption("x", "3d", orange) == "x, 3d style, on an orange background"
    rng = np.random.default_rng(0)
    sampled = captions.sample_caption(make_row(), rng, blue, NEVER)
    assert sampled == "red apple, twemoji style, on a blue background"


def test_every_caption_has_the_documented_form() -> None:
    form = re.compile(
        r"((a )?red apple(, (fruit|food|diet)){0,2}|(fruit|food|diet)(, (fruit|food|diet)){2})"
        r"(, twemoji style)?"
    )
    for caption in draw(captions.DEFAULT_RATES, 500):
        assert caption == "" or form.fullmatch(caption)


def test_parts_are_dropped_at_their_rates() -> None:
    drawn = draw(captions.DEFAULT_RATES, 8000)
    kept = [caption for caption in drawn if caption]
    named = [caption for caption in kept if "red apple" in caption]

    def share(part: list[str], whole: list[str]) -> float:
        return len(part) / len(whole)

    assert share(kept, drawn) == pytest.approx(0.90, abs=0.02)
    assert share(named, kept) == pytest.approx(0.90, abs=0.02)
    assert share([c for c in kept if "style" in c], kept) == pytest.approx(0.90, abs=0.02)
    assert share([c for c in named if c[:2] == "a "], named) == pytest.approx(0.25, abs=0.03)
    plain = [c for c in named if not re.search("fruit|food|diet", c)]
    assert share(plain, named) == pytest.approx(0.70, abs=0.03)


def test_rates_of_zero_and_one_are_certain() -> None:
    assert set(draw(NEVER, 50)) == {"red apple, twemoji style"}
    assert set(draw(Rates(empty=1.0), 20)) == {""}
    always = Rates(empty=0, by_keywords=1, no_style=1)
    for caption in draw(always, 20):
        assert sorted(caption.split(", ")) == ["diet", "food", "fruit"]
    # Too few keywords to stand for a name: the name stays.
    assert "red apple" in draw(always, 1, make_row(keywords=("fruit",)))[0]


def test_articles_fit_the_name() -> None:
    article = Rates(empty=0, by_keywords=0, with_keywords=0, article=1, no_style=1)
    for name, said in {"owl": "an owl", "fox": "a fox", "grapes": "grapes"}.items():
        assert draw(article, 1, make_row(name)) == [said]


def test_sampling_depends_on_the_generator_alone() -> None:
    assert draw(captions.DEFAULT_RATES, 50) == draw(captions.DEFAULT_RATES, 50)


def test_backgrounds_are_white_at_the_rest_and_all_named_ones_occur() -> None:
    rng = np.random.default_rng(1)
    drawn = [captions.choose_background(rng) for _ in range(4000)]
    assert sum(colour == WHITE for colour in drawn) / 4000 == pytest.approx(0.7, abs=0.03)
    assert set(drawn) == {WHITE, *BACKGROUNDS}
    assert len({colour.rgb for colour in BACKGROUNDS}) == len(BACKGROUNDS) == 12


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan")])
def test_a_rate_must_be_a_probability(value: float) -> None:
    with pytest.raises(CaptionsError, match="empty"):
        Rates(empty=value)


def test_the_vocabulary_has_the_layout_of_clip(tokenizer: Tokenizer) -> None:
    vocab = tokenizer.get_vocab()
    size = tokenizer.get_vocab_size()
    assert size <= 600
    assert sorted(vocab.values()) == list(range(size))
    assert (vocab[BEGIN], vocab[END]) == (size - 2, size - 1)
    assert sum(token.endswith("</w>") for token, i in vocab.items() if i < 512) == 256


def test_known_words_are_single_tokens(tokenizer: Tokenizer) -> None:
    words = ["red</w>", "apple</w>", ",</w>", "twemoji</w>", "style</w>"]
    assert tokenizer.encode("Red  APPLE, twemoji\nstyle").tokens == [BEGIN, *words, END]


@settings(deadline=None, max_examples=200)
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_encoded_and_comes_back(tokenizer: Tokenizer, text: str) -> None:
    encoding = tokenizer.encode(text)
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    assert (encoding.ids[0], encoding.ids[-1]) == (begin, end)
    inner = encoding.ids[1:-1]
    # Nobody can type a begin or end token.
    assert begin not in inner
    assert end not in inner
    back = tokenizer.decode(inner, skip_special_tokens=False)
    wanted = tokenizer.normalizer.normalize_str(text)
    # Nothing but space is lost.
    assert re.sub(r"\s", "", back) == re.sub(r"\s", "", wanted)


@pytest.mark.parametrize(
    "text", ["赤いハート", "❤️ 🐈‍⬛", unicodedata.normalize("NFD", "Äpfel"), ""]
)
def test_other_writing_survives(tokenizer: Tokenizer, text: str) -> None:
    back = tokenizer.decode(tokenizer.encode(text).ids[1:-1], skip_special_tokens=False)
    assert back.strip() == unicodedata.normalize("NFC", text).lower()


def test_the_end_token_cannot_be_typed(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(f"red {END} apple {BEGIN}").tokens
    assert tokens.count(END) == 1
    assert tokens.count(BEGIN) == 1


def test_training_is_deterministic() -> None:
    texts = captions.corpus([make_row(), make_row("owl", ("bird", "wise"))])
    assert texts == captions.corpus([make_row(), make_row("owl", ("bird", "wise"))])
    first = captions.train_tokenizer(texts, 560).to_str()
    assert first == captions.train_tokenizer(list(reversed(texts)), 560).to_str()


def test_merges_take_the_most_frequent_pair_first_and_ties_in_order() -> None:
    merges = captions.learn_merges({"aab": 3, "cab": 1, "xy": 1, "uv": 1}, 10)
    assert merges[0] == ("a", "b</w>")
    assert merges[1] == ("a", "ab</w>")
    assert merges.index(("u", "v</w>")) < merges.index(("x", "y</w>"))
    # Every word is one token in the end, and then there is nothing left to merge.
    assert len(merges) == 5


def test_a_vocabulary_must_hold_the_bytes() -> None:
    with pytest.raises(CaptionsError, match="513 is too small"):
        captions.train_tokenizer(["red"], 513)
    assert captions.train_tokenizer(["red"], 514).get_vocab_size() == 514
