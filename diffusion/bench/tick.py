"""What a tick costs beside the network, and what strictness, previews and LoRAs cost.

The overhead is a tick whose network answers at once, as a share of a real one; a preview is drawn
at every step, the most anybody could ask. Promises: real jobs through the machine and the engine as
they are; sides in turn.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from diffusion.bench.instant import always_full, instant
from diffusion.bench.loras import with_loras
from diffusion.bench.report import Figure, Report, percentile, ratios, seconds
from diffusion.bench.subjects import build, job_params, pick_device, side_for
from diffusion.bench.timing import in_turn, settle
from diffusion.engine import Engine
from diffusion.errors import DiffusionError
from diffusion.exact import Deterministic
from diffusion.machine import Machine
from diffusion.model import Model
from diffusion.params import Params

LORAS: Final = 8
_BATCH: Final = 16
_TICK: Final = 0.001
# A preview may not make anything slower: this many are drawn one after another and averaged.
_PREVIEWS: Final = 20


def tick(
    model: str = "emoji",
    *,
    latent: int | None = None,
    steps: int = 20,
    rounds: int = 5,
    device: str = "auto",
) -> Report:
    """Measure everything around the forward pass, each figure `rounds` times. Raises BenchError."""
    chosen = pick_device(device)
    subject = build(model, chosen)
    side = side_for(subject, latent)
    params = job_params(subject, steps=max(3, steps), width=side, height=side)
    overhead, real = _overhead(subject, params, rounds)
    figures = [
        overhead,
        *_lag(subject, params, rounds),
        _strict(subject, params, rounds),
        _previews(subject, params, rounds, real),
        _loras(subject, params, rounds),
    ]
    return Report(
        command=f"easel bench tick --model {model} --steps {params.steps}",
        model=model,
        device=chosen.description,
        figures=tuple(figures),
        facts={"tick_seconds": real, "rows": 2 * params.images, "steps": params.steps},
    )


def tick_times(model: Model, params: Params) -> list[float]:
    """Paint one job; return the seconds of the ticks that did nothing but a pass over all of it.

    The first and the last are left out: they encode and decode beside it.
    """
    machine = Machine(max_batch=2 * params.images)
    machine.add(model, params)
    times, told = [], 0
    while machine.busy:
        settle(model.device)
        began = time.perf_counter()
        answers = machine.tick()
        settle(model.device)
        spent = time.perf_counter() - began
        for _, answer in answers:
            if isinstance(answer, DiffusionError):
                raise answer
            told = answer.index
        if answers and 1 < told < params.steps - 1:
            times.append(spent)
    return times


def _overhead(model: Model, params: Params, rounds: int) -> tuple[Figure, float]:
    """Return the share of a tick that is not the network, and the seconds of a real tick."""
    # The knee of a network that takes no time says nothing: both fill their passes.
    model, empty = always_full(model), always_full(instant(model))
    for each in (model, empty):
        # Batch sizes are tried before they are used (see `exact`).
        tick_times(each, params)
    shares, real, bare = [], [], []
    for _ in range(rounds):
        real.append(statistics.median(tick_times(model, params)))
        bare.append(statistics.median(tick_times(empty, params)))
        shares.append(100 * bare[-1] / real[-1])
    figure = Figure(
        name="overhead of a tick outside the network",
        values=tuple(shares),
        unit="%",
        note=f"{seconds(statistics.median(bare))} of {seconds(statistics.median(real))}, "
        f"{2 * params.images} rows",
    )
    return figure, statistics.median(real)


def _lag(model: Model, params: Params, rounds: int) -> list[Figure]:
    """Return the event loop's lag while the engine paints, beside that of an idle loop."""
    idle, busy, worst = asyncio.run(_lags(model, params, rounds))
    return [
        Figure(
            name="event loop lag p99 while painting, of an idle loop's",
            values=ratios(busy, idle),
            note=f"{seconds(statistics.median(busy))} against {seconds(statistics.median(idle))}, "
            f"at most {seconds(worst)}",
        )
    ]


async def _lags(
    model: Model, params: Params, rounds: int
) -> tuple[list[float], list[float], float]:
    idle, busy, worst = [], [], 0.0
    async with Engine({params.model: model}, max_batch=_BATCH) as engine:

        async def paint() -> None:
            async for _ in engine.submit(params):
                pass

        await paint()
        for _ in range(rounds):
            began = time.perf_counter()
            lags = await _while(paint())
            spent = time.perf_counter() - began
            busy.append(percentile(lags, 0.99))
            worst = max(worst, *lags)
            idle.append(percentile(await _while(asyncio.sleep(spent)), 0.99))
    return idle, busy, worst


async def _while(work: Coroutine[Any, Any, None]) -> list[float]:
    """Return by how much a 1 ms ticker was late, tick by tick, while something went on."""
    task = asyncio.create_task(work)
    lags = []
    while True:
        due = time.perf_counter() + _TICK
        await asyncio.sleep(_TICK)
        lags.append(max(1e-7, time.perf_counter() - due))
        if task.done():
            await task
            return lags


def _strict(model: Model, params: Params, rounds: int) -> Figure:
    """Return how much of the fast mode's throughput is left in strict mode."""
    jobs = [replace(params, seed=100 * number) for number in range(2)]
    found = in_turn(
        {
            "strict": lambda: paint_all(model, jobs, deterministic="strict"),
            "fast": lambda: paint_all(model, jobs, deterministic="fast"),
        },
        rounds=rounds,
        device=model.device,
    )
    shares = tuple(100 * value for value in ratios(found["fast"], found["strict"]))
    note = f"{len(jobs)} jobs of {params.images}"
    return Figure(
        name="throughput in strict mode, of fast mode's",
        values=shares,
        unit="%",
        goal="≥ 90",
        note=note,
    )


def _previews(model: Model, params: Params, rounds: int, real: float) -> Figure:
    """Return what drawing a preview at every step takes, as a share of the ticks between."""
    machine = Machine(max_batch=_BATCH)
    machine.add(model, params)
    step = None
    while step is None:
        step = next((a for _, a in machine.tick() if not isinstance(a, DiffusionError)), None)
    step.preview()
    shares = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(_PREVIEWS):
            step.preview()
        shares.append(100 * (time.perf_counter() - began) / _PREVIEWS / real)
    return Figure(
        name="a preview at every step, of the time between two",
        values=tuple(shares),
        unit="%",
        goal="≤ 2",
        note=f"{seconds(statistics.median(shares) / 100 * real)} each, off the loop and the device",
    )


def _loras(model: Model, params: Params, rounds: int) -> Figure:
    """Return how much throughput eight jobs keep when each has a LoRA of its own."""
    with tempfile.TemporaryDirectory(prefix="easel-loras-") as folder:
        styled, names = with_loras(model, Path(folder), LORAS)
        single = replace(params, images=1)
        plain = [replace(single, seed=100 * number) for number in range(LORAS)]
        own = [
            replace(job, prompt=f"{job.prompt} <lora:{name}:0.8>")
            for job, name in zip(plain, names, strict=True)
        ]
        found = in_turn(
            {"plain": lambda: paint_all(styled, plain), "own": lambda: paint_all(styled, own)},
            rounds=rounds,
            device=model.device,
        )
    shares = tuple(100 * value for value in ratios(found["plain"], found["own"]))
    return Figure(
        name=f"throughput with {LORAS} different LoRAs, of none",
        values=shares,
        unit="%",
        goal="≥ 80",
        note=f"{LORAS} jobs of 1",
    )


def paint_all(
    model: Model,
    jobs: Sequence[Params],
    *,
    deterministic: Deterministic = "strict",
) -> int:
    """Paint jobs together to their end; return how many pictures that were."""
    machine = Machine(max_batch=_BATCH, deterministic=deterministic)
    for params in jobs:
        machine.add(model, params)
    painted = 0
    while machine.busy:
        for _, answer in machine.tick():
            if isinstance(answer, DiffusionError):
                raise answer
            painted += len(answer.pictures or ())
    return painted
