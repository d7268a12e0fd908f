"""Seamless borders: on for one block in one thread, off everywhere else. And the forms that layers
take for speed, which compute what the plain ones do.
"""

import threading
from typing import Final

import pytest
import torch
from torch import nn

from diffusion.networks.convolution import Conv2d, Linear, Pointwise, borders


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


# A convolution that is taken apart needs more weights than a cache holds.
WIDE: Final = (512, 1024, 3)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Linear(24, 40), (3, 5, 24)),
        (Linear(24, 40, bias=False), (3, 24)),
        (Conv2d(24, 40, 1), (3, 24, 5, 7)),
        (Pointwise(24, 40), (3, 24, 5, 7)),
        (Conv2d(*WIDE, padding=1), (2, 512, 3, 4)),
        (Conv2d(*WIDE, padding=1, stride=2, bias=False), (2, 512, 5, 6)),
        (Conv2d(24, 40, 3, padding=1), (3, 24, 5, 7)),
    ],
    ids=str,
)
def test_every_form_computes_the_same(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    expected = layer(x)
    assert expected.requires_grad
    with torch.inference_mode():
        ours = layer(x)
        assert torch.allclose(ours, expected, atol=1e-5)
    layer.requires_grad_(False)
    # The form, and with it every bit, is the same whether or not gradients could be asked for.
    assert torch.equal(layer(x), ours)


@torch.inference_mode()
def test_a_convolution_taken_apart_meets_itself_at_the_borders() -> None:
    layer = Conv2d(*WIDE, padding=1)
    x = torch.randn(1, 512, 4, 5, generator=torch.Generator().manual_seed(1))
    with borders(seamless=True):
        wrapped, rolled = layer(x), layer(x.roll((1, 2), dims=(2, 3)))
    assert torch.allclose(rolled, wrapped.roll((1, 2), dims=(2, 3)), atol=1e-5)
    assert not torch.allclose(wrapped, layer(x))


@torch.inference_mode()
def test_maps_keep_the_layout_that_norms_and_convolutions_want() -> None:
    for layer in (Conv2d(24, 40, 1), Conv2d(*WIDE, padding=1)):
        assert layer(torch.randn(2, layer.in_channels, 4, 4)).is_contiguous()


@pytest.mark.parametrize("rows", [3, 4, 8])
@torch.inference_mode()
def test_a_row_of_a_wide_convolution_has_its_bits_in_any_company(rows: int) -> None:
    layer = Conv2d(*WIDE, padding=1)
    x = torch.randn(rows, 512, 4, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(layer(x)[:2], layer(x[:2]))
