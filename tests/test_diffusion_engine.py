"""The engine: many jobs at different steps in one forward pass, one thread, cancel, failures that
stay alone.
"""

import asyncio
import gc
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from diffusion import (
    Engine,
    EngineClosedError,
    EngineDeadError,
    NumericalError,
    OutOfMemoryError,
    Params,
    ParamsError,
    Step,
    UnknownModelError,
    generate,
)
from diffusion.adapters import Matched
from diffusion.addons import Addons
from diffusion.fairness import Share
from diffusion.machine import Machine
from diffusion.model import Model
from diffusion.pace import Pace
from tests.parity.pipelines import model as parity_model
from tests.tiny import tiny_model

PARAMS = Params(prompt="a red heart", seed=5, steps=4, width=32, height=32, guidance_scale=3.0)


class Backbone(torch.nn.Module):
    """The tiny model's backbone with a gate, a diary and faults."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.config = inner.config
        self.rows: list[int] = []
        self.times: list[list[tuple[float, ...]]] = []
        self.threads: set[int] = set()
        self.gate = threading.Semaphore(10_000)
        self.entered = threading.Semaphore(0)
        self.fault: Any = None

    def time_row(self, timestep: float, *more: object) -> Tensor:
        return self.inner.time_row(timestep, *more)  # type: ignore[no-any-return, operator]

    def context_row(self, context: Tensor) -> tuple[Tensor, ...]:
        return self.inner.context_row(context)  # type: ignore[no-any-return, operator]

    def run(self, x: Tensor, times: Tensor, contexts: list[Tensor], **more: object) -> Tensor:
        self.rows.append(len(x))
        self.times.append([tuple(row.tolist()) for row in times])
        self.threads.add(threading.get_ident())
        self.entered.release()
        self.gate.acquire()
        output = self.inner.run(x, times, contexts, **more)  # type: ignore[operator]
        if self.fault is not None:
            return self.fault(x, output)  # type: ignore[no-any-return]
        return output  # type: ignore[no-any-return]


@contextmanager
def closed(backbone: Backbone) -> Iterator[None]:
    """Hold every forward pass until the end of the block."""
    backbone.gate = threading.Semaphore(0)
    try:
        yield
    finally:
        backbone.gate.release(10_000)


@pytest.fixture(autouse=True)
def no_knee(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every batch be as large as it may: how long rows take is not tested here."""
    monkeypatch.setattr(Pace, "cap", lambda _self, _kind, most: most)


def watched() -> tuple[Model, Backbone]:
    backbone = Backbone(tiny_model().backbone)
    return replace(tiny_model(), backbone=backbone), backbone  # type: ignore[arg-type]


async def finish(steps: AsyncIterator[Step]) -> tuple[Image.Image, ...]:
    pictures = None
    async for step in steps:
        pictures = step.pictures
    assert pictures is not None
    return pictures


def pixels(pictures: tuple[Image.Image, ...]) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.stack([np.asarray(picture, dtype=np.int16) for picture in pictures])


async def entered(backbone: Backbone) -> None:
    """Wait until a forward pass has begun; a broken engine must fail the test, not hang it."""
    assert await asyncio.to_thread(backbone.entered.acquire, timeout=20), "no pass has begun"


async def test_steps_arrive_in_order_and_the_last_brings_the_pictures() -> None:
    async with Engine({"emoji": tiny_model()}) as engine:
        steps = [step async for step in engine.submit(PARAMS)]
    assert [step.index for step in steps] == [1, 2, 3, 4]
    assert {step.total for step in steps} == {4}
    assert [step.pictures is None for step in steps] == [True, True, True, False]
    pictures = steps[-1].pictures
    assert pictures is not None
    assert [picture.size for picture in pictures] == [(32, 32)] * 4
    assert steps[1].preview().size == (64, 64)


async def test_jobs_at_different_steps_share_one_forward_pass() -> None:
    model, backbone = watched()
    async with Engine({"emoji": model}, max_batch=16, deterministic="fast") as engine:
        with closed(backbone):
            first = asyncio.create_task(finish(engine.submit(PARAMS)))
            await entered(backbone)
            second = asyncio.create_task(finish(engine.submit(replace(PARAMS, seed=9, steps=2))))
            # The first pass is under way with the first job alone; both share the next one.
            await asyncio.sleep(0)
            backbone.gate.release()
            await entered(backbone)
        one, two = await asyncio.gather(first, second)
    assert backbone.rows[0] == 8
    assert backbone.rows[1:] == [16, 16, 8]
    assert len(set(backbone.times[1])) == 2, "one forward pass, two different timesteps"
    assert len(backbone.threads) == 1
    assert threading.get_ident() not in backbone.threads
    alone = pixels(_alone(PARAMS))
    assert np.abs(pixels(one) - alone).max() <= 1, "company changes nothing but rounding"
    assert len(two) == 4


def _alone(params: Params) -> tuple[Image.Image, ...]:
    *_, last = generate(tiny_model(), params)
    assert last.pictures is not None
    return last.pictures


async def test_a_batch_never_has_more_rows_than_allowed_and_nobody_starves() -> None:
    model, backbone = watched()
    async with Engine({"emoji": model}, max_batch=6, deterministic="fast") as engine:
        jobs = [finish(engine.submit(replace(PARAMS, seed=seed))) for seed in range(3)]
        await asyncio.gather(*jobs)
    assert max(backbone.rows) == 6
    assert sum(backbone.rows) == 3 * 4 * 2 * 4


async def test_without_guidance_there_is_no_negative_row() -> None:
    model, backbone = watched()
    async with Engine({"emoji": model}, deterministic="fast") as engine:
        await finish(engine.submit(replace(PARAMS, guidance_scale=1.0)))
    assert backbone.rows == [4, 4, 4, 4]


async def test_shapes_that_cannot_share_take_turns() -> None:
    model, backbone = watched()
    async with Engine({"emoji": model}, deterministic="fast") as engine:
        with closed(backbone):
            square = asyncio.create_task(finish(engine.submit(PARAMS)))
            await entered(backbone)
            wide = asyncio.create_task(finish(engine.submit(replace(PARAMS, width=48))))
            await asyncio.sleep(0)
        one, two = await asyncio.gather(square, wide)
    assert backbone.rows == [8] * 8
    assert one[0].size == (32, 32)
    assert two[0].size == (48, 32)


async def test_closing_the_iterator_frees_the_rows_at_the_next_tick() -> None:
    model, backbone = watched()
    async with Engine({"emoji": model}, deterministic="fast") as engine:
        with closed(backbone):
            steps = engine.submit(replace(PARAMS, steps=50))
            first = asyncio.ensure_future(anext(steps))
            await entered(backbone)
            backbone.gate.release()
            assert (await first).index == 1
            # The second pass is under way; it is the last one of this job.
            await entered(backbone)
            await steps.aclose()
        await finish(engine.submit(replace(PARAMS, steps=1)))
    assert len(backbone.rows) == 3


async def test_numbers_that_are_not_finite_fail_their_job_alone() -> None:
    model, backbone = watched()

    def poison(x: Tensor, output: Tensor) -> Tensor:
        output = output.clone()
        # Of equals, who came first is first: these rows are the first job's.
        output[:2] = torch.nan
        return output

    async with Engine({"emoji": model}, deterministic="fast") as engine:
        with closed(backbone):
            bad = asyncio.create_task(finish(engine.submit(PARAMS)))
            await entered(backbone)
            good = asyncio.create_task(finish(engine.submit(replace(PARAMS, seed=9))))
            await asyncio.sleep(0)
            backbone.gate.release()
            await entered(backbone)
            backbone.fault = poison
            backbone.gate.release()
            await entered(backbone)
            backbone.fault = None
        with pytest.raises(NumericalError, match="not finite"):
            await bad
        assert np.abs(pixels(await good) - pixels(_alone(replace(PARAMS, seed=9)))).max() <= 1


async def test_running_out_of_memory_makes_batches_smaller_and_loses_nothing() -> None:
    model, backbone = watched()

    def small_device(x: Tensor, output: Tensor) -> Tensor:
        if len(x) > 4:
            raise torch.OutOfMemoryError("does not fit")
        return output

    backbone.fault = small_device
    async with Engine({"emoji": model}, max_batch=16, deterministic="fast") as engine:
        pictures = await finish(engine.submit(PARAMS))
    assert np.abs(pixels(pictures) - pixels(_alone(PARAMS))).max() <= 1


async def test_what_never_fits_fails_with_advice() -> None:
    model, backbone = watched()

    def no_device(x: Tensor, output: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("does not fit")

    backbone.fault = no_device
    async with Engine({"emoji": model}, deterministic="fast") as engine:
        with pytest.raises(OutOfMemoryError, match="choose a smaller size"):
            await finish(engine.submit(PARAMS))


async def test_an_unknown_fault_of_the_device_ends_the_engine_for_everybody() -> None:
    model, backbone = watched()

    def broken(x: Tensor, output: Tensor) -> Tensor:
        raise RuntimeError("CUDA error: device-side assert triggered")

    backbone.fault = broken
    async with Engine({"emoji": model}, deterministic="fast") as engine:
        with pytest.raises(EngineDeadError, match="device-side assert"):
            await finish(engine.submit(PARAMS))
        with pytest.raises(EngineDeadError):
            await finish(engine.submit(PARAMS))


async def test_an_unknown_model_is_named_before_anything_starts() -> None:
    async with Engine({"emoji": tiny_model()}) as engine:
        with pytest.raises(UnknownModelError, match="there are emoji"):
            await finish(engine.submit(replace(PARAMS, model="sdxl")))


async def test_a_closed_engine_says_so() -> None:
    engine = Engine({"emoji": tiny_model()})
    with pytest.raises(EngineClosedError):
        await finish(engine.submit(PARAMS))
    model, backbone = watched()
    async with Engine({"emoji": model}, deterministic="fast") as engine:
        with closed(backbone):
            job = asyncio.create_task(finish(engine.submit(PARAMS)))
            await entered(backbone)
            leaving = asyncio.create_task(engine.__aexit__(None, None, None))
            await asyncio.sleep(0)
        await leaving
        with pytest.raises(EngineClosedError):
            await job


def test_a_batch_that_cannot_hold_one_guided_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        Engine({"emoji": tiny_model()}, max_batch=1)


async def test_the_event_loop_is_never_held_up() -> None:
    """While a forward pass hangs, the loop goes on: the thread owns the device, not the loop."""
    model, backbone = watched()
    async with Engine({"emoji": model}, deterministic="fast") as engine:
        with closed(backbone):
            job = asyncio.create_task(finish(engine.submit(PARAMS)))
            await entered(backbone)
            turns = 0
            for _ in range(100):
                await asyncio.sleep(0)
                turns += 1
            assert turns == 100
            assert not job.done()
        await job


async def test_keeping_one_picture_frees_the_rows_of_the_others() -> None:
    model, backbone = watched()
    async with Engine({"emoji": model}, deterministic="fast") as engine:
        with closed(backbone):
            steps = engine.submit(PARAMS)
            first = asyncio.ensure_future(anext(steps))
            await entered(backbone)
            backbone.gate.release()
            assert (await first).images == (0, 1, 2, 3)
            await entered(backbone)
            steps.keep([2])
        found = [step async for step in steps]
    assert backbone.rows == [8, 8, 2, 2]
    assert found[-1].images == (2,)
    assert found[-1].pictures is not None
    assert np.abs(pixels(found[-1].pictures) - pixels(_alone(PARAMS))[2:3]).max() <= 1
    with pytest.raises(ValueError, match="close it"):
        steps.keep([])


async def test_a_paused_job_leaves_the_device_to_others_and_loses_nothing() -> None:
    model, backbone = watched()
    async with Engine({"emoji": model}) as engine:
        with closed(backbone):
            paused = engine.submit(PARAMS)
            first = asyncio.ensure_future(anext(paused))
            await entered(backbone)
            paused.pause()
        assert (await first).index == 1
        await finish(engine.submit(replace(PARAMS, seed=9)))
        paused.resume()
        pictures = [step.pictures async for step in paused][-1]
    assert pictures is not None
    assert np.array_equal(pixels(pictures), pixels(_alone(PARAMS)))


async def test_a_draft_gets_its_turn_before_a_relaxed_job_ends() -> None:
    model, backbone = watched()
    ends: list[str] = []

    async def paint(name: str, params: Params, share: Share) -> None:
        await finish(engine.submit(params, share=share))
        ends.append(name)

    async with Engine({"emoji": model}, max_batch=2) as engine:
        with closed(backbone):
            long = replace(PARAMS, steps=30)
            jobs = [asyncio.create_task(paint("long", long, "relax"))]
            await entered(backbone)
            short = replace(PARAMS, steps=2, width=48, images=1)
            jobs.append(asyncio.create_task(paint("short", short, "draft")))
            await asyncio.sleep(0)
        await asyncio.gather(*jobs)
    assert ends == ["short", "long"]


async def test_replicas_on_several_devices_share_the_jobs() -> None:
    """Each device has its thread; who comes goes where the least is left to do."""
    threads = []
    models = []
    for number in range(2):
        model, backbone = watched()
        models.append(replace(model, device=torch.device("cpu", number)))
        threads.append(backbone)
    async with Engine({"emoji": models}) as engine:
        assert engine.device == "cpu:0, float32; cpu:1, float32"
        with closed(threads[0]), closed(threads[1]):
            jobs = [asyncio.create_task(finish(engine.submit(PARAMS)))]
            await entered(threads[0])
            jobs += [asyncio.create_task(finish(engine.submit(PARAMS)))]
            await entered(threads[1])
        found = await asyncio.gather(*jobs)
    assert all(np.array_equal(pixels(pictures), pixels(_alone(PARAMS))) for pictures in found)
    assert threads[0].threads.isdisjoint(threads[1].threads)


async def test_a_submission_that_nobody_holds_is_cancelled() -> None:
    model, backbone = watched()
    async with Engine({"emoji": model}) as engine:
        with closed(backbone):
            steps = engine.submit(replace(PARAMS, steps=50))
            await entered(backbone)
            del steps
            gc.collect()
        await finish(engine.submit(replace(PARAMS, steps=1)))
    # Trials of batch sizes count, too; to its end there would be more than fifty.
    assert len(backbone.rows) < 30


async def test_files_of_loras_are_read_in_another_thread() -> None:
    model = parity_model("sd1", "folder")
    model = replace(model, addons=replace(model.addons))
    readers: list[str] = []
    read = type(model.addons).lora

    def watched_read(addons: Addons, name: str, model: Model) -> Matched:
        if not addons.has([name], []):
            readers.append(threading.current_thread().name)
        return read(addons, name, model)

    params = replace(PARAMS, prompt="a fox<lora:ink:1>", width=64, height=64, model="sd")
    with patch.object(Addons, "lora", watched_read):
        model.addons._read_loras.clear()
        async with Engine({"sd": model}) as engine:
            await finish(engine.submit(params))
            with pytest.raises(ParamsError, match="no LoRA of that name"):
                await finish(engine.submit(replace(params, prompt="a fox<lora:unheard:1>")))
    assert readers
    assert "easel" not in readers[0]


async def test_work_between_passes_takes_no_longer_than_a_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten jobs come at once: their prompts are encoded between several passes, not before one."""
    model, backbone = watched()
    machine = Machine(max_batch=16)
    clock = itertools.count()
    # Every look at the clock is a second later: each piece of work takes longer than a pass.
    monkeypatch.setattr("diffusion.machine.time.perf_counter", lambda: float(next(clock)))
    first = machine.add(model, replace(PARAMS, steps=40))
    while not backbone.rows:
        machine.tick()
    for seed in range(10):
        machine.add(model, replace(PARAMS, seed=seed, prompt=f"number {seed}"))
    before = len(backbone.rows)
    waiting = [job for job in machine._jobs if job is not first]
    while not all(job.paintings for job in waiting):
        ready = sum(bool(job.paintings) for job in waiting)
        machine.tick()
        assert sum(bool(job.paintings) for job in waiting) - ready <= 3
    assert len(backbone.rows) - before >= 4


async def test_a_fault_while_a_job_is_added_is_heard_by_everybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not only by jobs under way: the one that is added, and those behind it in the mail."""
    model, backbone = watched()
    async with Engine({"emoji": model}) as engine:
        with closed(backbone):
            running = asyncio.create_task(finish(engine.submit(PARAMS)))
            await entered(backbone)

            def broken(*_given: object, **_more: object) -> None:
                raise RuntimeError("a fault of our own")

            monkeypatch.setattr("diffusion.machine.plan_for", broken)
            added = [asyncio.create_task(finish(engine.submit(PARAMS))) for _ in range(2)]
            await asyncio.sleep(0)
        found = await asyncio.gather(running, *added, return_exceptions=True)
    assert isinstance(found[0], EngineDeadError)
    assert isinstance(found[1], EngineDeadError)
    assert isinstance(found[2], EngineClosedError | EngineDeadError)
    assert "a fault of our own" in str(found[1])


async def test_the_device_uses_no_more_cores_than_the_process_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("diffusion.lane.usable_cpus", lambda: 1)
    model, backbone = watched()
    seen: list[int] = []

    def count(_x: Tensor, output: Tensor) -> Tensor:
        seen.append(torch.get_num_threads())
        return output

    backbone.fault = count
    async with Engine({"emoji": model}) as engine:
        await finish(engine.submit(replace(PARAMS, steps=1)))
    async with Engine({"emoji": model}, threads=2) as engine:
        await finish(engine.submit(replace(PARAMS, steps=1)))
    assert set(seen) == {1, 2}
