"""The text transformer of latent diffusion (Rombach et al. 2022, section 3.3): it reads BERT's word
pieces, and is trained together with the U-Net.

Promises the original names; what looks odd in the module tree is theirs. Never tokenises, and never
masks: the padding is read as words are.
"""

from typing import cast

import torch
from torch import Tensor, nn

from diffusion.networks.attention import attend
from diffusion.networks.configs import BERTConfig


class SelfAttention(nn.Module):
    """Multi-head self-attention whose heads together may be narrower than the tokens."""

    def __init__(self, *, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, heads * head_dim, bias=False)
        self.to_k = nn.Linear(width, heads * head_dim, bias=False)
        self.to_v = nn.Linear(width, heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x T x width to the same shape."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        return cast(Tensor, self.to_out(attend(q, k, v).transpose(1, 2).flatten(-2)))


class FeedForward(nn.Module):
    """Widen every token through an exact GELU and project it back."""

    def __init__(self, *, width: int, inner: int) -> None:
        super().__init__()
        # Index 1 was the dropout of the original; the indices are those of checkpoints.
        self.net = nn.Sequential(
            nn.Sequential(nn.Linear(width, inner), nn.GELU()),
            nn.Identity(),
            nn.Linear(inner, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x T x width to the same shape."""
        return cast(Tensor, self.net(x))


class Positions(nn.Module):
    """A learned vector for every position."""

    def __init__(self, *, window: int, width: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(window, width)

    def forward(self, length: int) -> Tensor:
        """Return the length x width vectors of the first positions."""
        return self.emb.weight[:length]


class AttentionLayers(nn.Module):
    """Self-attention and feed-forward in turns, each behind a LayerNorm and added to its input."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(config.layers):
            attention = SelfAttention(
                width=config.width, heads=config.heads, head_dim=config.head_dim
            )
            feed_forward = FeedForward(width=config.width, inner=config.feed_forward)
            for layer in (attention, feed_forward):
                self.layers.append(nn.ModuleList([nn.LayerNorm(config.width), layer]))

    def forward(self, x: Tensor) -> Tensor:
        """Map N x T x width to the same shape."""
        for pair in self.layers:
            norm, layer = cast(nn.ModuleList, pair)
            x = x + layer(norm(x))
        return x


class BERTTransformer(nn.Module):
    """Tokens to a context for the U-Net."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_emb = nn.Embedding(config.vocab_size, config.width)
        self.pos_emb = Positions(window=config.window, width=config.width)
        self.attn_layers = AttentionLayers(config)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map N x T token numbers, T up to the window, to an N x T x width context.

        Raises ValueError for a longer text.
        """
        length = tokens.shape[-1]
        if length > self.config.window:
            raise ValueError(
                f"a text of {length} tokens does not fit the window of {self.config.window}"
            )
        x = self.token_emb(tokens.to(torch.long)) + self.pos_emb(length)
        return cast(Tensor, self.norm(self.attn_layers(x)))
