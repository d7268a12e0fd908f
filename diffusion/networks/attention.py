"""Attention: scaled dot products over tokens, the spatial transformer that lets a picture look at a
text, and the plain block of models without one.

Attention(Q, K, V) = softmax(Q K^T / sqrt(d)) V (Vaswani et al. 2017, equation 1). The spatial
transformer is the block of Rombach et al. 2022, section 3.3: self-attention over the picture's
positions, cross-attention whose keys and values come from the conditioning, and a gated
feed-forward. Promises to keep the layout of N x C x h x w maps; never masks a token.
"""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion.kernels import GroupNorm, LayerNorm, geglu
from diffusion.kernels.attention import attend as fastest
from diffusion.networks.convolution import Linear, Pointwise


def attend(q: Tensor, k: Tensor, v: Tensor, *, upcast: bool = False) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v for N x heads x L (k, v: T) x d tensors.

    `upcast` computes in float32 at least and returns the precision of `q`: the logits of Stable
    Diffusion 2.1 leave the range of float16.
    """
    if upcast and q.dtype in (torch.float16, torch.bfloat16):
        return fastest(q.float(), k.float(), v.float()).to(q.dtype)
    return fastest(q, k, v)


class Attention(nn.Module):
    """Attend from N x L x dim queries to N x T x context_dim keys and values."""

    def __init__(self, *, dim: int, context_dim: int, heads: int, upcast: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.upcast = upcast
        self.to_q = Linear(dim, dim, bias=False)
        self.to_k = Linear(context_dim, dim, bias=False)
        self.to_v = Linear(context_dim, dim, bias=False)
        # A Sequential only because checkpoints call the projection `to_out.0`.
        self.to_out = nn.Sequential(Linear(dim, dim))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Map N x L x dim, given N x heads x T x d keys and values, to N x L x dim."""
        mixed = attend(self._by_head(self.to_q(x)), keys, values, upcast=self.upcast)
        return cast(Tensor, self.to_out(mixed.transpose(1, 2).flatten(-2)))

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values, N x heads x T x d, of an N x T x context_dim context."""
        return self._by_head(self.to_k(context)), self._by_head(self.to_v(context))

    def weights(self, x: Tensor, keys: Tensor) -> Tensor:
        """Return how N x L x dim queries spread over the keys: N x heads x L x T, float32, each
        row a sum of 1.
        """
        queries = self._by_head(self.to_q(x)).float()
        logits = queries @ keys.float().transpose(-1, -2)
        return torch.softmax(logits * queries.shape[-1] ** -0.5, dim=-1)

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class GEGLU(nn.Module):
    """Gate a projection by the exact GELU of its second half (Shazeer 2020, "GLU variants")."""

    def __init__(self, *, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = Linear(dim, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x L x dim to N x L x inner."""
        return geglu(self.proj(x))


class FeedForward(nn.Module):
    """Widen every token four times through a GEGLU and project it back."""

    def __init__(self, *, dim: int, factor: int = 4) -> None:
        super().__init__()
        # Index 1 was the dropout of the original; the indices are those of checkpoints.
        self.net = nn.Sequential(
            GEGLU(dim=dim, inner=factor * dim), nn.Identity(), Linear(factor * dim, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x L x dim to the same shape."""
        return cast(Tensor, self.net(x))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward, each behind a LayerNorm and added to its
    input.
    """

    def __init__(self, *, dim: int, context_dim: int, heads: int, upcast: bool = False) -> None:
        super().__init__()
        self.attn1 = Attention(dim=dim, context_dim=dim, heads=heads, upcast=upcast)
        self.ff = FeedForward(dim=dim)
        self.attn2 = Attention(dim=dim, context_dim=context_dim, heads=heads, upcast=upcast)
        self.norm1 = LayerNorm(dim)
        self.norm2 = LayerNorm(dim)
        self.norm3 = LayerNorm(dim)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Map N x L x dim tokens, given keys and values of their context, to the same shape."""
        normed = self.norm1(x)
        x = _plus(x, self.attn1(normed, *self.attn1.keys_values(normed)))
        x = _plus(x, self.attn2(self.norm2(x), keys, values))
        return _plus(x, self.ff(self.norm3(x)))


class SpatialTransformer(nn.Module):
    """Transformer blocks over the positions of a feature map.

    `linear` chooses between 1 x 1 convolutions (Stable Diffusion 1) and linear layers (2 and XL) at
    both ends; the two differ in the shape of their weights, not in what they compute.
    """

    def __init__(
        self,
        *,
        channels: int,
        context_dim: int,
        heads: int,
        depth: int,
        linear: bool,
        groups: int = 32,
        upcast: bool = False,
    ) -> None:
        super().__init__()
        self.linear = linear
        self.norm = GroupNorm(groups, channels, eps=1e-6)
        self.proj_in: nn.Module = (
            Linear(channels, channels) if linear else Pointwise(channels, channels)
        )
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(dim=channels, context_dim=context_dim, heads=heads, upcast=upcast)
            for _ in range(depth)
        )
        self.proj_out: nn.Module = (
            Linear(channels, channels) if linear else Pointwise(channels, channels)
        )

    def forward(self, x: Tensor, contexts: Iterator[Tensor]) -> Tensor:
        """Map N x C x h x w to the same shape; every block takes the next two of `contexts`, its
        keys and its values.
        """
        height = x.shape[-2]
        h = self.norm(x)
        if not self.linear:
            h = self.proj_in(h)
        h = h.flatten(2).transpose(1, 2)
        if self.linear:
            h = self.proj_in(h)
        for block in self.transformer_blocks:
            h = block(h, next(contexts), next(contexts))
        if self.linear:
            h = self.proj_out(h)
        h = h.transpose(1, 2).unflatten(-1, (height, -1))
        if not self.linear:
            h = self.proj_out(h)
        return _plus(x, h)


class AttentionBlock(nn.Module):
    """Self-attention over the positions of a feature map, without a context (Dhariwal & Nichol
    2021; the unconditional models of Rombach et al. 2022).

    One 1-D convolution gives queries, keys and values, head by head: its output channels are
    ordered (head, q/k/v, channel of the head).
    """

    def __init__(
        self, *, channels: int, heads: int, groups: int = 32, upcast: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.upcast = upcast
        self.norm = GroupNorm(groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x h x w to the same shape."""
        fused = self.qkv(self.norm(x).flatten(2)).unflatten(1, (self.heads, 3, -1))
        q, k, v = fused.transpose(-1, -2).unbind(2)
        mixed = attend(q, k, v, upcast=self.upcast)
        mixed = mixed.transpose(-1, -2).flatten(1, 2)
        return cast(Tensor, x + self.proj_out(mixed).view_as(x))


def _plus(x: Tensor, branch: Tensor) -> Tensor:
    """Return x + branch, laid out as x; what a branch computed is nobody else's, so that without
    gradients the sum takes its place.
    """
    if torch.is_grad_enabled() or x.stride() != branch.stride():
        return x + branch
    return branch.add_(x)


def timestep_embedding(
    timesteps: Tensor,
    dim: int,
    max_period: float = 10_000.0,
    *,
    shift: int = 0,
    sines_first: bool = False,
) -> Tensor:
    """Return the N x dim float32 sinusoids of N (possibly fractional) timesteps.

    Frequencies fall geometrically from 1 (Ho et al. 2020, appendix B): to 1 / `max_period` just
    after the last one, or exactly at it with `shift` 1. Cosines come first, as in Stable Diffusion;
    the models of Ho et al. have `sines_first` and `shift` 1. Computed in float32 whatever the
    network's precision: half precision cannot tell timestep 998 from 999.
    """
    half = dim // 2
    index = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    frequencies = torch.exp(-torch.log(torch.tensor(max_period)) * index / (half - shift))
    angles = timesteps.float()[:, None] * frequencies
    parts = (angles.sin(), angles.cos()) if sines_first else (angles.cos(), angles.sin())
    return functional.pad(torch.cat(parts, dim=-1), (0, dim - 2 * half))
