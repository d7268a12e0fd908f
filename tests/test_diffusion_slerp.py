"""Between two pictures: the ends, the norms, the symmetry."""

import math

import pytest
import torch
from PIL import Image

from diffusion.slerp import blend, slerp, slerp_conditioning
from diffusion.text import Conditioning

SHAPE = (3, 4, 16, 16)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed))


def test_the_ends_are_exact() -> None:
    a, b = noise(1), noise(2)
    assert torch.equal(slerp(a, b, 0), a)
    assert torch.equal(slerp(a, b, 1), b)


@pytest.mark.parametrize("t", [0.25, 0.5, 0.75])
def test_it_is_the_same_from_either_end(t: float) -> None:
    a, b = noise(1), noise(2)
    assert torch.allclose(slerp(a, b, t), slerp(b, a, 1 - t), atol=1e-6)


def test_noise_stays_noise() -> None:
    a, b = noise(1), noise(2)
    halfway = slerp(a, b, 0.5)
    norms = halfway.flatten(1).norm(dim=1) / math.sqrt(a[0].numel())
    assert (norms - 1).abs().max() < 0.06
    assert torch.lerp(a, b, 0.5).flatten(1).norm(dim=1).max() / math.sqrt(a[0].numel()) < 0.8


def test_equal_norms_are_kept_and_the_angle_is_shared_out() -> None:
    a = torch.tensor([[1.0, 0, 0]])
    b = torch.tensor([[0.0, 1, 0]])
    third = slerp(a, b, 1 / 3)
    expected = torch.tensor([[math.cos(math.pi / 6), math.sin(math.pi / 6), 0]])
    assert torch.allclose(third, expected, atol=1e-6)


def test_every_sample_has_its_own_angle() -> None:
    a, b = noise(1), noise(2)
    alone = slerp(a[1:2], b[1:2], 0.3)
    assert torch.allclose(slerp(a, b, 0.3)[1:2], alone, atol=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_parallel_and_opposite_samples_take_the_line(sign: float) -> None:
    a = noise(1)
    b = sign * a * 1.5
    assert torch.allclose(slerp(a, b, 0.25), torch.lerp(a, b, 0.25), atol=1e-5)
    assert torch.isfinite(slerp(torch.zeros(SHAPE), a, 0.5)).all()


def test_half_precision_goes_in_and_comes_out() -> None:
    half = slerp(noise(1).half(), noise(2).half(), 0.5)
    assert half.dtype == torch.float16
    assert torch.allclose(half.float(), slerp(noise(1), noise(2), 0.5), atol=5e-3)


def test_conditionings_turn_position_by_position() -> None:
    a = Conditioning(context=noise(1, 2, 5, 8), pooled=noise(2, 2, 6))
    b = Conditioning(context=noise(3, 2, 5, 8) * 3, pooled=noise(4, 2, 6))
    between = slerp_conditioning(a, b, 0.25)
    lengths = torch.lerp(a.context.norm(dim=-1), b.context.norm(dim=-1), 0.25)
    assert torch.allclose(between.context.norm(dim=-1), lengths, atol=1e-5)
    assert between.pooled is not None
    assert between.pooled.shape == (2, 6)
    assert torch.equal(slerp_conditioning(a, b, 1).context, b.context)
    back = slerp_conditioning(b, a, 0.75)
    assert torch.allclose(between.context, back.context, atol=1e-5)


def test_conditionings_without_a_pooled_state() -> None:
    a, b = (Conditioning(context=noise(i, 1, 3, 4), pooled=None) for i in (1, 2))
    assert slerp_conditioning(a, b, 0.5).pooled is None
    with pytest.raises(ValueError, match="pooled"):
        slerp_conditioning(a, Conditioning(context=b.context, pooled=noise(3, 1, 4)), 0.5)
    with pytest.raises(ValueError, match="nothing between"):
        slerp_conditioning(a, Conditioning(context=noise(3, 1, 4, 4), pooled=None), 0.5)


def test_pictures_are_mixed() -> None:
    black, white = (Image.new("RGB", (4, 3), colour) for colour in ("black", "white"))
    assert blend(black, white, 0.2).getpixel((0, 0)) == (51, 51, 51)
    assert blend(black, white, 0).getpixel((0, 0)) == (0, 0, 0)
    assert blend(black, white, 1).getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(ValueError, match="resize one"):
        blend(black, Image.new("RGB", (3, 3)), 0.5)


@pytest.mark.parametrize("t", [-0.1, 1.1, math.nan])
def test_a_share_outside_is_refused(t: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        slerp(noise(1), noise(2), t)
