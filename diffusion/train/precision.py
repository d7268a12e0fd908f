"""In which precision to train: half precision halves time where hardware knows it, and only there.

Promises: decided by timing the layers that training is made of, forward and backward, on this
machine (on AVX2 bfloat16 is 20 times slower than float32; on AMX or a GPU several times faster).
Master weights, gradients and the optimiser stay float32 (Micikevicius et al. 2018, section 3.1).
bfloat16 needs no loss scaling, having float32's exponents; float16 is never chosen.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final, Literal, TypeAlias

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Precision: TypeAlias = Literal["float32", "bfloat16"]

# Below this bfloat16 is not worth its rounding.
WORTH: Final = 1.15
_SECONDS: Final = 0.15
_WIDTH, _SIDE, _BATCH = 96, 8, 16

# Seconds of one training step of a small network in a precision on a device.
Timer: TypeAlias = Callable[[Precision, str], float]


@contextmanager
def autocast(device: str, precision: Precision) -> Iterator[None]:
    """Run a block in a precision chosen before."""
    kind, half = torch.device(device).type, precision == "bfloat16"
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=half), attention(device, precision):
        yield


@contextmanager
def attention(device: str, precision: Precision) -> Iterator[None]:
    """Run a block with attention whose gradient is fast in a precision.

    On CPUs the fused kernel's gradient in bfloat16 takes longer than all the rest of a U-Net's step
    (torch 2.13: 40 ms where plain products take 2). The choice holds for all threads: whoever
    starts some that train enters this first, or they would undo each other's.
    """
    if torch.device(device).type == "cpu" and precision == "bfloat16":
        with sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        yield


def step_time(precision: Precision, device: str) -> float:
    """Return the least seconds that a residual convolution and a feed-forward layer take, there and
    back, of some that fit into 0.15 s (always one that is not counted and one that is).
    """
    generator = torch.Generator().manual_seed(0)
    block = nn.Sequential(
        nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
        nn.GroupNorm(32, _WIDTH),
        nn.SiLU(),
        nn.Flatten(2),
        nn.Linear(_SIDE * _SIDE, 4 * _SIDE * _SIDE),
        nn.GELU(),
        nn.Linear(4 * _SIDE * _SIDE, _SIDE * _SIDE),
    ).to(device)
    x = torch.randn(_BATCH, _WIDTH, _SIDE, _SIDE, generator=generator).to(device)

    def step() -> float:
        started = time.perf_counter()
        with autocast(device, precision):
            y = block(x)
        torch.autograd.grad(y.float().square().mean(), list(block.parameters()))
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    step()
    best, begun = step(), time.perf_counter()
    while time.perf_counter() - begun < _SECONDS:
        best = min(best, step())
    return best


@cache
def choose_precision(device: str, *, timer: Timer = step_time) -> Precision:
    """Return bfloat16 where a training step is at least 15 % faster in it, else float32."""
    return "bfloat16" if timer("float32", device) > WORTH * timer("bfloat16", device) else "float32"
