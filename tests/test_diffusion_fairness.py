"""Whose turn it is: shares by weight, bounded waits, newcomers at once."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.fairness import WEIGHTS, Account, Fairness, Share


def serve(fairness: Fairness, accounts: list[Account], cost: float = 1.0) -> Account:
    first = min(accounts, key=lambda account: account.rank)
    fairness.charge(first, cost)
    return first


def test_the_device_is_shared_by_weight() -> None:
    fairness = Fairness()
    accounts = {share: fairness.enter(share) for share in WEIGHTS}
    turns = dict.fromkeys(WEIGHTS, 0)
    for _ in range(1300):
        served = serve(fairness, list(accounts.values()))
        turns[next(share for share in WEIGHTS if accounts[share] is served)] += 1
    assert turns == {"draft": 800, "fast": 400, "relax": 100}


def test_it_is_seconds_that_are_shared_not_turns() -> None:
    fairness = Fairness()
    dear, cheap = fairness.enter("fast"), fairness.enter("fast")
    seconds = {id(dear): 0.0, id(cheap): 0.0}
    for _ in range(1100):
        first = min((dear, cheap), key=lambda account: account.rank)
        cost = 10.0 if first is dear else 1.0
        fairness.charge(first, cost)
        seconds[id(first)] += cost
    assert seconds[id(dear)] == pytest.approx(seconds[id(cheap)], rel=0.02)


def test_a_newcomer_waits_for_one_turn_at_most_however_long_the_others_were_there() -> None:
    fairness = Fairness()
    old = fairness.enter("fast")
    for _ in range(10_000):
        serve(fairness, [old])
    new = fairness.enter("fast")
    turns = [serve(fairness, [old, new]) for _ in range(2)]
    assert new in turns
    # Nor does it get what it missed before it came.
    more = [serve(fairness, [old, new]) for _ in range(100)]
    assert abs(more.count(new) - more.count(old)) <= 2


def test_who_comes_back_after_a_pause_gets_nothing_for_it() -> None:
    fairness = Fairness()
    first = fairness.enter("fast")
    for _ in range(50):
        serve(fairness, [first])
    fairness.leave(first)
    fairness.leave(first)
    second, third = fairness.enter("fast"), fairness.enter("fast")
    assert second.used == third.used
    turns = [serve(fairness, [second, third]) for _ in range(10)]
    assert turns.count(second) == turns.count(third) == 5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(list(WEIGHTS)), min_size=2, max_size=12), st.integers(0, 10**6))
def test_nobody_starves(shares: list[Share], seed: int) -> None:
    """Between two turns of anybody, the others get no more than their weights and a turn each."""
    rng = random.Random(seed)  # noqa: S311 - tests
    fairness = Fairness()
    accounts = [fairness.enter(share) for share in shares]
    waited = {id(account): 0 for account in accounts}
    total = sum(account.weight for account in accounts)
    for _ in range(600):
        if rng.random() < 0.02:
            gone = accounts.pop(rng.randrange(len(accounts)))
            fairness.leave(gone)
            new = fairness.enter(rng.choice(list(WEIGHTS)))
            accounts.append(new)
            total += new.weight - gone.weight
            waited[id(new)] = 0
        served = serve(fairness, accounts)
        for account in accounts:
            waited[id(account)] += 1
            bound = (total + 8 * 12) / account.weight + 2 * len(accounts)
            assert waited[id(account)] <= bound
        waited[id(served)] = 0
