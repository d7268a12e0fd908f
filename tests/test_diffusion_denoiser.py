"""What the network predicts, turned into what it thinks the picture is."""

import math

import pytest
import torch

from diffusion.denoiser import (
    clip,
    combine,
    combine_guidance,
    input_scale,
    rescale_guidance,
    to_denoised,
)

SIGMAS = (0.0065, 0.03, 1.0, 14.6, 80.0)


def noised(sigma: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x0, eps = torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64)
    return x0, eps, x0 + sigma * eps


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_perfect_prediction_gives_the_picture_back(sigma: float) -> None:
    x0, eps, x = noised(sigma)
    # Ho et al. 2020, equation 4: x_t = a x0 + s eps; Salimans & Ho 2022: v = a eps - s x0.
    a, s = 1 / math.sqrt(1 + sigma**2), sigma / math.sqrt(1 + sigma**2)
    perfect = {"epsilon": eps, "v_prediction": a * eps - s * x0, "sample": x0}
    for prediction_type, output in perfect.items():
        denoised = to_denoised(prediction_type, x, output, sigma)
        torch.testing.assert_close(denoised, x0, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_network_sees_the_variance_preserving_latents(sigma: float) -> None:
    x0, eps, x = noised(sigma)
    abar = 1 / (1 + sigma**2)
    expected = math.sqrt(abar) * x0 + math.sqrt(1 - abar) * eps
    torch.testing.assert_close(x * input_scale(sigma), expected, rtol=1e-9, atol=1e-9)


def test_unknown_predictions_are_refused() -> None:
    x = torch.zeros(1)
    with pytest.raises(ValueError, match="flow"):
        to_denoised("flow", x, x, 1.0)


def test_guidance_is_negative_plus_w_times_the_difference() -> None:
    positive, negative = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 1.0])
    assert combine_guidance(positive, negative, 1.0).tolist() == [3.0, -1.0]
    assert combine_guidance(positive, negative, 7.5).tolist() == [16.0, -14.0]
    assert combine_guidance(positive, negative, 0.0).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_guiding_the_output_is_guiding_the_estimate(prediction_type: str) -> None:
    generator = torch.Generator().manual_seed(4)
    x, positive, negative = torch.randn(3, 4, 2, 2, generator=generator, dtype=torch.float64)
    early = to_denoised(prediction_type, x, combine_guidance(positive, negative, 5.0), 2.5)
    late = combine_guidance(
        to_denoised(prediction_type, x, positive, 2.5),
        to_denoised(prediction_type, x, negative, 2.5),
        5.0,
    )
    torch.testing.assert_close(early, late, rtol=1e-10, atol=1e-10)


def test_several_conditions_pull_by_their_weights() -> None:
    negative = torch.tensor([1.0, 1.0])
    first, second = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0])
    assert combine(negative, [(first, 1.0)], 5.0).tolist() == [11.0, 1.0]
    assert combine(negative, [(first, 0.5), (second, -1.0)], 2.0).tolist() == [3.0, -1.0]
    assert combine(negative, [], 2.0).tolist() == [1.0, 1.0]


def test_rescaling_is_diffusers_and_lin_s() -> None:
    generator = torch.Generator().manual_seed(5)
    guided, positive = torch.randn(2, 3, 4, 6, 5, generator=generator) * 3 + 1
    dims = list(range(1, guided.ndim))
    spread = positive.std(dim=dims, keepdim=True) / guided.std(dim=dims, keepdim=True)
    for phi in (0.3, 0.7, 1.0):
        expected = phi * guided * spread + (1 - phi) * guided
        found = rescale_guidance(guided, positive, phi)
        torch.testing.assert_close(found, expected, rtol=2e-6, atol=2e-6)
        # A sample of a batch is scaled as it is alone.
        alone = rescale_guidance(guided[1], positive[1], phi)
        torch.testing.assert_close(alone, found[1], rtol=2e-6, atol=2e-6)
    assert rescale_guidance(guided, positive, 0.0) is guided
    flat = torch.ones(4, 6, 5)
    assert torch.equal(rescale_guidance(flat, positive[0], 0.7), flat)


def test_clipping_is_of_both_sides_or_none() -> None:
    x = torch.tensor([-3.0, 0.5, 2.0])
    assert clip(x, 1.0).tolist() == [-1.0, 0.5, 1.0]
    assert clip(x, None) is x
