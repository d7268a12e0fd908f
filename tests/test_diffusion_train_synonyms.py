"""The hundred words that are kept out of captions, to measure with."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from diffusion.train.compose.words import is_countable, plural
from diffusion.train.data import known_names
from diffusion.train.synonyms import is_kept_out, synonyms


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def trained_words() -> Iterator[str]:
    for name in known_names():
        yield from words_of(name)


def test_there_are_a_hundred_of_all_kinds() -> None:
    entries = synonyms()
    assert len({entry.word for entry in entries}) == len(entries) == 100
    for entry in entries:
        assert entry.word == " ".join(words_of(entry.word))
        assert entry.names
        assert len(set(entry.names)) == len(entry.names)
        assert set(entry.names) <= set(known_names())
    # Spread: no name is asked for again and again.
    assert Counter(entry.names[0] for entry in entries).most_common(1)[0][1] <= 3


def test_none_is_a_word_of_a_known_name() -> None:
    trained = set(trained_words())
    for entry in synonyms():
        assert not trained & set(words_of(entry.word)) - {"in"}, entry.word


def test_few_are_parts_of_what_they_mean() -> None:
    """A measure that substrings pass would measure spelling."""
    inside = [e.word for e in synonyms() if any(e.word in name for name in e.names)]
    assert len(inside) <= 5, inside


@pytest.mark.parametrize(
    "keyword",
    ["puppy", "PUPPY", "puppies", "puppy dog", "a great dane!", "Great-Danes", "double-decker bus",
     "loaves", "in love", "chip", "toads"],
)  # fmt: skip
def test_keywords_with_one_of_them_are_kept_out(keyword: str) -> None:
    assert is_kept_out(keyword)


@pytest.mark.parametrize(
    "keyword",
    ["", "dog", "cabbage", "denim", "great", "danes", "love", "loving", "in", "automobile",
     "double", "decker double", "strain", "planet", "..."],
)  # fmt: skip
def test_other_keywords_stay(keyword: str) -> None:
    assert not is_kept_out(keyword)


def test_no_name_or_plural_of_one_is_kept_out() -> None:
    """Captions hold names and, where they count things, plurals: "two game dice"."""
    for name in known_names():
        assert not is_kept_out(name)
        assert not (is_countable(name) and is_kept_out(plural(name))), name
