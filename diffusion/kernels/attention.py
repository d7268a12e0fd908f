"""How attention is computed: by which implementation, and over heads of which size.

Promises that a choice is made once a process and shape, by time and nothing else, and that padding
heads changes no result but by rounding. On a CPU, under gradients and while compiling, PyTorch
chooses as it always did. The choice alters the last bits of a picture, and two processes may choose
differently where two ways are equally fast: a later candidate must therefore be faster by 10 %, and
padded heads come after all others.

## Why heads are padded here and not in the weights
Stable Diffusion 1 has heads of 40 and 80, which no fast implementation is made for; zeros up to 64
and 128 add nothing to q k^T, and columns of zeros to the result, which are cut off. Wider weights
would save the copies, and would fit no LoRA, no saved file and no hoisted keys and values.

## What ran where
The choosing and the padding are tested on a CPU with an invented clock; `time_candidate` needs a
GPU, and has not met one.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

# Heads of 160 stay as they are: the next size, 256, is 1.6 times the work.
_PADDED: Final = MappingProxyType({40: 64, 80: 128})

_BACKENDS: Final = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)
_FASTER: Final = 1.1
# The plain formula keeps all logits: 2 x 8 heads of these, in float32, are a quarter of a GB.
_LARGEST_LOGITS: Final = 2**22
_ROWS, _HEADS = 2, 8
_WARM_UPS, _REPEATS = 3, 10


@dataclass(frozen=True, slots=True)
class Attending:
    """What the speed of attention depends on; lengths count tokens."""

    head_dim: int
    length: int
    context_length: int
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to attend: a backend, and the size that heads are padded to (their own: not)."""

    backend: SDPBackend
    head_dim: int


# Milliseconds of one attention, or None where the candidate cannot do it.
Timer: TypeAlias = Callable[[Candidate, Attending], float | None]


def milliseconds(run: Callable[[], object]) -> float:
    """Return how long a run takes on the current CUDA device: the mean of ten, after three.

    Waits for the device. Passes on what the run raises.
    """
    begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    for _ in range(_WARM_UPS):
        run()
    begin.record()
    for _ in range(_REPEATS):
        run()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / _REPEATS


def time_candidate(candidate: Candidate, shape: Attending) -> float | None:
    """Time one way to attend on a CUDA device, with its padding and cutting and with the joining of
    heads that follows; milliseconds, or None if the backend refuses or has no room.
    """
    generator = torch.Generator(shape.device).manual_seed(0)

    def tokens(length: int) -> Tensor:
        # As a projection leaves them: the heads of a token side by side.
        sizes = (_ROWS, length, _HEADS, shape.head_dim)
        drawn = torch.randn(sizes, generator=generator, device=shape.device, dtype=shape.dtype)
        return drawn.transpose(1, 2)

    try:
        q, k, v = tokens(shape.length), tokens(shape.context_length), tokens(shape.context_length)
        with warnings.catch_warnings(), sdpa_kernel(candidate.backend):
            # A backend that refuses says why, in a warning for each reason.
            warnings.simplefilter("ignore")
            return milliseconds(
                # What was cut is copied when heads are joined, and what was not may be a view.
                lambda: _padded(q, k, v, candidate.head_dim, None).transpose(1, 2).flatten(-2)
            )
    except RuntimeError:
        return None


def choose(
    head_dim: int,
    length: int,
    context_length: int,
    dtype: torch.dtype,
    device: torch.device | str,
    *,
    timer: Timer = time_candidate,
) -> Candidate | None:
    """Return the fastest way for `length` queries over `context_length` keys; None: PyTorch's own.

    On a CUDA device the first question about a shape times every candidate, which waits for the
    device and cannot be done during a graph's capture; later ones are answered from memory. On any
    other device the answer is None at once.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return None
    return _fastest(Attending(head_dim, length, context_length, dtype, device), timer)


@cache
def _fastest(shape: Attending, timer: Timer) -> Candidate | None:
    chosen, best = None, 0.0
    for candidate in _candidates(shape):
        took = timer(candidate, shape)
        if took is not None and (chosen is None or took * _FASTER < best):
            chosen, best = candidate, took
    return chosen


def _candidates(shape: Attending) -> Iterator[Candidate]:
    """Yield what may be tried, in the order of preference."""
    fits = shape.length * shape.context_length <= _LARGEST_LOGITS
    # Each size once: most have no other.
    for head_dim in dict.fromkeys((shape.head_dim, _PADDED.get(shape.head_dim, shape.head_dim))):
        for backend in _BACKENDS:
            if fits or backend is not SDPBackend.MATH:
                yield Candidate(backend, head_dim)


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None, timer: Timer = time_candidate
) -> Tensor:
    """Return softmax(scale q k^T) v for N x heads x L (k, v: T) x d, in the fastest way.

    scale: d^-0.5 when None.
    """
    way = None
    if not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
        way = choose(q.shape[-1], q.shape[-2], k.shape[-2], q.dtype, q.device, timer=timer)
    if way is None:
        return functional.scaled_dot_product_attention(q, k, v, scale=scale)
    with sdpa_kernel(way.backend):
        return _padded(q, k, v, way.head_dim, scale)


def _padded(q: Tensor, k: Tensor, v: Tensor, head_dim: int, scale: float | None) -> Tensor:
    """Attend over heads with zeros up to `head_dim`; the result has d columns as v has."""
    dim = q.shape[-1]
    if head_dim == dim:
        return functional.scaled_dot_product_attention(q, k, v, scale=scale)
    # The scale is that of the true heads: padding must not change what is computed.
    scale = dim**-0.5 if scale is None else scale
    q, k, v = (functional.pad(x, (0, head_dim - dim)) for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, scale=scale)[..., :dim]
