"""Estimates: what is learned of steps, and that what is promised happens, in a simulated device."""

import random
from dataclasses import dataclass, field

import pytest

from bot.estimates import Estimator, Kind, Work, work_of
from bot.queue import FairQueue, Ticket
from diffusion import Params
from diffusion.fairness import WEIGHTS, Share

SIZES = ((64, 64), (256, 256), (512, 512), (768, 512), (1024, 1024))


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def params(side: int = 64, *, steps: int = 10, images: int = 4, **more: object) -> Params:
    return Params(prompt="x", width=side, height=side, steps=steps, images=images, **more)  # type: ignore[arg-type]


def run(estimates: Estimator, clock: Clock, job: str, work: Work, seconds: float) -> None:
    """Let a job run alone, every step in the same time."""
    estimates.began(job, work)
    for left in range(work.steps - 1, -1, -1):
        clock.now += seconds
        estimates.stepped(job, left)
    estimates.ended(job, finished=True)


def test_nothing_known_is_nothing_told() -> None:
    estimates = Estimator()
    assert estimates.until_result([], work_of(params())) is None
    assert estimates.median_error is None
    assert estimates.cost(work_of(params(128))) > estimates.cost(work_of(params(64))) > 0


def test_the_engines_own_pace_stands_in_until_something_is_measured() -> None:
    estimates = Estimator(prior=lambda: 0.5)
    assert estimates.until_result([], work_of(params(steps=10))) == pytest.approx(5.0)


def test_each_kind_has_a_pace_of_its_own() -> None:
    clock = Clock()
    estimates = Estimator(clock=clock)
    small, large = work_of(params(64)), work_of(params(512))
    run(estimates, clock, "a", small, 0.1)
    run(estimates, clock, "b", large, 2.0)
    assert estimates.book.step(small.kind) == pytest.approx(0.1)
    assert estimates.book.step(large.kind) == pytest.approx(2.0)


def test_an_unknown_size_is_read_off_the_nearest_known_one() -> None:
    clock = Clock()
    estimates = Estimator(clock=clock)
    run(estimates, clock, "a", work_of(params(64, images=1)), 0.1)
    assert estimates.book.step(work_of(params(64, images=4)).kind) == pytest.approx(0.4)
    assert estimates.book.step(work_of(params(128, images=1)).kind) == pytest.approx(0.4)
    other = work_of(params(64, model="other")).kind
    assert estimates.book.step(other) is None


def test_a_running_job_has_left_what_its_steps_take() -> None:
    clock = Clock()
    estimates = Estimator(clock=clock)
    work = work_of(params(64, steps=10))
    run(estimates, clock, "a", work, 1.0)
    estimates.began("b", work)
    for left in (9, 8, 7):
        clock.now += 1.0
        estimates.stepped("b", left)
    assert estimates.left("b") == pytest.approx(7.0, rel=0.05)
    clock.now += 0.5
    assert estimates.left("b") == pytest.approx(6.5, rel=0.05)
    assert estimates.left("c") is None


def test_what_runs_beside_a_job_is_taken_into_account() -> None:
    clock = Clock()
    estimates = Estimator(clock=clock, slots=lambda: 2)
    work = work_of(params(64, steps=10))
    run(estimates, clock, "a", work, 1.0)
    alone = estimates.until_result([], work)
    estimates.began("b", work)
    beside = estimates.until_result([], work)
    assert alone is not None
    assert beside is not None
    assert beside == pytest.approx(2 * alone, rel=0.1)


def test_who_comes_after_a_job_shares_the_device_where_there_is_room() -> None:
    clock = Clock()
    estimates = Estimator(clock=clock, slots=lambda: 2)
    work = work_of(params(64, steps=10))
    run(estimates, clock, "a", work, 1.0)
    assert estimates.until_result([], work, [work] * 5) == pytest.approx(20.0, rel=0.1)
    clock.now += 1.0
    estimates.began("b", work)
    estimates.began("c", work)
    full = estimates.until_result([], work)
    assert full is not None
    assert estimates.until_result([], work, [work] * 5) == pytest.approx(full + 10, rel=0.1)


def test_what_was_taken_from_the_queue_counts_before_it_begins() -> None:
    clock = Clock()
    estimates = Estimator(clock=clock, slots=lambda: 2)
    work = work_of(params(64, steps=10))
    run(estimates, clock, "a", work, 1.0)
    estimates.taken("b", work)
    beside = estimates.until_result([], work)
    assert beside == pytest.approx(20.0, rel=0.1)
    assert estimates.ended("b", finished=False) is None
    assert estimates.until_result([], work) == pytest.approx(10.0, rel=0.1)


def test_what_comes_after_the_last_step_is_learned_apart() -> None:
    """Decoding, encoding and storing take a third of this job, however many steps it has."""
    clock = Clock()
    estimates = Estimator(clock=clock)
    for number in range(3):
        estimates.began(str(number), work_of(params(64, steps=10)))
        for left in range(9, -1, -1):
            clock.now += 1.0
            estimates.stepped(str(number), left)
        clock.now += 5.0
        estimates.ended(str(number), finished=True)
    assert estimates.until_result([], work_of(params(64, steps=10))) == pytest.approx(15, rel=0.02)
    assert estimates.until_result([], work_of(params(64, steps=40))) == pytest.approx(45, rel=0.02)
    # Another size has it in proportion to its steps.
    estimates.remember(work_of(params(128, steps=10)), 40.0)
    assert estimates.until_result([], work_of(params(128, steps=10))) == pytest.approx(60, rel=0.02)
    estimates.began("on its way", work_of(params(64, steps=10)))
    for left in range(9, -1, -1):
        clock.now += 1.0
        estimates.stepped("on its way", left)
    assert estimates.left("on its way") == pytest.approx(5.0, rel=0.05)


@pytest.mark.parametrize("steps", [1, 2])
def test_few_steps_are_learned_as_a_whole(steps: int) -> None:
    clock = Clock()
    estimates = Estimator(clock=clock)
    work = work_of(params(64, steps=steps))
    for number in range(3):
        run(estimates, clock, str(number), work, 1.0)
    assert estimates.until_result([], work) == pytest.approx(steps, rel=0.02)


def test_a_company_that_shares_passes_is_learned_to_be_faster() -> None:
    clock = Clock()
    estimates = Estimator(clock=clock, slots=lambda: 2)
    work = work_of(params(64, steps=40))
    run(estimates, clock, "a", work, 1.0)
    estimates.began("b", work)
    estimates.began("c", work)
    # Two in one pass take hardly longer than one.
    for left in range(39, 0, -1):
        clock.now += 1.1
        estimates.stepped("b", left)
        estimates.stepped("c", left)
    step = estimates.book.step(work.kind)
    assert step is not None
    assert estimates.book.slowness(2) < 1.5
    assert estimates.book.slowness(2) * step == pytest.approx(1.1, rel=0.05)


def test_a_relaxed_job_waits_longer_for_its_steps_than_a_fast_one_beside_it() -> None:
    clock = Clock()
    estimates = Estimator(clock=clock, slots=lambda: 2, prior=lambda: 1.0)
    estimates.began("fast", work_of(params(steps=20)))
    estimates.began("relax", work_of(params(steps=20), "relax"))
    fast, relax = estimates.left("fast"), estimates.left("relax")
    assert fast is not None
    assert relax is not None
    assert fast == pytest.approx(20 * 5 / 4, rel=0.05)
    assert relax == pytest.approx(40, rel=0.05)


def test_variations_and_second_passes_count_the_steps_they_run() -> None:
    source = "0" * 64
    assert work_of(params(steps=20, init_image=source, strength=0.5)).steps == 10
    assert work_of(params(steps=20, hires=2.0)).steps == 30
    assert work_of(params(steps=20, stop=50)).steps == 10


def test_what_an_earlier_run_measured_is_remembered() -> None:
    estimates = Estimator()
    work = work_of(params(steps=10))
    estimates.remember(work, 5.0)
    estimates.remember(work, 0.0)
    assert estimates.until_result([], work) == pytest.approx(5.0)


def test_strangers_and_cancelled_jobs_count_for_nothing() -> None:
    clock = Clock()
    estimates = Estimator(clock=clock, prior=lambda: 1.0)
    estimates.stepped("nobody", 3)
    assert estimates.ended("nobody", finished=True) is None
    estimates.promised("a", 10.0)
    estimates.promised("b", None)
    estimates.began("a", work_of(params()))
    assert estimates.ended("a", finished=False) is None
    assert estimates.median_error is None


def test_a_promise_is_compared_with_what_happened() -> None:
    clock = Clock()
    estimates = Estimator(clock=clock)
    estimates.promised("a", 15.0)
    estimates.began("a", work_of(params()))
    clock.now += 20.0
    assert estimates.ended("a", finished=True) == pytest.approx(0.25)
    assert estimates.median_error == pytest.approx(0.25)


def test_who_always_comes_later_is_reckoned_with() -> None:
    """A job whose promise is kept half as fast as foretold, since others join it every time."""
    clock = Clock()
    estimates = Estimator(clock=clock)
    work = work_of(params(64, steps=10))
    run(estimates, clock, "first", work, 1.0)
    plain = estimates.until_result([], work)
    assert plain == pytest.approx(10.0)
    for number in range(12):
        estimates.promised(str(number), estimates.until_result([], work))
        clock.now += 10.0
        run(estimates, clock, str(number), work, 1.0)
    assert estimates.until_result([], work) == pytest.approx(20.0, rel=0.1)
    clock.now += 1.0
    estimates.began("company", work)
    alone = estimates.until_result([work], work)
    assert alone is not None
    assert alone < 40.0, "of this company nothing is known yet"


def test_how_promises_were_kept_in_one_company_says_nothing_of_another() -> None:
    """Who asks while two others wait was always told half of what it took; alone, all of it."""
    clock = Clock()
    estimates = Estimator(clock=clock, slots=lambda: 1)
    work = work_of(params(64, steps=10))
    run(estimates, clock, "first", work, 1.0)
    for number in range(12):
        told = estimates.until_result([], work, [work, work])
        estimates.promised(str(number), told, waiting=2)
        clock.now += 10.0
        run(estimates, clock, str(number), work, 1.0)
    assert estimates.until_result([], work, [work, work]) == pytest.approx(20.0, rel=0.1)
    assert estimates.until_result([], work) == pytest.approx(10.0, rel=0.1)


def test_a_long_line_is_estimated_without_going_through_it_one_by_one() -> None:
    estimates = Estimator(prior=lambda: 0.1)
    work = work_of(params(steps=10))
    told = estimates.until_result([work] * 5000, work)
    assert told == pytest.approx(5001.0, rel=0.02)


@dataclass(slots=True)
class Painting:
    """A job on the simulated device; `rest` is seconds of the device alone until the next step."""

    work: Work
    left: int
    rest: float


@dataclass(slots=True)
class Device:
    """A device that shares its seconds by weight, and is more than one job fast in company.

    Its steps take what a network takes: something fixed, and a share for every pixel, with noise.
    Before the first step it reads the words, after the last it decodes.
    """

    source: random.Random
    clock: Clock
    running: dict[str, Painting] = field(default_factory=dict)

    def step_seconds(self, kind: Kind) -> float:
        steady = 0.02 + 0.4 * kind.area / (512 * 512)
        return steady * self.source.lognormvariate(0.0, 0.12)

    def start(self, job: str, work: Work) -> None:
        reading = 0.05 + 0.2 * self.source.random()
        self.running[job] = Painting(work, work.steps, reading + self.step_seconds(work.kind))

    def rate(self, painting: Painting) -> float:
        weights = [WEIGHTS[each.work.share] for each in self.running.values()]
        gain = 1.0 + 0.25 * (1 - 1 / len(weights))
        return gain * WEIGHTS[painting.work.share] / sum(weights)

    def until_step(self) -> float:
        waits = (each.rest / self.rate(each) for each in self.running.values())
        return min(waits, default=float("inf"))

    def pass_time(self, seconds: float) -> list[str]:
        """Work for a while; return whose step is done."""
        rates = {job: self.rate(each) for job, each in self.running.items()}
        done = []
        for job, each in self.running.items():
            each.rest -= seconds * rates[job]
            if each.rest <= 1e-9:
                each.left -= 1
                each.rest = self.step_seconds(each.work.kind)
                done.append(job)
        self.clock.now += seconds
        return done


SLOTS = 4


@dataclass(slots=True)
class Room:
    """A day of a community at the device: who comes, who waits, what is promised."""

    source: random.Random
    clock: Clock = field(default_factory=Clock)
    queue: FairQueue = field(default_factory=FairQueue)
    number: int = 0
    promised: int = 0
    waited: int = 0

    async def live(self, jobs: int) -> Estimator:
        estimates = Estimator(clock=self.clock, slots=lambda: SLOTS, prior=lambda: 0.3)
        device, works = Device(self.source, self.clock), dict[str, Work]()
        arrival = self.clock.now
        finished = 0
        while finished < jobs:
            wait = min(device.until_step(), max(0.0, arrival - self.clock.now))
            for job in device.pass_time(wait):
                left = device.running[job].left
                estimates.stepped(job, left)
                if left == 0:
                    del device.running[job]
                    self.queue.done(job)
                    estimates.ended(job, finished=True)
                    finished += 1
            if self.clock.now >= arrival - 1e-9 and self.number < jobs:
                self.come(estimates, works)
                arrival = self.clock.now + self.source.expovariate(1 / 45.0)
            elif self.number >= jobs:
                arrival = float("inf")
            while len(device.running) < SLOTS and len(self.queue):
                job = await self.queue.get()
                device.start(job, works[job])
                estimates.began(job, works[job])
        return estimates

    def come(self, estimates: Estimator, works: dict[str, Work]) -> None:
        self.number += 1
        width, height = self.source.choice(SIZES)
        asked = Params(
            prompt="x",
            width=width,
            height=height,
            steps=self.source.choice((8, 20, 30, 50)),
            images=self.source.choice((1, 2, 4)),
            guidance_scale=self.source.choice((1.0, 7.5)),
        )
        share: Share = self.source.choices(("draft", "fast", "relax"), (1, 8, 1))[0]
        work = work_of(asked, share)
        ticket = Ticket(
            job_id=f"j{self.number}",
            requester_id=self.source.randrange(8),
            seconds=estimates.cost(work),
            share=share,
            work=work,
        )
        ahead, behind = self.queue.around(ticket)
        told = estimates.until_result(ahead, work, behind)
        estimates.promised(ticket.job_id, told, waiting=len(ahead) + len(behind))
        self.promised += told is not None
        self.waited += len(self.queue) > 0
        works[ticket.job_id] = work
        self.queue.add(ticket)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_half_of_all_promises_are_less_than_a_fifth_off(seed: int) -> None:
    room = Room(random.Random(seed))  # noqa: S311 - a seeded day
    estimates = await room.live(300)
    assert room.promised == 300
    assert room.waited > 60
    assert estimates.median_error is not None
    assert estimates.median_error < 0.2
