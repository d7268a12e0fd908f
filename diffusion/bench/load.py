"""Many people: Poisson arrivals at shares of the capacity, the same ones for every server.

Capacity is how many jobs a second Easel finishes of a burst of the same population, measured first.
Latencies are multiples of the time that a job of the same class (steps, pictures, size) takes alone
in Easel, median of the same run, for every server; so they can be laid side by side. Promises: the
servers take turns within every rate; nobody's jobs are dropped, however long they take.
"""

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from diffusion.bench.errors import BenchError
from diffusion.bench.peer import Peer
from diffusion.bench.population import Arrival, JobClass, Population, pictures
from diffusion.bench.report import Figure, Report, percentile, ratios
from diffusion.bench.serving import OneByOne, Outcome, PeerServer, Server, Together, replay
from diffusion.bench.subjects import build, pick_device, side_for
from diffusion.engine import Engine
from diffusion.model import Model

EASEL: Final = "Easel"
IN_ORDER: Final = "one at a time"
DIFFUSERS: Final = "diffusers"
_SHARES: Final[Mapping[str, float]] = MappingProxyType({"p50": 0.5, "p95": 0.95, "p99": 0.99})
_ALONE: Final = 2
# A burst of fewer jobs says little of a mixture.
_LEAST_BURST: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What comes. `rates` are shares of the measured capacity; people come for `duration` seconds
    at each, `rounds` times to every server; `shrink` divides everybody's steps, for a quick look.

    Raises BenchError for what cannot be measured.
    """

    rates: tuple[float, ...] = (0.5, 0.7, 0.95)
    duration: float = 120.0
    rounds: int = 1
    seed: int = 1
    shrink: int = 1

    def __post_init__(self) -> None:
        for rate in self.rates:
            if not 0 < rate <= 2:
                raise BenchError(f"a rate is {rate:g}; give shares of the capacity, 0 to 2")
        if not self.rates or self.duration <= 0 or min(self.rounds, self.shrink) < 1:
            raise BenchError("give at least one rate, one round and a duration above 0 seconds")

    @property
    def options(self) -> str:
        """The options of the command that repeats it."""
        rates = ",".join(f"{rate:g}" for rate in self.rates)
        more = f" --seed {self.seed}" if self.seed != 1 else ""
        more += f" --rounds {self.rounds}" if self.rounds > 1 else ""
        more += f" --shrink {self.shrink}" if self.shrink > 1 else ""
        return f"--rate {rates} --seconds {self.duration:g}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one server made of one round of arrivals at one rate; `seconds` until the last grid."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return sum(outcome.pictures for outcome in self.outcomes) / self.seconds


def load(
    model: str = "emoji",
    workload: Workload | None = None,
    *,
    latent: int | None = None,
    device: str = "auto",
    peer: bool = True,
    max_batch: int = 16,
) -> Report:
    """Let a mixed population come at each rate, to every server in turn.

    `latent`: side of the larger pictures in latent positions; `peer` False leaves diffusers out;
    `max_batch` is the most rows of a pass. Raises BenchError.
    """
    workload = workload or Workload()
    chosen = pick_device(device)
    subject = build(model, chosen)
    side = side_for(subject, latent)
    population = Population(subject, side=side, seed=workload.seed, shrink=workload.shrink)
    theirs = PeerServer(Peer(subject)) if peer else None
    try:
        measured = asyncio.run(_measure(subject, population, theirs, workload, max_batch))
    finally:
        if theirs is not None:
            theirs.close()
    return Report(
        command=f"easel bench load --model {model} {workload.options}",
        model=model,
        device=chosen.description,
        figures=tuple(measured.figures()),
        facts=measured.facts(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Everything that was seen. `bursts`: each server's run of the burst; `runs`: by rate and
    server, round by round; `alone`: the seconds of each class.
    """

    alone: Mapping[JobClass, float]
    bursts: Mapping[str, Sequence[Run]]
    runs: Mapping[float, Mapping[str, Sequence[Run]]]
    capacity: float

    def figures(self) -> list[Figure]:
        """Return the figures: throughput first, then every rate."""
        found = _throughput("pictures a second of a burst", self.bursts)
        for rate, sides in self.runs.items():
            found += self._at(rate, sides)
        return found

    def _at(self, rate: float, sides: Mapping[str, Sequence[Run]]) -> list[Figure]:
        head = f"{rate:.0%} load"
        found = _throughput(f"{head}: pictures a second", sides)
        for what, title in (("preview", "first preview"), ("grid", "grid")):
            for name, runs in sides.items():
                group = f"{head}, {name}: {title}, of the solo time"
                found += [
                    Figure(
                        name=f"{head}, {name}: {title} {label}",
                        values=tuple(percentile(self.multiples(run, what), p) for run in runs),
                        goal=_goal(rate, name, what, label),
                        note=f"{len(runs[0].outcomes)} jobs" if label == "p50" else "",
                        group=group,
                        label=label,
                    )
                    for label, p in _SHARES.items()
                ]
        return found + self._drafts(head, sides)

    def _drafts(self, head: str, sides: Mapping[str, Sequence[Run]]) -> list[Figure]:
        """Return the drafts' worst waits, and how Easel's p95 compares; few arrivals have none."""
        waits = {
            name: [self.multiples(run, "grid", "draft") for run in runs]
            for name, runs in sides.items()
        }
        if not all(all(rounds) for rounds in waits.values()):
            return []
        worst = f"{head}: worst wait of a draft, of the solo time"
        found = [
            Figure(
                name=f"{head}, {name}: worst wait of a draft",
                values=tuple(max(each) for each in rounds),
                group=worst,
                label=name,
            )
            for name, rounds in waits.items()
        ]
        p95 = {name: [percentile(each, 0.95) for each in rounds] for name, rounds in waits.items()}
        return found + [
            Figure(
                name=f"{head}: draft p95 to the grid, {EASEL} / {name}",
                values=ratios(p95[EASEL], values),
                goal="≤ 0.2",
            )
            for name, values in p95.items()
            if name != EASEL
        ]

    def multiples(self, run: Run, what: str, kind: str | None = None) -> list[float]:
        """Return each job's time to its "preview" or "grid", as a multiple of its class alone."""
        return [
            (o.preview if what == "preview" else o.grid) / self.alone[o.arrival.job_class]
            for o in run.outcomes
            if kind is None or o.arrival.job_class.kind == kind
        ]

    def facts(self) -> dict[str, object]:
        """Return what was counted."""
        return {
            "capacity_jobs_per_second": self.capacity,
            "solo_seconds": {each.label: value for each, value in self.alone.items()},
            "jobs": {
                f"{rate:g}": {name: [len(run.outcomes) for run in runs] for name, runs in s.items()}
                for rate, s in self.runs.items()
            },
            "pictures": {
                f"{rate:g}": {
                    name: [sum(o.pictures for o in run.outcomes) for run in runs]
                    for name, runs in s.items()
                }
                for rate, s in self.runs.items()
            },
        }


async def _measure(
    model: Model,
    population: Population,
    peer: PeerServer | None,
    workload: Workload,
    max_batch: int,
) -> Measured:
    classes = population.classes()
    alias = classes[0].params.model
    async with Engine({alias: model}, max_batch=max_batch) as engine:
        together = Together(engine)
        servers: dict[str, Server] = {EASEL: together, IN_ORDER: OneByOne(together)}
        if peer is not None:
            servers[DIFFUSERS] = OneByOne(peer)
        alone = await _solo_times(together, classes)
        mean = statistics.mean(alone.values())
        burst = population.burst(max(_LEAST_BURST, round(workload.duration / 2 / mean)))
        # Once unmeasured: batch sizes are tried, and their speed is found out.
        await replay(together, burst)
        bursts = await _in_turn(servers, burst, workload.rounds)
        capacity = len(burst) / statistics.median(run.seconds for run in bursts[EASEL])
        runs = {}
        for rate in workload.rates:
            arrivals = population.poisson(rate * capacity, workload.duration)
            runs[rate] = await _in_turn(servers, arrivals, workload.rounds)
    return Measured(alone=alone, bursts=bursts, runs=runs, capacity=capacity)


async def _in_turn(
    servers: Mapping[str, Server], arrivals: Sequence[Arrival], rounds: int
) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            outcomes, seconds = await replay(server, arrivals)
            if sum(outcome.pictures for outcome in outcomes) != pictures(arrivals):
                raise BenchError(f"{name} painted fewer pictures than were asked for")
            found[name].append(Run(outcomes=tuple(outcomes), seconds=seconds))
    return found


async def _solo_times(server: Server, jobs: Sequence[Arrival]) -> dict[JobClass, float]:
    """Return the seconds of a job of every class alone: the lowest, the first left out."""
    times: dict[JobClass, list[float]] = {job.job_class: [] for job in jobs}
    for _ in range(1 + _ALONE):
        for job in jobs:
            times[job.job_class].append((await replay(server, [job]))[1])
    return {each: min(found[1:]) for each, found in times.items()}


def _throughput(what: str, sides: Mapping[str, Sequence[Run]]) -> list[Figure]:
    """Compare Easel's pictures a second with everybody else's."""
    ours = [run.rate for run in sides[EASEL]]
    return [
        Figure(
            name=f"{what}, {EASEL} / {name}",
            values=ratios(ours, [run.rate for run in runs]),
            goal="≥ 1",
            note=f"{statistics.median(ours):.2f} against "
            f"{statistics.median(run.rate for run in runs):.2f}",
        )
        for name, runs in sides.items()
        if name != EASEL
    ]


def _goal(rate: float, name: str, what: str, label: str) -> str:
    if name != EASEL or what != "grid" or round(rate, 2) != 0.7:
        return ""
    return {"p50": "≤ 1.6", "p99": "≤ 3"}.get(label, "")
