"""The choice of a backend by an invented clock, and heads padded with zeros."""

import warnings
from collections.abc import Mapping

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend

from diffusion.kernels import attention
from diffusion.kernels.attention import (
    Attending,
    attend,
    choose_backend,
    pad_heads,
    padded_dim,
    time_backend,
)
from tests.test_diffusion_kernels_checks import numbers, same

FLASH, CUDNN = SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION
EFFICIENT, MATH = SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH
HALF = torch.float16


class Clock:
    """Says how long each backend takes; one that is missing refuses."""

    def __init__(self, times: Mapping[SDPBackend, float]) -> None:
        self.times = times
        self.asked: list[tuple[SDPBackend, Attending]] = []

    def __call__(self, backend: SDPBackend, shape: Attending) -> float | None:
        self.asked.append((backend, shape))
        return self.times.get(backend)


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
def test_the_fastest_is_chosen_by_a_margin(
    times: Mapping[SDPBackend, float], chosen: SDPBackend | None
) -> None:
    assert choose_backend(64, 1024, 77, HALF, "cuda", timer=Clock(times)) == chosen


def test_a_shape_is_timed_once() -> None:
    clock = Clock({FLASH: 1.0})
    for _ in range(3):
        choose_backend(64, 1024, 77, HALF, "cuda", timer=clock)
    assert len(clock.asked) == 4
    choose_backend(64, 1024, 1024, HALF, "cuda", timer=clock)
    choose_backend(64, 1024, 1024, torch.bfloat16, "cuda", timer=clock)
    assert len(clock.asked) == 12
    assert clock.asked[-1][1] == Attending(64, 1024, 1024, torch.bfloat16, torch.device("cuda"))


def test_the_plain_formula_is_not_tried_where_its_logits_are_large() -> None:
    clock = Clock({FLASH: 1.0})
    choose_backend(40, 4096, 4096, HALF, "cuda", timer=clock)
    assert MATH not in [backend for backend, _ in clock.asked]


def test_a_cpu_is_not_timed() -> None:
    clock = Clock({FLASH: 1.0})
    assert choose_backend(64, 64, 64, torch.float32, "cpu", timer=clock) is None
    q, k, v = (numbers(2, 3, 8, 16, seed=seed) for seed in range(3))
    with torch.inference_mode():
        same(attend(q, k, v, timer=clock), functional.scaled_dot_product_attention(q, k, v))
    assert clock.asked == []


def test_attention_runs_on_the_chosen_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[tuple[int, ...]] = []

    def choose(head_dim: int, length: int, context: int, *_rest: object, **_: object) -> SDPBackend:
        chosen.append((head_dim, length, context))
        return MATH

    monkeypatch.setattr(attention, "choose_backend", choose)
    q, k, v = numbers(1, 2, 9, 16), numbers(1, 2, 5, 16, seed=1), numbers(1, 2, 5, 16, seed=2)
    with torch.inference_mode():
        found = attend(q, k, v)
    torch.testing.assert_close(found, functional.scaled_dot_product_attention(q, k, v))
    assert chosen == [(16, 9, 5)]
    # With gradients PyTorch chooses.
    attend(q, k, v)
    assert len(chosen) == 1


@pytest.mark.parametrize(("dim", "wider"), [(40, 64), (80, 128)])
def test_padded_heads_attend_to_the_same(dim: int, wider: int) -> None:
    heads, width = 3, 24
    x, context = numbers(2, 10, width), numbers(2, 7, width, seed=1)
    q, k, v = (numbers(heads * dim, width, seed=seed) / width**0.5 for seed in (2, 3, 4))
    out = numbers(width, heads * dim, seed=5) / (heads * dim) ** 0.5

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        parts = (
            functional.linear(tokens, weight).reshape(2, -1, heads, len(weight) // heads)
            for tokens, weight in ((x, q), (context, k), (context, v))
        )
        mixed = attend(*(part.transpose(1, 2) for part in parts), scale=dim**-0.5)
        return functional.linear(mixed.transpose(1, 2).flatten(-2), out)

    padded = [pad_heads(weight, from_dim=dim, to_dim=wider) for weight in (q, k, v)]
    padded.append(pad_heads(out, from_dim=dim, to_dim=wider, columns=True))
    assert padded[0].shape == (heads * wider, width)
    assert padded[3].shape == (width, heads * wider)
    assert padded_dim(dim) == wider
    found, wanted = run(*padded), run(q, k, v, out)
    assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()
    # The scale is that of the true head: the one of the wider head is another attention.
    scaled = attend(*(numbers(1, 1, 4, wider, seed=s) for s in range(3)), scale=dim**-0.5)
    other = attend(*(numbers(1, 1, 4, wider, seed=s) for s in range(3)))
    assert (scaled - other).abs().max() > 1e-3


def test_biases_are_padded_head_by_head() -> None:
    padded = pad_heads(torch.ones(80), from_dim=40, to_dim=64)
    assert padded.tolist() == [*[1.0] * 40, *[0.0] * 24] * 2


@pytest.mark.parametrize("dim", [64, 128, 160, 8])
def test_other_heads_stay_as_they_are(dim: int) -> None:
    assert padded_dim(dim) == dim
    with pytest.raises(ValueError, match="40 to 64, 80 to 128"):
        pad_heads(numbers(2 * dim, 4), from_dim=dim, to_dim=2 * dim)


@pytest.mark.parametrize(("shape", "columns"), [((70, 4), False), ((80, 70), True), ((80,), True)])
def test_what_has_no_such_heads_is_refused(shape: tuple[int, ...], columns: bool) -> None:
    with pytest.raises(ValueError, match="no heads of 40"):
        pad_heads(numbers(*shape), from_dim=40, to_dim=64, columns=columns)


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


def test_the_real_clock_takes_the_mean_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, with events that only pretend: what it measures on a GPU is another matter."""
    runs: list[torch.Size] = []

    def attention_of(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
        runs.append(q.shape)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", attention_of)
    before = torch.get_rng_state()
    shape = Attending(8, 6, 4, torch.float32, torch.device("cpu"))
    assert time_backend(MATH, shape) == 2.0
    assert runs == [torch.Size((2, 8, 6, 8))] * 13
    same(torch.get_rng_state(), before)


def test_a_backend_that_refuses_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        warnings.warn("Flash attention kernel not used because: ...", stacklevel=1)
        raise RuntimeError("No available kernel. Aborting execution.")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", refuse)
    shape = Attending(8, 6, 4, torch.float32, torch.device("cpu"))
    assert time_backend(FLASH, shape) is None
