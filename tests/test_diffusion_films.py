"""A job's way as a film: a preview of every step, and the frames of a morph."""

import io
from dataclasses import replace

import pytest
from PIL import Image, ImageSequence

from diffusion import Params, Step
from diffusion.machine import Machine, Tail
from diffusion.pictures import encode_film
from diffusion.provenance import Provenance
from tests.tiny import tiny_model

PARAMS = Params(prompt="a red heart", seed=3, steps=5, width=32, height=32, guidance_scale=3.0)


def steps_of(params: Params, tail: Tail | None = None) -> list[Step]:
    machine = Machine(max_batch=8, tail=tail)
    machine.add(tiny_model(), params)
    found = []
    while machine.busy:
        for _, answer in machine.tick():
            assert isinstance(answer, Step)
            found.append(answer)
    return found


def film(frames: list[Image.Image]) -> int:
    """Return how many frames a film of these shows."""
    about = Provenance(
        params=PARAMS, job_id="a" * 13, index=0, model_name="x", model_sha256=None, software="E"
    )
    data = encode_film(frames, about, durations=[100] * (len(frames) - 1) + [1500])
    with Image.open(io.BytesIO(data)) as shown:
        return sum(1 for _ in ImageSequence.Iterator(shown))


@pytest.mark.parametrize("tail", ["coroutines", "tables"])
@pytest.mark.parametrize(("images", "grid"), [(1, (1, 1)), (4, (2, 2)), (5, (3, 2)), (12, (4, 3))])
def test_every_step_can_be_seen(tail: Tail, images: int, grid: tuple[int, int]) -> None:
    previews = [step.preview() for step in steps_of(replace(PARAMS, images=images), tail)]
    assert len(previews) == 5
    side = 32
    assert {preview.size for preview in previews} == {(grid[0] * side, grid[1] * side)}
    assert len({preview.tobytes() for preview in previews}) == 5
    assert film(previews) == 5


def test_a_morph_is_a_film() -> None:
    *_, last = steps_of(replace(PARAMS, morph=("a blue fish",), images=6))
    assert last.pictures is not None
    assert film(list(last.pictures)) == 6
