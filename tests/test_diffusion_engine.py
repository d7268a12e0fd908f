"""The engine: many jobs at different steps in one forward pass, one thread, cancel, failures that
stay alone.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

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
    Step,
    UnknownModelError,
    generate,
)
from diffusion.model import Model
from tests.tiny import tiny_model

PARAMS = Params(prompt="a red heart", seed=5, steps=4, width=32, height=32, guidance_scale=3.0)


class Backbone(torch.nn.Module):
    """The tiny model's backbone with a gate, a diary and faults."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.config = inner.config
        self.rows: list[int] = []
        self.timesteps: list[list[float]] = []
        self.threads: set[int] = set()
        self.gate = threading.Semaphore(10_000)
        self.entered = threading.Semaphore(0)
        self.fault: Any = None

    def forward(
        self, x: Tensor, timesteps: Tensor, context: Tensor, added: Tensor | None = None
    ) -> Tensor:
        self.rows.append(len(x))
        self.timesteps.append(timesteps.tolist())
        self.threads.add(threading.get_ident())
        self.entered.release()
        self.gate.acquire()
        if self.fault is not None:
            return self.fault(x, self.inner(x, timesteps, context, added))  # type: ignore[no-any-return]
        return self.inner(x, timesteps, context, added)  # type: ignore[no-any-return]


@contextmanager
def closed(backbone: Backbone) -> Iterator[None]:
    """Hold every forward pass until the end of the block."""
    backbone.gate = threading.Semaphore(0)
    try:
        yield
    finally:
        backbone.gate.release(10_000)


def watched() -> tuple[Model, Backbone]:
    backbone = Backbone(tiny_model().backbone)
    return replace(tiny_model(), backbone=backbone), backbone  # type: ignore[arg-type]


async def finish(steps: AsyncGenerator[Step, None]) -> tuple[Image.Image, ...]:
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
    async with Engine({"emoji": model}, max_batch=16) as engine:
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
    assert len(set(backbone.timesteps[1])) == 2, "one forward pass, two different timesteps"
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
    async with Engine({"emoji": model}, max_batch=6) as engine:
        jobs = [finish(engine.submit(replace(PARAMS, seed=seed))) for seed in range(3)]
        await asyncio.gather(*jobs)
    assert max(backbone.rows) == 6
    assert sum(backbone.rows) == 3 * 4 * 2 * 4


async def test_without_guidance_there_is_no_negative_row() -> None:
    model, backbone = watched()
    async with Engine({"emoji": model}) as engine:
        await finish(engine.submit(replace(PARAMS, guidance_scale=1.0)))
    assert backbone.rows == [4, 4, 4, 4]


async def test_shapes_that_cannot_share_take_turns() -> None:
    model, backbone = watched()
    async with Engine({"emoji": model}) as engine:
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
    async with Engine({"emoji": model}) as engine:
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
        # Those that waited longest come first: the last rows are the first job's.
        output[-2:] = torch.nan
        return output

    async with Engine({"emoji": model}) as engine:
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
    async with Engine({"emoji": model}, max_batch=16) as engine:
        pictures = await finish(engine.submit(PARAMS))
    assert np.abs(pixels(pictures) - pixels(_alone(PARAMS))).max() <= 1


async def test_what_never_fits_fails_with_advice() -> None:
    model, backbone = watched()

    def no_device(x: Tensor, output: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("does not fit")

    backbone.fault = no_device
    async with Engine({"emoji": model}) as engine:
        with pytest.raises(OutOfMemoryError, match="choose a smaller size"):
            await finish(engine.submit(PARAMS))


async def test_an_unknown_fault_of_the_device_ends_the_engine_for_everybody() -> None:
    model, backbone = watched()

    def broken(x: Tensor, output: Tensor) -> Tensor:
        raise RuntimeError("CUDA error: device-side assert triggered")

    backbone.fault = broken
    async with Engine({"emoji": model}) as engine:
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
    async with Engine({"emoji": model}) as engine:
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
    async with Engine({"emoji": model}) as engine:
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
