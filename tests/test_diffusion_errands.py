"""What is asked of a model beside painting: blends, influences, and how they leave jobs alone."""

import asyncio
import threading
from collections.abc import AsyncIterator, Generator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diffusion import (
    AbilityError,
    Engine,
    EngineClosedError,
    NumericalError,
    Params,
    ParamsError,
    Step,
    UnknownModelError,
    load_model,
)
from diffusion.blending import blend_params, blended, shares_of
from diffusion.errands import run_errand
from diffusion.lane import Lane
from diffusion.tiles import finish
from tests.tiny import tiny_folder, tiny_model

PARAMS = Params(prompt="a red heart", seed=5, steps=6, width=32, height=32, guidance_scale=3.0)


def picture(colour: str, size: tuple[int, int] = (32, 32)) -> Image.Image:
    """A field of a colour with a white spot: something to find again."""
    made = Image.new("RGB", size, colour)
    made.paste("white", (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
    return made


def lane_of(engine: Engine) -> Lane:
    return next(iter(engine._lanes.values()))


async def painted(steps: AsyncIterator[Step]) -> list[bytes]:
    pictures: Sequence[Image.Image] = ()
    async for step in steps:
        pictures = step.pictures or ()
    return [each.tobytes() for each in pictures]


async def test_beside_a_job_it_is_answered_and_the_job_has_the_same_bytes() -> None:
    async with Engine({"emoji": tiny_model()}) as engine:
        alone = await painted(engine.submit(PARAMS))
        job = asyncio.create_task(painted(engine.submit(PARAMS)))
        words, mixed = await asyncio.gather(
            engine.influence("emoji", "a red heart"),
            engine.blend("emoji", [picture("red"), picture("blue")]),
        )
        assert await job == alone
        again = await engine.blend("emoji", [picture("red"), picture("blue")])
        assert words == await engine.influence("emoji", "a red heart")
    assert [each.word for each in words] == ["a", "red", "heart"]
    assert mixed.size == (32, 32)
    assert mixed.tobytes() == again.tobytes()


async def test_endless_work_holds_up_no_job_and_ends_with_whoever_waits() -> None:
    closed = threading.Event()

    def endless() -> Generator[None, None, None]:
        try:
            while True:
                yield
        finally:
            closed.set()

    async with Engine({"emoji": tiny_model()}) as engine:
        lane = lane_of(engine)
        waiting = asyncio.create_task(run_errand(lane, tiny_model(), PARAMS, endless()))
        assert len(await painted(engine.submit(PARAMS))) == 4
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await asyncio.to_thread(closed.wait, 20)
        read = threading.Event()
        lane.post(read.set)
        assert await asyncio.to_thread(read.wait, 20)
        assert lane._jobs == {}
        assert not lane.machine.busy


async def test_what_work_raises_is_raised_to_its_owner_alone() -> None:
    def wrong() -> Generator[None, None, None]:
        yield
        raise NumericalError("not finite")

    async with Engine({"emoji": tiny_model()}) as engine:
        job = asyncio.create_task(painted(engine.submit(PARAMS)))
        with pytest.raises(NumericalError, match="not finite"):
            await run_errand(lane_of(engine), tiny_model(), PARAMS, wrong())
        assert len(await job) == 4


async def test_who_waits_when_the_engine_closes_is_told() -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless() -> Generator[None, None, None]:
        loop.call_soon_threadsafe(begun.set)
        while True:
            yield

    async with Engine({"emoji": tiny_model()}) as engine:
        waiting = asyncio.create_task(run_errand(lane_of(engine), tiny_model(), PARAMS, endless()))
        await begun.wait()
    with pytest.raises(EngineClosedError):
        await waiting
    with pytest.raises(EngineClosedError):
        await engine.influence("emoji", "a")


async def test_models_that_are_unknown_or_cannot() -> None:
    async with Engine({"emoji": tiny_model(), "mute": replace(tiny_model(), text=None)}) as engine:
        for ask in (
            engine.influence("sdxl", "a"),
            engine.blend("sdxl", [picture("red")] * 2),
            engine.describe("sdxl", picture("red")),
        ):
            with pytest.raises(UnknownModelError, match="emoji"):
                await ask
        with pytest.raises(AbilityError, match="without words"):
            await engine.influence("mute", "a")
        with pytest.raises(AbilityError, match="cannot describe"):
            await engine.describe("emoji", picture("red"))


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (1, None, "takes 2 to 5"),
        (6, None, "takes 2 to 5"),
        (2, [1.0], "there are 2 pictures"),
        (2, [1.0, 0.0], "above 0"),
        (2, [1.0, float("nan")], "above 0"),
        (2, [1.0, float("inf")], "above 0"),
    ],
)
async def test_what_cannot_be_blended_is_refused(
    count: int, weights: list[float] | None, message: str
) -> None:
    async with Engine({"emoji": tiny_model()}) as engine:
        with pytest.raises(ParamsError, match=message):
            await engine.blend("emoji", [picture("red")] * count, weights)


@pytest.mark.parametrize(
    ("size", "result"),
    [
        ((32, 32), (32, 32)),
        ((300, 300), (32, 32)),
        ((400, 200), (48, 24)),
        ((100, 900), (16, 64)),
        ((1, 8000), (16, 64)),
    ],
)
def test_a_blend_has_the_first_ones_shape_at_the_models_own_size(
    size: tuple[int, int], result: tuple[int, int]
) -> None:
    model, first = load_model(tiny_folder()), picture("red", size)
    params = blend_params(model, first)
    assert (params.width, params.height) == result
    shares = shares_of([first, picture("blue", (90, 40))], None)
    made = finish(blended(model, params, [first, picture("blue", (90, 40))], shares))
    assert made.size == result


def test_the_shipped_model_mixes_by_weight() -> None:
    model = load_model("emoji")
    both = [picture("red", (64, 64)), picture("blue", (64, 64))]
    params = blend_params(model, both[0])

    def mean(weights: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        made = finish(blended(model, params, both, shares_of(both, weights)))
        found: np.ndarray[tuple[int], np.dtype[np.float64]] = np.asarray(
            made, dtype=np.float64
        ).mean(axis=(0, 1))
        return found

    reds = [mean([1.0, weight])[0] for weight in (0.01, 0.4, 1.0, 2.5, 100.0)]
    blues = [mean([1.0, weight])[2] for weight in (0.01, 0.4, 1.0, 2.5, 100.0)]
    assert reds == sorted(reds, reverse=True)
    assert blues == sorted(blues)
    one, other = (np.asarray(each, dtype=np.float64).mean(axis=(0, 1)) for each in both)
    assert np.abs(mean([1.0, 0.01]) - one).max() < 25
    assert np.abs(mean([1.0, 100.0]) - other).max() < 25
