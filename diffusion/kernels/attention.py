"""Which implementation of attention, and head sizes that fast implementations take.

Promises that a choice is made once a process and shape, by time and nothing else, and that padding
heads changes no result. On a CPU, under gradients and while compiling, PyTorch chooses as it always
did. The choice alters the last bits of a picture, and two processes may choose differently where
two backends are equally fast: a later candidate must therefore be faster by 10 %.

## What ran where
The choosing and the padding are tested on a CPU with an invented clock; `time_backend` needs a GPU,
and has not met one.
"""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

# Stable Diffusion 1 has heads of 40 and 80, which no fast kernel is made for (and 160, too large).
_PADDED: Final = MappingProxyType({40: 64, 80: 128})

_CANDIDATES: Final = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)
_FASTER: Final = 1.1
# The plain formula keeps all logits: 2 x 8 heads of these, in float32, are a quarter of a GB.
_LARGEST_LOGITS: Final = 2**22
_ROWS, _HEADS, _REPEATS = 2, 8, 10


@dataclass(frozen=True, slots=True)
class Attending:
    """What the speed of attention depends on; lengths count tokens."""

    head_dim: int
    length: int
    context_length: int
    dtype: torch.dtype
    device: torch.device


# Milliseconds of one attention, or None where the backend does not take it.
Timer: TypeAlias = Callable[[SDPBackend, Attending], float | None]


def time_backend(backend: SDPBackend, shape: Attending) -> float | None:
    """Time one backend on a CUDA device; milliseconds, or None if it refuses or has no room."""
    generator = torch.Generator(shape.device).manual_seed(0)

    def tokens(length: int) -> Tensor:
        sizes = (_ROWS, _HEADS, length, shape.head_dim)
        return torch.randn(sizes, generator=generator, device=shape.device, dtype=shape.dtype)

    q, k, v = tokens(shape.length), tokens(shape.context_length), tokens(shape.context_length)
    begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings(), sdpa_kernel(backend):
            # A backend that refuses says why, in a warning for each reason.
            warnings.simplefilter("ignore")
            for _ in range(3):
                functional.scaled_dot_product_attention(q, k, v)
            begin.record()
            for _ in range(_REPEATS):
                functional.scaled_dot_product_attention(q, k, v)
            end.record()
    except RuntimeError:
        return None
    end.synchronize()
    return float(begin.elapsed_time(end)) / _REPEATS


def choose_backend(
    head_dim: int,
    length: int,
    context_length: int,
    dtype: torch.dtype,
    device: torch.device | str,
    *,
    timer: Timer = time_backend,
) -> SDPBackend | None:
    """Return the fastest backend for `length` queries over `context_length` keys; None: PyTorch's.

    On a CUDA device the first question about a shape times every backend, which waits for the
    device and cannot be done during a graph's capture; later ones are answered from memory. On any
    other device the answer is None at once.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return None
    return _fastest(Attending(head_dim, length, context_length, dtype, device), timer)


@cache
def _fastest(shape: Attending, timer: Timer) -> SDPBackend | None:
    chosen, best = None, 0.0
    for backend in _CANDIDATES:
        logits = shape.length * shape.context_length
        if backend is SDPBackend.MATH and logits > _LARGEST_LOGITS:
            continue
        took = timer(backend, shape)
        if took is not None and (chosen is None or took * _FASTER < best):
            chosen, best = backend, took
    return chosen


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None, timer: Timer = time_backend
) -> Tensor:
    """Return softmax(scale q k^T) v for N x heads x L (k, v: T) x d, by the fastest backend.

    scale: d^-0.5 when None; heads that were padded need that of their true size.
    """
    backend = None
    if not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
        backend = choose_backend(
            q.shape[-1], q.shape[-2], k.shape[-2], q.dtype, q.device, timer=timer
        )
    with nullcontext() if backend is None else sdpa_kernel(backend):
        return functional.scaled_dot_product_attention(q, k, v, scale=scale)


def padded_dim(head_dim: int) -> int:
    """Return the head size to compute with: 64 for 40, 128 for 80, and any other as it is."""
    return _PADDED.get(head_dim, head_dim)


def pad_heads(weight: Tensor, *, from_dim: int, to_dim: int, columns: bool = False) -> Tensor:
    """Widen every head with zeros: a layout of weights that computes the same numbers.

    weight: (heads from_dim) x in, or its bias, heads from_dim, for queries, keys and values; with
    `columns` out x (heads from_dim), for the projection after them. Attention over such heads needs
    scale=from_dim**-0.5. Raises ValueError for anything but 40 to 64 and 80 to 128, and for a
    weight that is not made of such heads.
    """
    if _PADDED.get(from_dim) != to_dim:
        known = ", ".join(f"{a} to {b}" for a, b in _PADDED.items())
        raise ValueError(f"heads are padded from {known}, not from {from_dim} to {to_dim}")
    axis = 1 if columns else 0
    if weight.dim() <= axis or weight.shape[axis] % from_dim:
        raise ValueError(
            f"a weight of shape {tuple(weight.shape)} has no heads of {from_dim} along axis {axis}"
        )
    before, after = weight.shape[:axis], weight.shape[axis + 1 :]
    heads = weight.shape[axis] // from_dim
    padded = weight.new_zeros((*before, heads, to_dim, *after))
    padded.narrow(axis + 1, 0, from_dim).copy_(weight.reshape(*before, heads, from_dim, *after))
    return padded.reshape(*before, heads * to_dim, *after)
