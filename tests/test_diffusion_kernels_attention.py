"""The choice of a backend and of a head size by an invented clock, and heads padded with zeros."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffusion.kernels import attention
from diffusion.kernels.attention import Attending, Candidate, attend, choose, time_candidate
from tests.test_diffusion_kernels_checks import numbers, same

FLASH, CUDNN = SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION
EFFICIENT, MATH = SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH
HALF = torch.float16

# What PyTorch's attention was asked for: the shapes of q and of k and v, and the scale.
Seen: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], float | None]
# Times by backend, and by head size where it is not the own one.
Times: TypeAlias = Mapping[SDPBackend | tuple[SDPBackend, int], float]


class Clock:
    """Says how long each candidate takes; one that is missing refuses."""

    def __init__(self, times: Times) -> None:
        self.times = times
        self.asked: list[tuple[Candidate, Attending]] = []

    def __call__(self, candidate: Candidate, shape: Attending) -> float | None:
        self.asked.append((candidate, shape))
        own = candidate.head_dim == shape.head_dim
        key = candidate.backend if own else (candidate.backend, candidate.head_dim)
        return self.times.get(key)

    @property
    def tried(self) -> list[Candidate]:
        return [candidate for candidate, _ in self.asked]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """Note what PyTorch's attention is asked for."""
    noted: list[Seen] = []
    real = functional.scaled_dot_product_attention

    def noting(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None) -> Tensor:
        assert k.shape == v.shape
        noted.append((tuple(q.shape), tuple(k.shape), scale))
        return real(q, k, v, scale=scale)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", noting)
    return noted


def choosing(monkeypatch: pytest.MonkeyPatch, way: Candidate | None) -> list[tuple[Any, ...]]:
    """Let every question be answered with this; return the list of questions."""
    asked: list[tuple[Any, ...]] = []

    def answer(*question: object, **_: object) -> Candidate | None:
        asked.append(question)
        return way

    monkeypatch.setattr(attention, "choose", answer)
    return asked


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({FLASH: 1.0, CUDNN: 0.5, EFFICIENT: 2.0, MATH: 9.0}, CUDNN),
        ({FLASH: 1.0, CUDNN: 0.95}, FLASH),
        ({EFFICIENT: 3.0, MATH: 1.0}, MATH),
        ({MATH: 1.0}, MATH),
        ({}, None),
    ],
)
def test_the_fastest_is_chosen_by_a_margin(times: Times, chosen: SDPBackend | None) -> None:
    clock = Clock(times)
    found = choose(64, 1024, 77, HALF, "cuda", timer=clock)
    assert found == (None if chosen is None else Candidate(chosen, 64))
    # No fast implementation wants a head of 64 wider.
    assert clock.tried == [Candidate(backend, 64) for backend in (FLASH, CUDNN, EFFICIENT, MATH)]


@pytest.mark.parametrize(("dim", "wider"), [(40, 64), (80, 128)])
@pytest.mark.parametrize("backend", [FLASH, CUDNN, EFFICIENT, MATH])
def test_padded_heads_are_chosen_by_the_same_margin(
    dim: int, wider: int, backend: SDPBackend
) -> None:
    padded, own = Candidate(backend, wider), Candidate(FLASH, dim)
    for time, chosen in ((0.9, padded), (0.92, own), (2.0, own)):
        clock = Clock({FLASH: 1.0, (backend, wider): time})
        assert choose(dim, 1024, 77, HALF, "cuda", timer=clock) == chosen
    # A backend that refuses heads of their own size may take padded ones.
    clock = Clock({(backend, wider): 9.0})
    assert choose(dim, 1024, 77, HALF, "cuda", timer=clock) == padded
    assert clock.tried == [
        Candidate(each, size) for size in (dim, wider) for each in (FLASH, CUDNN, EFFICIENT, MATH)
    ]


def test_padded_heads_must_be_faster_than_the_best_of_all() -> None:
    times: Times = {FLASH: 3.0, CUDNN: 1.0, (FLASH, 64): 0.95, (CUDNN, 64): 0.8, (EFFICIENT, 64): 1}
    found = choose(40, 4096, 4096, HALF, "cuda", timer=Clock(times))
    assert found == Candidate(CUDNN, 64)


@pytest.mark.parametrize("dim", [8, 32, 64, 96, 128, 160, 512])
def test_other_heads_stay_as_they_are(dim: int) -> None:
    clock = Clock({FLASH: 1.0})
    assert choose(dim, 256, 256, HALF, "cuda", timer=clock) == Candidate(FLASH, dim)
    assert {candidate.head_dim for candidate in clock.tried} == {dim}


def test_a_shape_is_timed_once() -> None:
    clock = Clock({FLASH: 1.0})
    for _ in range(3):
        choose(64, 1024, 77, HALF, "cuda", timer=clock)
    assert len(clock.asked) == 4
    choose(64, 1024, 1024, HALF, "cuda", timer=clock)
    choose(64, 1024, 1024, torch.bfloat16, "cuda", timer=clock)
    assert len(clock.asked) == 12
    assert clock.asked[-1][1] == Attending(64, 1024, 1024, torch.bfloat16, torch.device("cuda"))
    for _ in range(3):
        choose(80, 1024, 1024, HALF, "cuda", timer=clock)
    assert len(clock.asked) == 20


def test_the_plain_formula_is_not_tried_where_its_logits_are_large() -> None:
    clock = Clock({FLASH: 1.0, MATH: 0.1, (MATH, 64): 0.01})
    assert choose(40, 4096, 4096, HALF, "cuda", timer=clock) == Candidate(FLASH, 40)
    assert len(clock.asked) == 6
    assert choose(40, 2048, 2048, HALF, "cuda", timer=clock) == Candidate(MATH, 64)


def test_a_cpu_is_not_timed() -> None:
    clock = Clock({FLASH: 1.0})
    for dim in (16, 40):
        assert choose(dim, 64, 64, torch.float32, "cpu", timer=clock) is None
        q, k, v = (numbers(2, 3, 8, dim, seed=seed) for seed in range(3))
        with torch.inference_mode():
            same(attend(q, k, v, timer=clock), functional.scaled_dot_product_attention(q, k, v))
    assert clock.asked == []


def test_attention_runs_on_the_chosen_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = choosing(monkeypatch, Candidate(MATH, 16))
    entered: list[SDPBackend] = []

    def enter(backend: SDPBackend) -> AbstractContextManager[None]:
        entered.append(backend)
        return sdpa_kernel(backend)

    monkeypatch.setattr(attention, "sdpa_kernel", enter)
    q, k, v = numbers(1, 2, 9, 16), numbers(1, 2, 5, 16, seed=1), numbers(1, 2, 5, 16, seed=2)
    with torch.inference_mode():
        found = attend(q, k, v)
    torch.testing.assert_close(found, functional.scaled_dot_product_attention(q, k, v))
    assert asked == [(16, 9, 5, torch.float32, torch.device("cpu"))]
    assert entered == [MATH]


@pytest.mark.parametrize("compiling", [False, True])
def test_under_gradients_and_while_compiling_pytorch_chooses(
    monkeypatch: pytest.MonkeyPatch, seen: list[Seen], compiling: bool
) -> None:
    asked = choosing(monkeypatch, Candidate(MATH, 64))
    q = numbers(1, 2, 5, 40)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    with torch.inference_mode(compiling):
        attend(q, q, q)
    assert asked == []
    assert seen == [((1, 2, 5, 40), (1, 2, 5, 40), None)]


@pytest.mark.parametrize(("dim", "wider"), [(40, 64), (80, 128)])
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("context", [11, 7])
@torch.inference_mode()
def test_padded_heads_attend_to_the_same(
    monkeypatch: pytest.MonkeyPatch,
    seen: list[Seen],
    dim: int,
    wider: int,
    scale: float | None,
    context: int,
) -> None:
    # Heads as a projection leaves them, and as they are kept for a context.
    q = numbers(2, 11, 3, dim).transpose(1, 2)
    k, v = (numbers(2, 3, context, dim, seed=seed) for seed in (1, 2))
    true = dim**-0.5 if scale is None else scale
    wanted = torch.softmax(q.double() @ k.double().mT * true, dim=-1) @ v.double()
    choosing(monkeypatch, Candidate(MATH, wider))
    found = attend(q, k, v, scale=scale)
    assert found.shape == q.shape
    # Large logits: what a processor rounds there comes through the exponential.
    assert (found.double() - wanted).abs().max() <= 4e-6 * wanted.abs().max()
    assert seen == [((2, 3, 11, wider), (2, 3, context, wider), true)]
    choosing(monkeypatch, Candidate(MATH, dim))
    torch.testing.assert_close(found, attend(q, k, v, scale=scale), rtol=1e-5, atol=1e-6)


class Event:
    """Stands for an event of CUDA: twenty milliseconds lie between any two."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: object) -> float:
        assert end is not self
        return 20.0


def test_the_real_clock_takes_the_mean_of_ten(
    monkeypatch: pytest.MonkeyPatch, seen: list[Seen]
) -> None:
    """On a CPU, with events that only pretend: what it measures on a GPU is another matter."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    before = torch.get_rng_state()
    shape = Attending(40, 6, 4, torch.float32, torch.device("cpu"))
    for dim in (40, 64):
        seen.clear()
        assert time_candidate(Candidate(MATH, dim), shape) == 2.0
        # With the padding: what is asked for has the wider heads.
        assert seen == [((2, 8, 6, dim), (2, 8, 4, dim), 40**-0.5 if dim == 64 else None)] * 13
    same(torch.get_rng_state(), before)


def test_cutting_and_joining_heads_are_timed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Tensor] = []

    def once(run: Callable[[], Tensor]) -> float:
        timed.append(run())
        return 1.0

    monkeypatch.setattr(attention, "milliseconds", once)
    shape = Attending(40, 6, 4, torch.float32, torch.device("cpu"))
    for dim in (40, 64):
        assert time_candidate(Candidate(MATH, dim), shape) == 1.0
    assert [each.shape for each in timed] == [(2, 6, 8 * 40)] * 2
    torch.testing.assert_close(timed[0], timed[1])


def test_a_backend_that_refuses_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        warnings.warn("Flash attention kernel not used because: ...", stacklevel=1)
        raise RuntimeError("No available kernel. Aborting execution.")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", refuse)
    shape = Attending(8, 6, 4, torch.float32, torch.device("cpu"))
    assert time_candidate(Candidate(FLASH, 8), shape) is None


def test_no_room_is_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "randn", full)
    shape = Attending(8, 6, 4, torch.float32, torch.device("cpu"))
    assert time_candidate(Candidate(FLASH, 8), shape) is None
