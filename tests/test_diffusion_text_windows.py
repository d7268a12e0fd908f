"""Windows: how a long prompt is cut."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusion.text.windows import Token, Window, cut

COMMA = 267


def words(*ids: int) -> list[Token]:
    return [Token(id=i, is_comma=i == COMMA) for i in ids]


def ids(windows: list[Window]) -> list[list[int]]:
    return [[token.id for token in window.tokens] for window in windows]


def test_no_words_are_one_empty_window() -> None:
    assert ids(cut([], 75)) == [[]]


def test_a_full_window_is_cut_where_it_is_full() -> None:
    assert [len(each) for each in ids(cut(words(*range(200)), 75))] == [75, 75, 50]


@pytest.mark.parametrize(
    ("comma_at", "lengths"), [(73, [74, 2]), (55, [56, 20]), (54, [75, 1]), (0, [75, 1])]
)
def test_words_behind_a_comma_within_twenty_tokens_move(comma_at: int, lengths: list[int]) -> None:
    tokens = [1000 + i for i in range(76)]
    tokens[comma_at] = COMMA
    found = ids(cut(words(*tokens), 75))
    assert [len(each) for each in found] == lengths
    assert [i for each in found for i in each] == tokens


def test_a_comma_that_does_not_fit_starts_the_next_window() -> None:
    tokens = [*range(1000, 1070), COMMA, *range(2000, 2004), COMMA, 3000]
    assert ids(cut(words(*tokens), 75)) == [tokens[:75], [COMMA, 3000]]


def test_break_starts_a_window() -> None:
    tokens = [*words(1, 2), Token(ends_window=True), *words(3)]
    assert ids(cut(tokens, 75)) == [[1, 2], [3]]
    assert ids(cut([*words(1), Token(ends_window=True)], 75)) == [[1]]


@pytest.mark.parametrize("before", [0, 70, 71, 72, 73, 74, 75])
def test_an_embedding_stays_whole(before: int) -> None:
    name = Token(vectors=torch.zeros(4, 8))
    windows = cut([*words(*range(1000, 1000 + before)), name], 75)
    place = 0 if before <= 71 else 1
    assert any(token is name for token in windows[place].tokens)
    assert all(window.length <= 75 for window in windows)


@given(
    st.lists(st.one_of(st.just(COMMA), st.integers(1000, 2000), st.integers(-6, -1)), max_size=80),
    st.integers(6, 22),
)
def test_every_token_is_in_exactly_one_window(tokens: list[int], room: int) -> None:
    """Negative numbers are embeddings of so many vectors."""
    made = [
        Token(id=i, is_comma=i == COMMA) if i > 0 else Token(id=i, vectors=torch.zeros(-i, 2))
        for i in tokens
    ]
    windows = cut(made, room)
    assert [i for each in ids(windows) for i in each] == tokens
    assert all(window.length <= room for window in windows)
