"""The order of the waiting: fair between people, oldest first within one, and no job twice."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.estimates import work_of
from bot.queue import EVERYWHERE, PATIENCE, FairQueue, Ticket, share_of
from diffusion import Params

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


@pytest.mark.parametrize("fair", [True, False])
async def test_a_held_job_has_its_place_and_is_not_taken(fair: bool) -> None:
    queue = FairQueue(fair=lambda: fair)
    queue.add(Ticket(job_id="a1", requester_id=ALICE), held=True)
    assert queue.next_position(BOB) == 2
    waiter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiter.done()
    queue.put("b1", BOB)
    assert await waiter == "b1"
    queue.release("a1")
    assert await queue.get() == "a1"
    assert queue.taken("a1") is not None
    queue.done("a1")
    assert queue.taken("a1") is None


async def test_a_held_job_that_is_discarded_is_held_no_more() -> None:
    queue = FairQueue()
    queue.add(Ticket(job_id="a1", requester_id=ALICE), held=True)
    queue.discard("a1")
    queue.put("a1", ALICE)
    assert await queue.get() == "a1"


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


def ticket(job_id: str, requester: int, **more: object) -> Ticket:
    return Ticket(job_id=job_id, requester_id=requester, **more)  # type: ignore[arg-type]


def tickets(*given: Ticket, fair: bool = True) -> FairQueue:
    queue = FairQueue(fair=lambda: fair)
    for each in given:
        queue.add(each)
    return queue


async def test_people_share_the_seconds_and_not_the_number_of_jobs() -> None:
    """Ten seconds for one are ten jobs of a second for another."""
    large = [ticket(f"a{number}", ALICE, seconds=10.0) for number in range(3)]
    small = [ticket(f"b{number}", BOB, seconds=1.0) for number in range(30)]
    queue = tickets(*large, *small)
    served = Counter[int]()
    for job_id in (await drained(queue))[:22]:
        served[ALICE if job_id.startswith("a") else BOB] += 10 if job_id.startswith("a") else 1
    assert abs(served[ALICE] - served[BOB]) <= 10


async def test_what_a_job_cost_beyond_its_estimate_is_paid_later() -> None:
    queue = tickets(ticket("a1", ALICE), ticket("a2", ALICE), ticket("b1", BOB), ticket("b2", BOB))
    assert await queue.get() == "a1"
    queue.done("a1", 5.0)
    assert await drained(queue) == ["b1", "b2", "a2"]


async def test_a_debt_is_remembered_by_those_who_leave_in_between() -> None:
    queue = tickets(ticket("a1", ALICE), ticket("b1", BOB), ticket("b2", BOB))
    assert await queue.get() == "a1"
    queue.done("a1", 5.0)
    queue.add(ticket("a2", ALICE))
    assert await drained(queue) == ["b1", "b2", "a2"]


async def test_a_job_that_never_ran_costs_nothing() -> None:
    queue = tickets(
        ticket("a1", ALICE, seconds=5.0),
        ticket("a2", ALICE),
        *(ticket(f"b{number}", BOB, seconds=6.0) for number in range(3)),
    )
    assert await queue.get() == "a1"
    queue.done("a1", 0.0)
    assert await queue.get() == "a2"


async def test_nobody_saves_up_credit_by_staying_away() -> None:
    queue = tickets(*(ticket(f"a{number}", ALICE) for number in range(5)))
    for _ in range(4):
        await queue.get()
    for number in range(4):
        queue.add(ticket(f"b{number}", BOB))
    assert (await drained(queue))[:2] == ["a4", "b0"]


async def test_drafts_go_before_fast_jobs_and_those_before_relaxed_ones() -> None:
    queue = tickets(
        ticket("r", ALICE, share="relax"), ticket("f", BOB), ticket("d", CAROL, share="draft")
    )
    assert list(queue.order()) == ["d", "f", "r"]
    assert queue.position("r") == 3
    assert await drained(queue) == ["d", "f", "r"]


@pytest.mark.parametrize("fair", [True, False])
async def test_no_class_is_passed_over_for_ever(fair: bool) -> None:
    queue = tickets(ticket("relaxed", ALICE, share="relax"), ticket("fast", ALICE), fair=fair)
    for number in range(40):
        queue.add(ticket(f"d{number}", BOB, share="draft"))
    order = list(queue.order())
    assert order.index("fast") <= PATIENCE["fast"]
    assert order.index("relaxed") <= PATIENCE["relax"] + 1
    assert await drained(queue) == order


async def test_who_has_enough_running_waits_while_others_go_on() -> None:
    capped = [ticket(f"a{number}", ALICE, most_running=1) for number in range(3)]
    queue = tickets(*capped, ticket("b0", BOB))
    assert await queue.get() == "a0"
    assert await queue.get() == "b0"
    waiter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiter.done()
    queue.done("a0")
    assert await waiter == "a1"


async def test_a_paused_guild_waits_and_the_others_go_on() -> None:
    queue = tickets(ticket("a", ALICE, guild_id=7), ticket("b", BOB, guild_id=8))
    queue.pause(7)
    assert await queue.get() == "b"
    waiter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiter.done()
    queue.pause()
    queue.resume(7)
    await asyncio.sleep(0)
    assert not waiter.done()
    assert queue.paused == {EVERYWHERE}
    queue.resume()
    assert await waiter == "a"


def test_what_is_around_a_job_is_known_before_it_waits() -> None:
    work, long = work_of(Params(prompt="x")), work_of(Params(prompt="x", steps=90))
    queue = tickets(
        ticket("a", ALICE, work=work), ticket("b", BOB, work=work), ticket("c", BOB, work=long)
    )
    newcomer = ticket("new", CAROL, work=work)
    assert queue.position_of(newcomer) == 3
    assert queue.around(newcomer) == ([work, work], [long])
    waiting = queue.ticket("b")
    assert waiting is not None
    assert queue.around(waiting) == ([work], [long])


@pytest.mark.parametrize(
    ("details", "share"),
    [('{"share": "draft"}', "draft"), ('{"share": "turbo"}', "fast"), ("{}", "fast")],
)
def test_the_class_stands_in_the_details(details: str, share: str) -> None:
    assert share_of(details) == share


mixed = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["draft", "fast", "relax"]), st.floats(0.1, 20.0)),
    max_size=24,
)


@given(mixed, st.booleans())
def test_the_order_shown_is_the_order_taken_whatever_waits(
    asked: list[tuple[int, str, float]], fair: bool
) -> None:
    given_tickets = [
        ticket(f"j{number}", who, share=share, seconds=seconds)
        for number, (who, share, seconds) in enumerate(asked)
    ]
    queue = tickets(*given_tickets, fair=fair)
    shown = list(queue.order())
    assert asyncio.run(drained(queue)) == shown
    assert sorted(shown) == sorted(each.job_id for each in given_tickets)
