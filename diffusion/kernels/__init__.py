"""Fused kernels for the networks and the tick: Triton on CUDA, plain PyTorch everywhere else.

Promises that every kernel has a twin in plain PyTorch which tests hold it to, that importing this
never imports triton, and that a sample's bits do not depend on its neighbours. Networks call the
functions of `dispatch`, or use the layers built on them; `attention`, `layout`, `graphs` and
`probe` hold what a device is asked about or made to remember.
"""

from diffusion.kernels.dispatch import (
    add_rows,
    combine_and_step,
    gather_scaled,
    geglu,
    group_norm,
    layer_norm,
    residual,
)
from diffusion.kernels.layers import GroupNorm, LayerNorm, activated

__all__ = [
    "GroupNorm",
    "LayerNorm",
    "activated",
    "add_rows",
    "combine_and_step",
    "gather_scaled",
    "geglu",
    "group_norm",
    "layer_norm",
    "residual",
]
