"""Attention against its formula, and the sinusoids of timesteps."""

import math

import pytest
import torch

from diffusion.networks.attention import GEGLU, Attention, timestep_embedding


def test_attention_is_softmax_of_scaled_products() -> None:
    torch.manual_seed(1)
    layer = Attention(dim=8, context_dim=6, heads=2)
    x, context = torch.randn(1, 5, 8), torch.randn(1, 3, 6)
    q, k, v = layer.to_q(x), layer.to_k(context), layer.to_v(context)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(4), dim=-1)
        assert torch.allclose(weights.sum(dim=-1), torch.ones(1, 5))
        heads.append(weights @ v[..., part])
    expected = layer.to_out(torch.cat(heads, dim=-1))
    assert torch.allclose(layer(x, context), expected, atol=1e-6)


def test_the_gate_is_the_second_half() -> None:
    layer = GEGLU(dim=2, inner=1)
    with torch.no_grad():
        layer.proj.weight.copy_(torch.eye(2))
        layer.proj.bias.zero_()
    out = layer(torch.tensor([[3.0, 1.0]]))
    assert float(out.detach()) == pytest.approx(3.0 * 0.8413447, rel=1e-5)


def test_cosines_come_first_and_fractions_count() -> None:
    embedded = timestep_embedding(torch.tensor([0.0, 10.5]), 6)
    assert embedded.shape == (2, 6)
    assert embedded[0].tolist() == [1, 1, 1, 0, 0, 0]
    frequencies = [1.0, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3)]
    for i, frequency in enumerate(frequencies):
        assert float(embedded[1, i]) == pytest.approx(math.cos(10.5 * frequency), abs=1e-5)
        assert float(embedded[1, 3 + i]) == pytest.approx(math.sin(10.5 * frequency), abs=1e-5)
