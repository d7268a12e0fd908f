"""Who may press what: the whole matrix of people, actions and places."""

from itertools import product
from typing import Literal

import pytest

from bot.permissions import Action, Actor, Verdict, judge

REQUESTER, OTHER, HERE, ELSEWHERE = 11, 12, 100, 200
PEOPLE = ("requester", "other", "moderator")
PLACES = (HERE, ELSEWHERE, None)
Press = Literal["anyone", "requester"]


def verdict(
    action: Action, who: str, *, at: int | None, job_at: int | None, press: Press
) -> Verdict:
    actor = Actor(
        user_id=REQUESTER if who == "requester" else OTHER,
        guild_id=at,
        manage_messages=who == "moderator",
    )
    return judge(action, actor, requester_id=REQUESTER, guild_id=job_at, press=press)


def expected(action: Action, who: str, *, at: int | None, job_at: int | None, press: Press) -> str:
    """Say in other words what the rules are."""
    if who == "requester":
        return "yes"
    if job_at is None or at != job_at:
        return "foreign"
    if action in (Action.CANCEL, Action.KEEP, Action.DELETE, Action.DELETE_SURE):
        return "yes" if who == "moderator" else "not_yours"
    harmless = (Action.INFO, Action.SHOW, Action.FAVOURITE, Action.REPORT)
    if press == "requester" and action not in harmless:
        return "not_yours"
    return "yes"


CASES = list(product(Action, PEOPLE, PLACES, (HERE, None), ("anyone", "requester")))


@pytest.mark.parametrize(("action", "who", "at", "job_at", "press"), CASES)
def test_the_matrix(
    action: Action, who: str, at: int | None, job_at: int | None, press: Press
) -> None:
    told = verdict(action, who, at=at, job_at=job_at, press=press)
    assert told == expected(action, who, at=at, job_at=job_at, press=press)


def test_the_matrix_is_whole() -> None:
    assert len(CASES) >= 196


def test_a_job_of_direct_messages_is_nobody_elses() -> None:
    for action in Action:
        assert verdict(action, "moderator", at=None, job_at=None, press="anyone") == "foreign"
