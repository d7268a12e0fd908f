"""The larger second pass of a job: its size, its steps, and that each picture is its seed's own."""

from dataclasses import replace

import numpy as np
import pytest

from diffusion import Params, Step, generate, machine
from diffusion.machine import Machine
from diffusion.tiles import decode_tiled
from tests.tiny import tiny_model

PARAMS = Params(
    prompt="a red heart",
    seed=5,
    steps=4,
    width=32,
    height=32,
    images=2,
    guidance_scale=3.0,
    hires=2.0,
    hires_strength=0.5,
)


def paint(params: Params) -> list[Step]:
    return list(generate(tiny_model(), params))


def test_it_is_larger_and_its_steps_are_told() -> None:
    steps = paint(PARAMS)
    assert [step.index for step in steps] == [1, 2, 3, 4, 5, 6]
    assert {step.total for step in steps} == {6}, "four, then half of four again"
    assert steps[-1].pictures is not None
    assert [picture.size for picture in steps[-1].pictures] == [(64, 64)] * 2


def test_a_picture_of_it_can_be_painted_again_alone() -> None:
    both, second = paint(PARAMS)[-1], paint(replace(PARAMS, seed=6, images=1))[-1]
    assert both.pictures is not None
    assert second.pictures is not None
    a, b = (np.asarray(each, dtype=np.int16) for each in (both.pictures[1], second.pictures[0]))
    assert np.abs(a - b).max() <= 1
    assert np.abs(a - np.asarray(both.pictures[0], dtype=np.int16)).max() > 1


def test_its_strength_matters() -> None:
    weak, strong = (paint(replace(PARAMS, hires_strength=s))[-1] for s in (0.25, 1.0))
    assert weak.pictures is not None
    assert strong.pictures is not None
    assert weak.pictures[0].tobytes() != strong.pictures[0].tobytes()


def test_stopping_early_skips_it() -> None:
    steps = paint(replace(PARAMS, stop=50))
    assert {step.total for step in steps} == {2}
    assert steps[-1].pictures is not None
    assert steps[-1].pictures[0].size == (32, 32)


def test_cancelled_in_it_the_job_is_gone() -> None:
    desk = Machine(max_batch=8)
    job = desk.add(tiny_model(), PARAMS)
    while job.told < 5:
        desk.tick()
    desk.remove(job)
    assert not desk.busy
    assert all(painting.request is None for painting in job.paintings)


def test_a_preview_in_it_shows_a_picture() -> None:
    for step in generate(tiny_model(), PARAMS):
        assert step.preview().mode == "RGB"


def test_large_pictures_are_decoded_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paint(PARAMS)[-1].pictures
    calls: list[tuple[int, int]] = []

    def counted(decode, latents, *, tile, overlap, seamless):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        calls.append(tuple(latents.shape[-2:]))
        return decode_tiled(decode, latents, tile=6, overlap=2, seamless=seamless)

    monkeypatch.setattr(machine, "WHOLE", 6)
    monkeypatch.setattr(machine, "decode_tiled", counted)
    pieces = paint(PARAMS)[-1].pictures
    assert calls == [(8, 8), (8, 8)], "only the larger pass is beyond the limit"
    assert whole is not None
    assert pieces is not None
    a, b = (np.asarray(each[0], dtype=np.float32) for each in (whole, pieces))
    assert 0 < np.abs(a - b).mean() < 0.5 * np.abs(a - a.mean()).mean()
