"""The look through all weights: nothing that is not finite passes, nothing finite is refused."""

import math

import numpy as np
import pytest
import torch

from diffusion.checkpoints import finite
from diffusion.checkpoints.finite import are_finite

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
BLOCK = finite._BLOCK
BAD = [math.nan, -math.nan, math.inf, -math.inf]


def weights(count: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(count)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 7])
def test_healthy_weights_pass(dtype: torch.dtype, count: int) -> None:
    assert are_finite(weights(count, dtype))
    assert are_finite(weights(count, dtype) * 0.01)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("scale", [1e-3, 100.0])
def test_one_bad_number_anywhere_is_found(dtype: torch.dtype, value: float, scale: float) -> None:
    flat = weights(2 * BLOCK + 5, dtype) * scale
    for place in [0, 1, 2, 3, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, len(flat) - 1]:
        broken = flat.clone()
        broken[place] = value
        assert not are_finite(broken), place
    assert are_finite(flat)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_number_of_sixteen_bits_is_told_apart(dtype: torch.dtype) -> None:
    patterns = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    numbers = patterns.view(dtype)
    healthy = numbers[numbers.isfinite()]
    for number in torch.split(numbers[~numbers.isfinite()], 1)[::7]:
        assert not are_finite(torch.cat([torch.zeros(BLOCK - 1, dtype=dtype), number]))
    whole = healthy.repeat(2)[:BLOCK]
    assert len(whole) == BLOCK
    assert are_finite(whole)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_numbers_are_finite_though_their_sum_is_not(
    dtype: torch.dtype, sign: int
) -> None:
    largest = torch.full((BLOCK + 3,), sign * torch.finfo(dtype).max, dtype=dtype)
    assert are_finite(largest)
    largest[-5] = math.inf * sign
    assert not are_finite(largest)


def test_infinities_of_both_signs_do_not_cancel() -> None:
    flat = torch.zeros(BLOCK, dtype=torch.float16)
    flat[3], flat[4] = math.inf, -math.inf
    assert not are_finite(flat)


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_weights_may_begin_between_two_multiples_of_eight_bytes(offset: int) -> None:
    flat = weights(2 * BLOCK + offset, torch.float16)[offset:]
    assert are_finite(flat)
    flat[BLOCK + 9] = math.nan
    assert not are_finite(flat)


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_blocks_with_large_numbers_are_added_up(dtype: torch.dtype) -> None:
    blocks = torch.full((4, BLOCK), 1.99, dtype=dtype)
    blocks[1, 7], blocks[3, -1] = 2.0, -3.0
    assert np.flatnonzero(finite._may_be_infinite(blocks)).tolist() == [1, 3]
