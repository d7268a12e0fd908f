"""Sizes and small tools of the shipped model: latents, canvases, previews, presets."""

import math

import numpy as np
import pytest
import torch

from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.schedules import NoiseSchedule
from diffusion.train import caches, emoji
from diffusion.train.denoiser import stratified_timesteps
from diffusion.train.presets import PRESETS, TINY
from diffusion.train.vae import composite, cosine, reconstruction_loss
from tests.parity.twins import fill


def tiny_vae() -> AutoencoderKL:
    vae = AutoencoderKL(TINY.vae.config).eval().requires_grad_(False)
    fill(vae, seed=3)
    return vae


def art(count: int = 12, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 4, size, size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_together(name: str) -> None:
    preset = PRESETS[name]
    assert preset.unet.in_channels == preset.vae.config.z_channels == preset.unet.out_channels
    assert preset.unet.context_dim == preset.text_width
    assert preset.denoiser.batch % preset.denoiser.workers == 0
    with torch.device("meta"):
        UNet(preset.unet)
        AutoencoderKL(preset.vae.config)
    for width, height, _ in caches.canvas_sizes(preset):
        assert width % preset.vae.config.downscale == 0 == height % preset.vae.config.downscale
        assert 0.7 < width * height / preset.pixels**2 < 1.3
    assert math.isclose(sum(share for *_, share in caches.canvas_sizes(preset)), 1.0)


def test_normalising_changes_the_latents_and_not_the_pictures() -> None:
    vae, images = tiny_vae(), composite(art(), torch.ones(12, 3))
    before = vae.decode(vae.encode(images))
    emoji.normalise_latents(vae, art())
    latents = vae.encode(images)
    assert torch.allclose(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-3)
    assert torch.allclose(vae.decode(latents), before, atol=1e-3)


def test_the_noise_of_the_posterior_is_normalised_too() -> None:
    vae, images = tiny_vae(), composite(art(), torch.ones(12, 3))
    mean, logvar = vae.moments(images)
    emoji.normalise_latents(vae, art())
    scaled_mean, scaled_logvar = vae.moments(images)
    ratio = (mean - mean.mean(dim=(0, 2, 3), keepdim=True)) / scaled_mean
    deviation = ratio.median(dim=0).values.flatten(1).median(dim=1).values
    expected = torch.exp(0.5 * logvar) / deviation[None, :, None, None]
    assert torch.allclose(torch.exp(0.5 * scaled_logvar), expected, rtol=1e-3)


def test_the_preview_is_the_best_linear_map() -> None:
    """Where the decoder is linear itself, the fitted map is exact."""
    vae = tiny_vae()
    weight, bias = emoji.preview_projection(vae, art(40))
    assert weight.shape == (3 * 64, 4, 3, 3)
    images = composite(art(40), torch.ones(40, 3))
    latents = vae.encode(images)
    padded = torch.nn.functional.pad(latents, (1,) * 4, mode="replicate")
    drawn = torch.nn.functional.pixel_shuffle(torch.nn.functional.conv2d(padded, weight, bias), 8)
    error = float((drawn - images).square().mean())
    assert error < float(images.var(dim=0).mean()), "better than the mean picture"
    for scale in (0.9, 1.1):
        other = torch.nn.functional.conv2d(padded, weight * scale, bias)
        assert float((torch.nn.functional.pixel_shuffle(other, 8) - images).square().mean()) > error


def test_a_drawing_is_laid_in_the_middle_of_a_wider_canvas() -> None:
    drawing = torch.zeros(1, 4, 32, 32)
    drawing[:, :, 8:24, 8:24] = 1.0
    placed = caches.place(drawing, 64, 32)
    assert placed.shape == (1, 4, 32, 64)
    assert torch.equal(placed[..., 16:48], drawing)
    assert not placed[..., :16].any()
    small = caches.place(drawing, 64, 16)
    assert small.shape == (1, 4, 16, 64)
    assert float(small[0, 3].sum()) == pytest.approx(64.0)


def test_edges_keep_their_colour_when_shrunk() -> None:
    """Transparent pixels have colours too; they must not bleed into the drawing."""
    drawing = torch.zeros(1, 4, 32, 32)
    drawing[:, 1] = 1.0
    drawing[:, :, :, :17] = torch.tensor([1.0, 0.0, 0.0, 1.0])[None, :, None, None]
    small = caches.place(drawing, 16, 16)
    visible = small[0, 3] > 0.1
    assert float(small[0, 0][visible].min()) > 0.99
    assert float(small[0, 1][visible].max()) < 0.01


def test_timesteps_cover_the_schedule_evenly() -> None:
    generator = torch.Generator().manual_seed(1)
    t = torch.cat([stratified_timesteps(64, 1000, generator) for _ in range(200)])
    assert int(t.min()) >= 0
    assert int(t.max()) <= 999
    half = stratified_timesteps(64, 1000, generator)[:32].sort().values
    strata = np.asarray(half) * 32 // 1000
    assert list(strata) == list(range(32)), "one of the uniform half in each stratum"
    middle = ((t > 250) & (t < 750)).float().mean()
    assert 0.55 < float(middle) < 0.75, "the logit-normal half prefers the middle"


def test_the_learning_rate_warms_up_and_falls() -> None:
    assert cosine(0.0) < 0.1
    assert cosine(0.02) == pytest.approx(1.0)
    assert cosine(0.5) == pytest.approx(0.53, abs=0.03)
    assert cosine(1.0) == cosine(2.0) == pytest.approx(0.03)


def test_the_loss_is_zero_only_for_the_picture_itself() -> None:
    images = composite(art(), torch.ones(12, 3))
    assert float(reconstruction_loss(images, images)) == 0.0
    assert float(reconstruction_loss(images + 0.1, images)) == pytest.approx(0.1 + 2 * 0.01)


def test_the_shipped_schedule_has_finite_ends() -> None:
    schedule = NoiseSchedule.from_config(dict(emoji.SCHEDULE))
    assert 60 < schedule.sigmas[-1] < 100
    assert schedule.sigmas[0] < 0.01
