"""How pictures start: what each draws from its own generator, and in which order."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from diffusion import Params, ParamsError
from diffusion.inputs import Inputs
from diffusion.machine import Machine
from diffusion.model import Model
from diffusion.networks.unet import UNet
from diffusion.painting import Painting
from diffusion.starts import Certain, Posterior, encode_image
from diffusion.tiles import finish
from tests.parity.twins import fill
from tests.tiny import prepared, tiny_model

SHAPE = (4, 4, 4)
PICTURE = Image.fromarray(np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8))
HALF = Image.new("L", (32, 32))
HALF.paste(255, (16, 0, 32, 32))
HASH = "0" * 64
PARAMS = Params(prompt="x", seed=7, steps=4, width=32, height=32, guidance_scale=1.0)
FROM_PICTURE = replace(PARAMS, init_image=HASH, strength=0.5)


def with_channels(channels: int) -> Model:
    """The tiny model with a network that takes so many channels."""
    model = tiny_model()
    assert isinstance(model.backbone, UNet)
    network = UNet(replace(model.backbone.config, in_channels=channels))
    fill(network, 3)
    return replace(model, backbone=network.eval().requires_grad_(False))


def asks(model: Model, params: Params, inputs: Inputs | None = None) -> list[Tensor]:
    """Return what the network sees first, of every picture."""
    job = prepared(Machine(max_batch=8), model, params, inputs)
    return [
        painting.network_input() for painting in job.paintings if isinstance(painting, Painting)
    ]


def draws(seed: int, count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(SHAPE, generator=generator) for _ in range(count)]


def encoded(model: Model, picture: Image.Image) -> Posterior:
    array = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        found = finish(encode_image(model, array, seamless=False))
    assert isinstance(found, Posterior)
    return found


def posterior(model: Model, picture: Image.Image, noise: Tensor) -> Tensor:
    found = encoded(model, picture)
    return found.vae.scaled((found.mean + found.deviation * noise)[None])[0]


def test_the_posterior_is_drawn_before_the_noise() -> None:
    model, inputs = tiny_model(), Inputs(init_image=PICTURE)
    job = prepared(Machine(max_batch=8), model, FROM_PICTURE, inputs)
    for number, painting in enumerate(job.paintings):
        first, second = draws(7 + number, 2)
        assert painting.request is not None
        x, sigma = painting.request
        wanted = posterior(model, PICTURE, first) + sigma * second
        assert torch.allclose(x, wanted, rtol=1e-5, atol=1e-5)


def test_the_masked_picture_is_drawn_last() -> None:
    model = with_channels(9)
    params = replace(FROM_PICTURE, mask=HASH)
    found = asks(model, params, Inputs(init_image=PICTURE, mask=HALF))
    # What is painted anew is grey, the middle of the range, before it is encoded.
    hidden = torch.from_numpy(np.array(PICTURE)).permute(2, 0, 1)[None].float() / 127.5 - 1
    hidden[..., 16:] = 0
    with torch.inference_mode():
        masked = finish(encode_image(model, hidden, seamless=False))
    assert isinstance(masked, Posterior)
    third = draws(7, 3)[2]
    wanted = masked.vae.scaled((masked.mean + masked.deviation * third)[None])[0]
    assert found[0].shape == (9, 4, 4)
    assert torch.equal(found[0][4, :, :2], torch.zeros(4, 2))
    assert torch.equal(found[0][4, :, 2:], torch.ones(4, 2))
    assert torch.allclose(found[0][5:], wanted, rtol=1e-5, atol=1e-5)


def test_at_full_strength_an_inpainting_network_draws_no_posterior() -> None:
    params = replace(FROM_PICTURE, mask=HASH, strength=1.0)
    model = with_channels(9)
    found = asks(model, params, Inputs(init_image=PICTURE, mask=HALF))
    plain = asks(tiny_model(), PARAMS)
    assert torch.equal(found[0][:4], plain[0])


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("mask", [None, HALF])
def test_the_third_picture_starts_alone_as_beside_others(
    channels: int, mask: Image.Image | None
) -> None:
    model = with_channels(channels)
    params = replace(FROM_PICTURE, mask=HASH if mask else None)
    inputs = Inputs(init_image=PICTURE, mask=mask)
    grid = asks(model, params, inputs)
    alone = asks(model, replace(params, seed=9, images=1), inputs)
    assert torch.equal(grid[2], alone[0])
    assert not torch.equal(grid[1], alone[0])


def test_a_variation_turns_the_noise_towards_another_seed() -> None:
    plain = asks(tiny_model(), PARAMS)
    other = asks(tiny_model(), replace(PARAMS, seed=50))
    none, half, whole = (
        asks(tiny_model(), replace(PARAMS, variation_seed=50, variation_strength=share))
        for share in (0.0, 0.5, 1.0)
    )
    for number in range(4):
        assert torch.equal(none[number], plain[number])
        assert torch.equal(whole[number], other[number])
        assert not torch.allclose(half[number], plain[number], atol=0.1)
        # On the sphere, not on the line through it: noise keeps its spread.
        assert 0.75 < float(half[number].norm() / plain[number].norm()) < 1.35


@pytest.mark.parametrize("channels", [5, 8])
def test_networks_for_other_pictures_are_refused(channels: int) -> None:
    with pytest.raises(ParamsError, match=f"takes {channels} channels where latents have 4"):
        asks(with_channels(channels), PARAMS)


def test_an_inpainting_network_paints_without_a_mask() -> None:
    """It sees an empty picture of which all is painted."""
    model = with_channels(9)
    found = asks(model, PARAMS)
    grey = torch.zeros(1, 3, 32, 32)
    with torch.inference_mode():
        empty = finish(encode_image(model, grey, seamless=False))
    assert isinstance(empty, Posterior)
    second = draws(7, 2)[1]
    wanted = empty.vae.scaled((empty.mean + empty.deviation * second)[None])[0]
    assert torch.equal(found[0][4], torch.ones(4, 4))
    assert torch.allclose(found[0][5:], wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(found[0][:4], asks(tiny_model(), PARAMS)[0])


def test_latents_that_are_certain_draw_nothing() -> None:
    def never() -> Tensor:
        raise AssertionError

    latents = torch.ones(SHAPE)
    assert Certain(latents=latents).draw(never) is latents  # type: ignore[arg-type]
