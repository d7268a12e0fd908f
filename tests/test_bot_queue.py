"""The order of the waiting: fair between people, oldest first within one, and no job twice."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bot.queue import FairQueue

ALICE, BOB, CAROL = 1, 2, 3


def filled(*pairs: tuple[str, int], fair: bool = True) -> FairQueue:
    queue = FairQueue(fair=lambda: fair)
    for job_id, requester in pairs:
        queue.put(job_id, requester)
    return queue


async def drained(queue: FairQueue) -> list[str]:
    return [await queue.get() for _ in range(len(queue))]


async def test_people_take_turns() -> None:
    queue = filled(("a1", ALICE), ("a2", ALICE), ("a3", ALICE), ("b1", BOB), ("c1", CAROL))
    assert list(queue.order()) == ["a1", "b1", "c1", "a2", "a3"]
    assert await drained(queue) == ["a1", "b1", "c1", "a2", "a3"]


async def test_who_was_served_goes_to_the_end_of_the_line() -> None:
    queue = filled(("a1", ALICE), ("a2", ALICE), ("b1", BOB))
    assert await queue.get() == "a1"
    queue.put("c1", CAROL)
    assert await drained(queue) == ["b1", "a2", "c1"]


async def test_by_arrival_when_the_settings_say_so() -> None:
    queue = filled(("a1", ALICE), ("a2", ALICE), ("b1", BOB), fair=False)
    assert queue.next_position(CAROL) == 4
    assert await drained(queue) == ["a1", "a2", "b1"]


async def test_a_waiter_is_woken_by_the_first_job() -> None:
    queue = FairQueue()
    waiter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiter.done()
    queue.put("a1", ALICE)
    assert await waiter == "a1"
    assert len(queue) == 0


async def test_a_cancelled_waiter_takes_nothing() -> None:
    queue = FairQueue()
    waiter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    waiter.cancel()
    queue.put("a1", ALICE)
    await asyncio.gather(waiter, return_exceptions=True)
    assert await queue.get() == "a1"


def test_a_job_waits_once() -> None:
    queue = filled(("a1", ALICE), ("a1", ALICE))
    assert len(queue) == 1
    assert "a1" in queue


def test_discard_takes_a_job_out_and_ignores_strangers() -> None:
    queue = filled(("a1", ALICE), ("a2", ALICE), ("b1", BOB))
    queue.discard("a1")
    queue.discard("nobody")
    assert list(queue.order()) == ["a2", "b1"]
    assert queue.position("a1") is None
    assert queue.position("b1") == 2


requests = st.lists(st.integers(min_value=1, max_value=4), max_size=24)


@given(requests, st.integers(min_value=1, max_value=5))
def test_the_foretold_position_is_the_position(people: list[int], newcomer: int) -> None:
    queue = filled(*((f"j{number}", person) for number, person in enumerate(people)))
    foretold = queue.next_position(newcomer)
    queue.put("new", newcomer)
    assert queue.position("new") == foretold


@given(requests)
def test_nobody_waits_for_two_of_anothers(people: list[int]) -> None:
    """Between two jobs of one person, while others wait, each of the others is served once."""
    queue = filled(*((f"j{number}", person) for number, person in enumerate(people)))
    owner = {f"j{number}": person for number, person in enumerate(people)}
    left = Counter(people)
    served: Counter[int] = Counter()
    for job_id in queue.order():
        person = owner[job_id]
        for other, waiting in left.items():
            if waiting:
                assert served[person] <= served[other]
        served[person] += 1
        left[person] -= 1
    assert not +left


@given(requests)
def test_the_order_shown_is_the_order_taken(people: list[int]) -> None:
    queue = filled(*((f"j{number}", person) for number, person in enumerate(people)))
    shown = list(queue.order())
    assert asyncio.run(drained(queue)) == shown
    assert sorted(shown) == sorted(f"j{number}" for number in range(len(people)))
