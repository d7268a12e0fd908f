"""Stopping early and going on: the same bytes as in one go, also from bytes on a disk."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from diffusion import SAMPLERS, Engine, Params, ParamsError, Step, generate
from tests.companies import source
from tests.tiny import tiny_model

PARAMS = Params(prompt="a red heart", seed=3, steps=5, width=32, height=32, images=2)


def last(steps: Generator[Step, None, None]) -> Step:
    *_, step = steps
    assert step.pictures is not None
    return step


def data(step: Step) -> list[bytes]:
    assert step.pictures is not None
    return [picture.tobytes() for picture in step.pictures]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_going_on_gives_the_picture_of_one_go(sampler: str, tmp_path: Path) -> None:
    """Whatever a sampler has in mind: saved estimates, second evaluations, noise of a path."""
    whole = replace(PARAMS, sampler=sampler)
    stopped = last(generate(tiny_model(), replace(whole, stop=60)))
    assert stopped.state is not None
    (tmp_path / "state").write_bytes(stopped.state)
    state = (tmp_path / "state").read_bytes()
    assert data(stopped) != data(last(generate(tiny_model(), whole)))
    assert data(last(generate(tiny_model(), whole, state=state))) == data(
        last(generate(tiny_model(), whole))
    )


def test_it_can_stop_again_and_only_tells_of_what_it_does() -> None:
    first = last(generate(tiny_model(), replace(PARAMS, stop=40)))
    steps = list(generate(tiny_model(), replace(PARAMS, stop=80), state=first.state))
    assert [step.index for step in steps] == [3, 4]
    whole = list(generate(tiny_model(), PARAMS, state=steps[-1].state))
    assert [step.index for step in whole] == [5]
    assert data(whole[-1]) == data(last(generate(tiny_model(), PARAMS)))
    assert whole[-1].state is None, "a job that has ended leaves nothing"


def test_repainting_and_a_second_pass_go_on_too() -> None:
    half = Image.new("L", (32, 32))
    half.paste(255, (0, 0, 16, 32))
    whole = replace(PARAMS, init_image="0" * 64, mask="0" * 64, strength=0.8, hires=1.5, steps=6)

    def paint(params: Params, state: bytes | None = None) -> Step:
        picture = source((32, 32))
        return last(generate(tiny_model(), params, init_image=picture, mask=half, state=state))

    going_on = paint(whole, paint(replace(whole, stop=50)).state)
    assert going_on.pictures is not None
    assert going_on.pictures[0].size == (48, 48)
    assert data(going_on) == data(paint(whole))


def test_a_state_that_is_further_than_the_stop_is_refused() -> None:
    state = last(generate(tiny_model(), replace(PARAMS, stop=80))).state
    with pytest.raises(ParamsError, match="had got further"):
        last(generate(tiny_model(), replace(PARAMS, stop=40), state=state))


@pytest.mark.parametrize("change", [{"seed": 4}, {"steps": 6}, {"prompt": "a cat"}, {"images": 1}])
def test_the_state_of_another_job_is_refused(change: dict[str, object]) -> None:
    state = last(generate(tiny_model(), replace(PARAMS, stop=60))).state
    other = replace(PARAMS, **change)  # type: ignore[arg-type]
    with pytest.raises(ParamsError, match="belongs to another job"):
        last(generate(tiny_model(), other, state=state))


@pytest.mark.parametrize("state", [b"", b"nothing", b"\x08" + b"\0" * 40])
def test_damaged_states_are_refused(state: bytes) -> None:
    with pytest.raises(ParamsError, match="damaged"):
        last(generate(tiny_model(), PARAMS, state=state))


async def test_the_engine_takes_and_gives_states() -> None:
    async def paint(params: Params, state: bytes | None = None) -> Step:
        step: Step | None = None
        async for each in engine.submit(params, state=state):
            step = each
        assert step is not None
        return step

    async with Engine({"emoji": tiny_model()}) as engine:
        stopped = await paint(replace(PARAMS, stop=60))
        going_on = await paint(PARAMS, stopped.state)
        with pytest.raises(ParamsError, match="belongs to another job"):
            await paint(replace(PARAMS, seed=9), stopped.state)
    assert data(going_on) == data(last(generate(tiny_model(), PARAMS)))
