"""A picture's noise: its own draws, and one path whatever is asked of it."""

import math
from itertools import pairwise

import pytest
import torch

from diffusion.noise import PictureNoise

SHAPE = (4, 8, 8)
LEVELS = (14.6, 9.1, 8.0, 7.99999, 3.2, 1.0, 0.5, 0.03, 0.0009, 0.0)


def increment(noise: PictureNoise, sigma: float, sigma_next: float) -> torch.Tensor:
    scale = math.sqrt(abs(sigma_next - sigma))
    return noise.between(sigma, sigma_next).double() * scale


def test_fresh_draws_are_those_of_the_seed_s_generator() -> None:
    noise, generator = PictureNoise(SHAPE, seed=7), torch.Generator("cpu").manual_seed(7)
    for _ in range(3):
        assert torch.equal(noise(), torch.randn(SHAPE, generator=generator))
        # The path never takes from them.
        noise.between(3.0, 2.0)
    assert noise().dtype == torch.float32


def test_increments_add_up() -> None:
    noise = PictureNoise(SHAPE, seed=1)
    parts = sum((increment(noise, a, b) for a, b in pairwise(LEVELS)), torch.zeros(SHAPE).double())
    whole = increment(PictureNoise(SHAPE, seed=1), LEVELS[0], LEVELS[-1])
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5)


def test_no_question_changes_the_answer_to_another() -> None:
    intervals = [(a, b) for a in LEVELS for b in LEVELS if a != b]
    expected = {pair: PictureNoise(SHAPE, seed=2).between(*pair) for pair in intervals[::5]}
    noise = PictureNoise(SHAPE, seed=2)
    generator = torch.Generator().manual_seed(3)
    for i in torch.randperm(len(intervals), generator=generator).tolist():
        pair = intervals[i]
        found = noise.between(*pair)
        if pair in expected:
            assert torch.equal(found, expected[pair])


def test_backwards_is_the_opposite_scaled_alike() -> None:
    noise = PictureNoise(SHAPE, seed=3)
    assert torch.equal(noise.between(2.0, 5.0), -noise.between(5.0, 2.0))


def test_other_seeds_have_other_paths() -> None:
    one, other = PictureNoise(SHAPE, seed=4), PictureNoise(SHAPE, seed=5)
    assert not torch.equal(one.between(2.0, 1.0), other.between(2.0, 1.0))


@pytest.mark.parametrize(
    ("sigma", "sigma_next"), [(14.6, 9.1), (1.3, 1.29), (4096.0, 70.0), (0.03, 0.02), (0.5, 0.0)]
)
def test_it_is_standard_normal(sigma: float, sigma_next: float) -> None:
    drawn = PictureNoise((64, 64, 16), seed=6).between(sigma, sigma_next)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.02)
    assert float(drawn.std()) == pytest.approx(1, abs=0.02)
    assert float((drawn**4).mean()) == pytest.approx(3, abs=0.1)


def test_neighbouring_increments_know_nothing_of_each_other() -> None:
    noise = PictureNoise((64, 64, 16), seed=7)
    steps = [14.6, 9.0, 8.2, 5.0, 4.6, 2.0, 1.0, 0.9]
    drawn = [noise.between(a, b) for a, b in pairwise(steps)]
    for one, other in pairwise(drawn):
        assert float((one * other).mean()) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("sigma", "sigma_next"), [(1.0, 1.0), (1.0, -0.1)])
def test_what_is_no_interval_is_refused(sigma: float, sigma_next: float) -> None:
    with pytest.raises(ValueError, match="no noise between"):
        PictureNoise(SHAPE, seed=1).between(sigma, sigma_next)
