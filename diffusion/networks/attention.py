"""Attention: scaled dot products over tokens, and the spatial transformer that lets a picture look
at a text.

Attention(Q, K, V) = softmax(Q K^T / sqrt(d)) V (Vaswani et al. 2017, equation 1). The spatial
transformer is the block of Rombach et al. 2022, section 3.3: self-attention over the picture's
positions, cross-attention whose keys and values come from the conditioning, and a gated
feed-forward.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Attend from N x L x dim queries to N x T x context_dim keys and values."""

    def __init__(self, *, dim: int, context_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim, dim, bias=False)
        # A Sequential only because checkpoints call the projection `to_out.0`.
        self.to_out = nn.Sequential(nn.Linear(dim, dim))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return N x L x dim."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return cast(Tensor, self.to_out(mixed.transpose(1, 2).flatten(-2)))


class GEGLU(nn.Module):
    """Gate a projection by the exact GELU of its second half (Shazeer 2020, "GLU variants")."""

    def __init__(self, *, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x L x dim to N x L x inner."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return cast(Tensor, value * functional.gelu(gate))


class FeedForward(nn.Module):
    """Widen every token four times through a GEGLU and project it back."""

    def __init__(self, *, dim: int, factor: int = 4) -> None:
        super().__init__()
        # Index 1 was the dropout of the original; the indices are those of checkpoints.
        self.net = nn.Sequential(
            GEGLU(dim=dim, inner=factor * dim), nn.Identity(), nn.Linear(factor * dim, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x L x dim to the same shape."""
        return cast(Tensor, self.net(x))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward, each behind a LayerNorm and added to its
    input.
    """

    def __init__(self, *, dim: int, context_dim: int, heads: int) -> None:
        super().__init__()
        self.attn1 = Attention(dim=dim, context_dim=dim, heads=heads)
        self.ff = FeedForward(dim=dim)
        self.attn2 = Attention(dim=dim, context_dim=context_dim, heads=heads)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map N x L x dim tokens, given an N x T x context_dim context, to the same shape."""
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        return cast(Tensor, x + self.ff(self.norm3(x)))


class SpatialTransformer(nn.Module):
    """Transformer blocks over the positions of a feature map.

    `linear` chooses between 1 x 1 convolutions (Stable Diffusion 1) and linear layers (2 and XL) at
    both ends; the two differ in the shape of their weights, not in what they compute.
    """

    def __init__(
        self, *, channels: int, context_dim: int, heads: int, depth: int, linear: bool
    ) -> None:
        super().__init__()
        self.linear = linear
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in: nn.Module = (
            nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        )
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(dim=channels, context_dim=context_dim, heads=heads)
            for _ in range(depth)
        )
        self.proj_out: nn.Module = (
            nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map N x C x h x w, given an N x T x context_dim context, to the same shape."""
        height = x.shape[-2]
        h = self.norm(x)
        if not self.linear:
            h = self.proj_in(h)
        h = h.flatten(2).transpose(1, 2)
        if self.linear:
            h = self.proj_in(h)
        for block in self.transformer_blocks:
            h = block(h, context)
        if self.linear:
            h = self.proj_out(h)
        h = h.transpose(1, 2).unflatten(-1, (height, -1))
        if not self.linear:
            h = self.proj_out(h.contiguous())
        return cast(Tensor, x + h)


def timestep_embedding(timesteps: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Return the N x dim sinusoids of N (possibly fractional) timesteps, cosines first.

    Frequencies fall geometrically from 1 to 1 / `max_period` (Ho et al. 2020, appendix B; the order
    is that of Stable Diffusion). Computed in float32 whatever the network's precision: half
    precision cannot tell timestep 998 from 999.
    """
    half = dim // 2
    index = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    frequencies = torch.exp(-torch.log(torch.tensor(max_period)) * index / half)
    angles = timesteps.float()[:, None] * frequencies
    embedding = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return functional.pad(embedding, (0, dim - 2 * half))
