"""Whose jobs go on: nobody starves, and changes stay rare."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.turns import PATIENCE, Candidate, prefer


def candidate(
    key: str, *, ready: bool = False, waited: float = 0.0, change: float = 1.0, rank: float = 0.0
) -> Candidate:
    return Candidate(key=key, rank=(rank, ord(key)), ready=ready, waited=waited, change=change)


def test_who_is_ready_goes_on_until_another_has_waited_enough() -> None:
    ready = candidate("a", ready=True, rank=9.0)
    patient = candidate("b", waited=PATIENCE - 0.1)
    assert prefer([ready, patient], stayed=100.0, last_change=1.0) == {"a"}
    overdue = candidate("b", waited=PATIENCE)
    assert prefer([ready, overdue], stayed=100.0, last_change=1.0) == {"b"}


def test_who_has_just_come_may_stay() -> None:
    ready, overdue = candidate("a", ready=True), candidate("b", waited=1000.0)
    assert prefer([ready, overdue], stayed=PATIENCE - 0.1, last_change=1.0) == {"a"}


def test_all_who_are_ready_may_go_on() -> None:
    both = [candidate("a", ready=True), candidate("b", ready=True)]
    assert prefer(both, stayed=0.0, last_change=1.0) == {"a", "b"}
    assert prefer([], stayed=0.0, last_change=0.0) == set()


def test_nobody_waits_for_an_empty_device() -> None:
    outside = [candidate("a", rank=2.0), candidate("b", rank=1.0)]
    assert prefer(outside, stayed=0.0, last_change=9.0) == {"b"}
    outside = [candidate("a", waited=0.2, rank=2.0), candidate("b", waited=0.1, rank=1.0)]
    assert prefer(outside, stayed=0.0, last_change=9.0) == {"a"}


@dataclass
class Played:
    """What came of a game: seconds on changes, their number, the longest wait of each model."""

    total: float
    changing: float
    changes: int
    waits: list[float]


def play(
    costs: Sequence[float],
    pieces: Sequence[float],
    rounds: int,
    *,
    always: bool,
    stays: bool = True,
) -> Played:
    """One place, many models: everybody always has work, or sometimes has none."""
    rng = random.Random(len(costs) + rounds)  # noqa: S311 - tests
    here, now, changed_at, last = -1, 0.0, 0.0, 0.0
    since: list[float | None] = [None] * len(costs)

    def waited(i: int) -> float:
        start = since[i]
        return 0.0 if start is None else now - start

    played = Played(total=0.0, changing=0.0, changes=0, waits=[0.0] * len(costs))
    for _ in range(rounds):
        working = [i for i in range(len(costs)) if always or rng.random() < 0.7]
        since = [(now if s is None else s) if i in working else None for i, s in enumerate(since)]
        chosen = prefer(
            [
                Candidate(
                    key=i,
                    rank=(rng.random(), i),
                    ready=i == here,
                    waited=waited(i),
                    change=0.0 if i == here else costs[i],
                )
                for i in working
            ],
            stayed=now - changed_at if stays else now,
            last_change=last,
        )
        assert bool(chosen) == bool(working)
        for key in chosen:
            assert isinstance(key, int)
            played.waits[key] = max(played.waits[key], waited(key))
            since[key] = None
            if key != here:
                here, last = key, costs[key]
                now += last
                played.changes += 1
                played.changing += last
                changed_at = now
        now += pieces[rng.randrange(len(pieces))]
        # What never came in shows up at the end as well.
        played.waits = [max(most, waited(i)) for i, most in enumerate(played.waits)]
    played.total = now
    return played


COSTS = st.lists(st.floats(0.05, 5.0), min_size=2, max_size=6)
PIECES = st.lists(st.floats(0.01, 0.5), min_size=1, max_size=5)


@given(COSTS, PIECES)
@settings(max_examples=60, deadline=None)
def test_nobody_starves_and_changes_are_rare(costs: list[float], pieces: list[float]) -> None:
    played = play(costs, pieces, 1500, always=True)
    stay, piece = (PATIENCE + 1) * max(costs), max(pieces)
    for cost, wait in zip(costs, played.waits, strict=True):
        assert wait <= PATIENCE * cost + (len(costs) - 1) * (stay + piece) + 2 * (stay + piece)
    # The first change is not paid for by a stay before it, the last not by one after it.
    assert played.changing <= played.total / PATIENCE + 2 * max(costs)


@given(COSTS, PIECES)
@settings(max_examples=30, deadline=None)
def test_nobody_starves_where_work_comes_and_goes(costs: list[float], pieces: list[float]) -> None:
    played = play(costs, pieces, 400, always=False)
    stay, piece = (PATIENCE + 1) * max(costs), max(pieces)
    assert max(played.waits) <= (len(costs) + 2) * (stay + piece)


def test_without_patience_every_piece_would_be_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is no accident: break the rule, and the device does little else than change."""
    assert play([1.0, 1.0], [0.1], 1000, always=True).changes < 15
    monkeypatch.setattr("diffusion.turns.PATIENCE", 0.0)
    assert play([1.0, 1.0], [0.1], 1000, always=True).changes > 900


def test_without_a_stay_three_models_would_chase_each_other() -> None:
    costs = [1.0] * 5
    kept = play(costs, [0.05], 4000, always=True)
    assert kept.changing / kept.total < 1 / PATIENCE
    chased = play(costs, [0.05], 4000, always=True, stays=False)
    assert chased.changing / chased.total > 3 / PATIENCE
