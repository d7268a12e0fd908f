"""Seamless borders: on for one block in one thread, off everywhere else."""

import threading

import torch

from diffusion.networks.convolution import Conv2d, borders


def test_borders_meet_only_inside_the_block() -> None:
    torch.manual_seed(1)
    layer = Conv2d(1, 1, 3, padding=1)
    x = torch.randn(1, 1, 6, 6)
    plain = layer(x)
    with borders(seamless=True):
        wrapped = layer(x)
        rolled = layer(x.roll((2, 3), dims=(2, 3)))
    assert torch.allclose(rolled, wrapped.roll((2, 3), dims=(2, 3)), atol=1e-6)
    assert not torch.allclose(wrapped, plain)
    assert torch.allclose(wrapped[..., 1:-1, 1:-1], plain[..., 1:-1, 1:-1], atol=1e-6)
    assert torch.equal(layer(x), plain)


def test_strides_keep_their_meaning() -> None:
    layer = Conv2d(1, 1, 3, stride=2, padding=1)
    with borders(seamless=True):
        assert layer(torch.randn(1, 1, 8, 6)).shape == (1, 1, 4, 3)


def test_another_thread_keeps_its_own_borders() -> None:
    layer = Conv2d(1, 1, 3, padding=1)
    x = torch.randn(1, 1, 6, 6)
    plain, seen = layer(x), []
    with borders(seamless=True):
        thread = threading.Thread(target=lambda: seen.append(layer(x)))
        thread.start()
        thread.join()
    assert torch.equal(seen[0], plain)
