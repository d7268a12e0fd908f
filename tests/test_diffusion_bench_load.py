"""The arithmetic of the load, on made-up people, and who is served in which order."""

import asyncio

import pytest

from diffusion.bench.errors import BenchError
from diffusion.bench.load import DIFFUSERS, EASEL, IN_ORDER, Measured, Run, Workload
from diffusion.bench.population import Arrival, JobClass
from diffusion.bench.serving import OneByOne, Outcome, Seen, replay
from diffusion.params import Params

DRAFT, LONG = JobClass("draft", 1, 8, 8), JobClass("long", 4, 8, 8)


def arrival(at: float, job_class: JobClass = DRAFT) -> Arrival:
    params = Params(prompt=job_class.kind, width=8, height=8, images=job_class.images)
    return Arrival(at=at, params=params, share="fast", job_class=job_class)


def run(draft: float, long: float) -> Run:
    """One draft and one long job that took so long, the preview half of it."""
    outcomes = [
        Outcome(arrival=arrival(0.0, kind), preview=spent / 2, grid=spent, pictures=kind.images)
        for kind, spent in ((DRAFT, draft), (LONG, long))
    ]
    return Run(outcomes=tuple(outcomes), seconds=max(draft, long))


def test_latencies_are_multiples_of_the_class_alone() -> None:
    runs = {EASEL: [run(1.0, 12.0)], IN_ORDER: [run(10.0, 10.0)], DIFFUSERS: [run(20.0, 24.0)]}
    found = Measured(alone={DRAFT: 0.5, LONG: 8.0}, bursts=runs, runs={0.7: runs}, capacity=2.0)
    named = {figure.name: figure for figure in found.figures()}
    assert named["70% load, Easel: grid p50"].values == (2.0,)
    assert named["70% load, Easel: grid p50"].goal == "≤ 1.6"
    assert named["70% load, one at a time: grid p99"].values == (20.0,)
    assert named["70% load, Easel: first preview p99"].values == (1.0,)
    assert named["70% load, one at a time: worst wait of a draft"].values == (20.0,)
    ratio = named["70% load: draft p95 to the grid, Easel / one at a time"]
    assert ratio.values == (0.1,) and ratio.goal == "≤ 0.2"
    burst = named["pictures a second of a burst, Easel / diffusers"]
    assert burst.median == pytest.approx(2.0)
    assert found.facts()["pictures"] == {"0.7": {EASEL: [5], IN_ORDER: [5], DIFFUSERS: [5]}}


def test_without_drafts_there_is_nothing_to_say_of_them() -> None:
    only = Run(outcomes=run(1.0, 2.0).outcomes[1:], seconds=2.0)
    sides = {EASEL: [only], IN_ORDER: [only]}
    found = Measured(alone={LONG: 1.0}, bursts=sides, runs={0.5: sides}, capacity=1.0)
    assert not [figure for figure in found.figures() if "draft" in figure.name]


@pytest.mark.parametrize(
    "wrong", [{"rates": ()}, {"rates": (3.0,)}, {"duration": 0.0}, {"rounds": 0}, {"shrink": 0}]
)
def test_workloads_that_are_none(wrong: dict[str, object]) -> None:
    with pytest.raises(BenchError):
        Workload(**wrong)  # type: ignore[arg-type]


def test_the_options_repeat_the_workload() -> None:
    assert Workload().options == "--rate 0.5,0.7,0.95 --seconds 120"
    workload = Workload(rates=(0.5,), duration=2.5, rounds=3, seed=4, shrink=5)
    assert workload.options == "--rate 0.5 --seconds 2.5 --seed 4 --rounds 3 --shrink 5"


class Slow:
    """Takes a little for everybody and remembers who was there, and with how many others."""

    def __init__(self) -> None:
        self.order: list[float] = []
        self.most = self.now = 0

    async def serve(self, arrival: Arrival) -> Seen:
        self.now += 1
        self.most = max(self.most, self.now)
        self.order.append(arrival.at)
        await asyncio.sleep(0.05)
        self.now -= 1
        time = asyncio.get_running_loop().time()
        return Seen(preview=time, grid=time, pictures=1)


async def test_one_by_one_keeps_the_order_and_the_clock_runs_from_the_arrival() -> None:
    slow = Slow()
    jobs = [arrival(0.001 * number) for number in range(4)]
    outcomes, seconds = await replay(OneByOne(slow), jobs)
    assert slow.order == [job.at for job in jobs] and slow.most == 1
    waits = [outcome.grid for outcome in outcomes]
    # The last one waited for everybody before it.
    assert waits == sorted(waits) and waits[-1] > 0.15
    assert seconds == pytest.approx(jobs[-1].at + waits[-1])


async def test_others_are_served_together() -> None:
    slow = Slow()
    await replay(slow, [arrival(0.0) for _ in range(4)])
    assert slow.most == 4
