"""The second, larger pass, and autoencoders that see large pictures in tiles."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffusion import Model, Params, Step, generate, load_model, machine, preparing, starts
from diffusion.machine import Machine
from diffusion.networks.vae import AutoencoderKL
from tests.tiny import prepared, tiny_model

PARAMS = Params(
    prompt="a red heart", seed=5, steps=4, width=32, height=32, guidance_scale=3.0, hires=1.5
)


@cache
def shipped() -> Model:
    """Real weights, where pictures must look alike."""
    return load_model("emoji")


def paint(params: Params) -> list[Step]:
    return list(generate(tiny_model(), params))


def pixels(steps: list[Step]) -> NDArray[np.int16]:
    pictures = steps[-1].pictures
    assert pictures is not None
    return np.stack([np.asarray(picture, dtype=np.int16) for picture in pictures])


def test_both_passes_are_told_as_one_and_the_same_seed_is_the_same_picture() -> None:
    steps = paint(PARAMS)
    # Half the strength is half the steps: 4 and 2.
    assert [(step.index, step.total) for step in steps] == [(i, 6) for i in range(1, 7)]
    assert pixels(steps).shape == (4, 48, 48, 3)
    assert np.array_equal(pixels(steps), pixels(paint(PARAMS)))


def test_sizes_are_what_the_network_can_halve() -> None:
    made = pixels(paint(replace(PARAMS, images=1, width=40, hires=1.3)))
    assert made.shape == (1, 40, 48 + 8 * (round(52 / 8) - 6), 3)


def test_a_tile_can_be_painted_again_alone() -> None:
    grid = pixels(paint(PARAMS))
    alone = pixels(paint(replace(PARAMS, seed=PARAMS.seed + 1, images=1)))
    assert np.abs(grid[1] - alone[0]).max() <= 1
    assert np.abs(grid[0] - alone[0]).max() > 20


def test_strength_is_how_far_it_moves_from_the_first_pass() -> None:
    params = replace(PARAMS, images=1, steps=10, width=64, height=64)
    first = list(generate(shipped(), replace(params, hires=1.0)))[-1].pictures
    assert first is not None
    larger = np.asarray(first[0].resize((96, 96), Image.Resampling.LANCZOS), dtype=np.int16)
    near, far = (
        pixels(list(generate(shipped(), replace(params, hires_strength=strength))))[0]
        for strength in (0.1, 1.0)
    )
    assert np.abs(near - larger).mean() < np.abs(far - larger).mean() / 2


def test_it_can_be_cancelled_in_the_second_pass() -> None:
    painter = Machine(max_batch=8)
    job = prepared(painter, tiny_model(), PARAMS)
    while not all(job.stages):
        painter.tick()
    assert painter.busy
    painter.remove(job)
    assert painter.tick() == []
    assert all(painting.request is None for painting in job.paintings)


def test_a_job_that_stops_early_has_no_second_pass() -> None:
    steps = paint(replace(PARAMS, stop=50))
    assert [step.total for step in steps] == [2, 2]
    assert pixels(steps).shape == (4, 32, 32, 3)


@pytest.mark.parametrize("tile", [False, True])
def test_large_pictures_are_coded_in_tiles_and_look_the_same(
    tile: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shipped()
    params = replace(
        PARAMS,
        images=1,
        width=128,
        height=128,
        hires=1.0,
        tile=tile,
        init_image="0" * 64,
        strength=0.25,
    )
    source = Image.linear_gradient("L").resize((128, 128)).convert("RGB")
    whole = pixels(list(generate(model, params, init_image=source)))
    sides: list[int] = []
    assert isinstance(model.vae, AutoencoderKL)
    unit, decode, moments = model.vae.config.downscale, model.vae.decode, model.vae.moments

    def decoded(latents: Tensor) -> Tensor:
        sides.append(max(latents.shape[-2:]))
        return decode(latents)

    def encoded(images: Tensor) -> tuple[Tensor, Tensor]:
        sides.append(max(images.shape[-2:]) // unit)
        return moments(images)

    monkeypatch.setattr(model.vae, "decode", decoded)
    monkeypatch.setattr(model.vae, "moments", encoded)
    for module in (machine, preparing, starts):
        for name, size in {"WHOLE": 12, "TILE": 12, "OVERLAP": 4}.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, size)
    tiled = pixels(list(generate(model, params, init_image=source)))
    assert len(sides) > 2
    assert max(sides) <= 12
    difference = np.abs(tiled - whole)
    assert difference.max() > 0
    # A misplaced tile differs by the picture's own contrast.
    assert difference.mean() < np.abs(whole - whole.mean()).mean() / 8
