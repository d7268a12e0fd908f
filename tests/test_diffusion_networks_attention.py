"""Attention against its formula, and the sinusoids of timesteps."""

import math

import pytest
import torch

from diffusion.networks.attention import (
    GEGLU,
    Attention,
    AttentionBlock,
    attend,
    timestep_embedding,
)


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
    assert torch.allclose(layer(x, *layer.keys_values(context)), expected, atol=1e-6)


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


def test_sines_come_first_where_that_is_asked_for_and_the_last_frequency_is_exact() -> None:
    embedded = timestep_embedding(torch.tensor([10.5]), 6, shift=1, sines_first=True)
    for i, frequency in enumerate([1.0, 0.01, 0.0001]):
        assert float(embedded[0, i]) == pytest.approx(math.sin(10.5 * frequency), abs=1e-5)
        assert float(embedded[0, 3 + i]) == pytest.approx(math.cos(10.5 * frequency), abs=1e-5)


def test_upcast_attention_survives_logits_beyond_half_precision() -> None:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (
        scale * torch.randn(1, 2, 5, 8, generator=generator) for scale in (300.0, 300.0, 1.0)
    )
    half = [part.to(torch.float16) for part in (q, k, v)]
    assert float((half[0].float() @ half[1].float().transpose(-1, -2)).abs().max()) > 65504
    ours = attend(*half, upcast=True)
    exact = attend(*(part.double() for part in half))
    assert ours.dtype is torch.float16
    assert torch.allclose(ours.double(), exact, atol=1e-3)


def test_plain_attention_splits_heads_before_queries_keys_and_values() -> None:
    torch.manual_seed(1)
    layer = AttentionBlock(channels=8, heads=2, groups=4)
    x = torch.randn(1, 8, 2, 3)
    fused = layer.qkv(layer.norm(x).flatten(2))[0]
    heads = []
    for first in (0, 12):
        q, k, v = (fused[first + at : first + at + 4] for at in (0, 4, 8))
        heads.append(v @ torch.softmax(q.T @ k / 2, dim=-1).T)
    expected = x + layer.proj_out(torch.cat(heads)[None]).view_as(x)
    assert torch.allclose(layer(x), expected, atol=1e-6)
