"""The norms of `torch.nn` on fused kernels: the same parameters, names and numbers.

Promises that a checkpoint cannot tell them from what they replace, and that hooks see what they
always saw: a norm that has hooks (patches of its scale and shift) is never fused with what stands
before and after it. In half precision on a GPU that rounds twice more, and so gives other bits.
"""

from torch import Tensor, nn
from torch.nn import functional

from diffusion.kernels.dispatch import add_rows, group_norm, layer_norm


class GroupNorm(nn.GroupNorm):
    """Normalise over groups of channels (Wu & He 2018)."""

    def forward(self, input: Tensor) -> Tensor:
        """Map N x C x h x w to the same shape and layout."""
        return group_norm(
            input, self.num_groups, self.weight, self.bias, self.eps, silu=False, rows=None
        )


class LayerNorm(nn.LayerNorm):
    """Normalise the last dimension (Ba et al. 2016)."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ... x D to the same shape."""
        return layer_norm(input, self.weight, self.bias, self.eps)


def activated(norm: nn.Module, x: Tensor, rows: Tensor | None = None) -> Tensor:
    """Return silu(norm(x + rows)) for N x C x h x w, at once where that changes nothing.

    rows: N x C, the time embedding's part. Raises TypeError if `norm` is not a GroupNorm.
    """
    if not isinstance(norm, nn.GroupNorm):
        raise TypeError(f"only a GroupNorm is fused with an activation, not {type(norm).__name__}")
    if norm._forward_hooks or norm._forward_pre_hooks:
        return functional.silu(norm(x if rows is None else add_rows(x, rows)))
    return group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps, silu=True, rows=rows)
