"""`generate`: what a picture is depends on its params and the model alone."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion import SAMPLERS, SCHEDULES, Params, ParamsError, Step, generate
from diffusion.pixels import pictures_from, tensor_from
from tests.thinning import thinned
from tests.tiny import tiny_model

PARAMS = Params(prompt="a red heart", seed=5, steps=4, width=32, height=32, guidance_scale=3.0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def paint(params: Params, **more: Any) -> list[Step]:  # noqa: ANN401
    return list(generate(tiny_model(), params, **more))


def pixels(steps: list[Step]) -> np.ndarray[Any, np.dtype[np.int16]]:
    pictures = steps[-1].pictures
    assert pictures is not None
    return np.stack([np.asarray(picture, dtype=np.int16) for picture in pictures])


def test_the_same_params_give_the_same_bytes() -> None:
    assert np.array_equal(pixels(paint(PARAMS)), pixels(paint(PARAMS)))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"prompt": "a blue fish"},
        {"negative_prompt": "red"},
        {"steps": 5},
        {"guidance_scale": 4.0},
        {"schedule": "karras"},
        {"sampler": "ddpm"},
        {"tile": True},
        {"stop": 50},
    ],
)
def test_every_parameter_matters(change: dict[str, Any]) -> None:
    assert not np.array_equal(pixels(paint(PARAMS)), pixels(paint(replace(PARAMS, **change))))


@pytest.mark.parametrize(("sampler", "schedule"), thinned(product(SAMPLERS, SCHEDULES), every=4))
def test_a_tile_can_be_painted_again_alone(sampler: str, schedule: str) -> None:
    """Image i of a job is image 1 of the same job with seed + i, noise of the steps included."""
    params = replace(PARAMS, sampler=sampler, schedule=schedule)
    grid = pixels(paint(params))
    alone = pixels(paint(replace(params, seed=params.seed + 2, images=1)))
    assert np.abs(grid[2] - alone[0]).max() <= 1


def test_stop_ends_early_with_pictures() -> None:
    steps = paint(replace(PARAMS, steps=10, stop=60))
    assert [step.total for step in steps] == [6] * 6
    assert steps[-1].pictures is not None


def test_a_picture_can_be_the_start() -> None:
    model = tiny_model()
    source = Image.fromarray(np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    params = replace(PARAMS, init_image="0" * 64, images=1, steps=50)
    near = pixels(paint(replace(params, strength=0.02), init_image=source))[0]
    far = pixels(paint(replace(params, strength=1.0), init_image=source))[0]
    with torch.inference_mode():
        # The posterior is drawn from first, from the picture's own generator.
        noise = torch.randn((1, *model.latent_shape(32, 32)), generator=seeded(PARAMS.seed))
        latents = model.vae.encode(tensor_from(source, width=32, height=32), noise)
        same = np.asarray(pictures_from(model.vae.decode(latents))[0], dtype=np.int16)
    assert len(paint(replace(params, strength=0.02), init_image=source)) == 1
    assert np.abs(near - same).mean() < np.abs(far - same).mean() / 3


def test_a_picture_that_was_promised_must_be_there() -> None:
    with pytest.raises(ParamsError, match="not handed over"):
        paint(replace(PARAMS, init_image="0" * 64))


def test_given_noise_replaces_that_of_the_seeds() -> None:
    shape = (PARAMS.images, *tiny_model().latent_shape(32, 32))
    noise = torch.stack(
        [torch.randn(shape[1:], generator=torch.Generator().manual_seed(5 + i)) for i in range(4)]
    )
    assert np.array_equal(pixels(paint(PARAMS)), pixels(paint(PARAMS, latents=noise)))
    assert not np.array_equal(pixels(paint(PARAMS)), pixels(paint(PARAMS, latents=noise + 1)))
    with pytest.raises(ValueError, match="this job needs"):
        paint(PARAMS, latents=noise[:2])


def test_seamless_borders_meet() -> None:
    """Rolling a seamless picture's noise rolls the picture: no border is special."""
    shape = (1, *tiny_model().latent_shape(64, 64))
    params = replace(PARAMS, width=64, height=64, images=1, tile=True, guidance_scale=1.0, steps=2)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    scale = tiny_model().vae.config.downscale
    # Half of the picture: the one level of down-sampling keeps its phase.
    shift = shape[-1] // 2
    rolled = pixels(paint(params, latents=noise.roll(shift, dims=-1)))
    plain = pixels(paint(params, latents=noise))
    assert np.abs(np.roll(plain, shift * scale, axis=2) - rolled).max() <= 1
    bordered = replace(params, tile=False)
    rolled = pixels(paint(bordered, latents=noise.roll(shift, dims=-1)))
    plain = pixels(paint(bordered, latents=noise))
    assert np.abs(np.roll(plain, shift * scale, axis=2) - rolled).max() > 8


def test_a_size_the_model_cannot_paint_is_refused() -> None:
    model = tiny_model()
    assert model.vae.config.downscale == 8
    list(generate(model, replace(PARAMS, width=40, steps=1)))


def test_a_long_prompt_loses_no_word() -> None:
    words = "red heart " * 40
    assert not np.array_equal(
        pixels(paint(replace(PARAMS, prompt=words + "fish"))),
        pixels(paint(replace(PARAMS, prompt=words + "cat"))),
    )
