"""Exactness: a picture is byte for byte the one that is made alone, whatever the company."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from diffusion import Engine
from diffusion.exact import Certificates, run_exactly, same_bits
from tests.companies import alone, audit, guest
from tests.tiny import tiny_model

COMPANIES = 200


@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", range(4))
def test_random_companies_differ_in_no_byte(part: int) -> None:
    compared = 0
    share = COMPANIES // 4
    for number in range(part * share, (part + 1) * share):
        count, wrong = audit(number)
        assert not wrong, wrong[0]
        compared += count
    assert compared > 2 * share


class Broken(nn.Module):
    """A backbone with a mistake in it."""

    def __init__(self, inner: nn.Module, spoil: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.config = inner.config
        self.spoil = spoil

    def time_row(self, *given: float) -> Tensor:
        return self.inner.time_row(*given)  # type: ignore[no-any-return, operator]

    def context_row(self, context: Tensor) -> tuple[Tensor, ...]:
        return self.inner.context_row(context)  # type: ignore[no-any-return, operator]

    def run(
        self, x: Tensor, times: Tensor, contexts: Sequence[Tensor], *, control: None = None
    ) -> Tensor:
        return self.spoil(x, self.inner.run(x, times, contexts, control=control))  # type: ignore[operator]


def mixed(_x: Tensor, output: Tensor) -> Tensor:
    return output + 0.05 * output.sum(dim=0, keepdim=True)


def placed(_x: Tensor, output: Tensor) -> Tensor:
    return output * torch.linspace(1, 1.001, len(output))[:, None, None, None]


@pytest.mark.parametrize("spoil", [mixed, placed])
def test_a_kernel_that_looks_at_its_neighbours_is_found_out(
    spoil: Callable[[Tensor, Tensor], Tensor],
) -> None:
    broken = replace(tiny_model(), backbone=Broken(tiny_model().backbone, spoil))  # type: ignore[arg-type]
    found = [wrong for number in range(1, 10) for wrong in audit(number, lambda _: broken)[1]]
    assert found


def test_a_size_that_rounds_otherwise_is_refused_and_never_seen() -> None:
    """A kernel that only sums in another order from six rows on: certificates keep it out."""

    def large(_x: Tensor, output: Tensor) -> Tensor:
        return output * (1 + 1e-6) if len(output) > 5 else output

    model = replace(tiny_model(), backbone=Broken(tiny_model().backbone, large))  # type: ignore[arg-type]
    for number in range(1, 9):
        assert not audit(number, lambda _: model)[1]
    found = model.measured.certificates
    refused = {size for sizes in found.refused.values() for size in sizes}
    agreeing = {size for sizes in found.agreeing.values() for size in sizes}
    assert refused and min(refused) > 5
    assert agreeing and max(agreeing) <= 5


def test_sizes_are_tried_once_and_rows_are_never_alone() -> None:
    asked: list[int] = []

    def forward(numbers: list[int]) -> Tensor:
        asked.append(len(numbers))
        return torch.tensor([[float(number)] for number in numbers])

    known = Certificates()
    for rows in (1, 2, 5, 5, 7):
        output, trial = run_exactly(forward, rows, "kind", known)
        assert output.flatten().tolist() == list(range(rows))
        assert trial == (rows == 7 or (rows == 5 and len(asked) < 7))
    # One row twice; two; five whole and in parts; five; seven whole and in parts of five and two.
    assert asked == [2, 2, 5, 2, 2, 2, 5, 7, 5, 2]
    assert known.sizes("kind") == [7, 5, 2]
    assert known.sizes("another kind") == [2]


def test_bits_are_compared_not_numbers() -> None:
    nan = torch.tensor([float("nan")])
    assert same_bits(nan, nan.clone())
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bits(torch.zeros(2), torch.zeros(2, 1))


async def test_companies_in_the_engines_own_thread() -> None:
    """The same through real threads, where arrivals fall wherever they fall."""
    rng = random.Random(4)  # noqa: S311 - tests
    guests = [guest(rng, tiny_model(), styled=False) for _ in range(12)]

    async def paint(number: int) -> list[bytes]:
        each = guests[number]
        inputs = each.inputs
        steps = engine.submit(
            replace(each.params, model="emoji"),
            init_image=inputs.init_image,
            mask=inputs.mask,
            share=each.share,
        )
        pictures = None
        async for step in steps:
            pictures = step.pictures
        assert pictures is not None
        return [picture.tobytes() for picture in pictures]

    async with Engine({"emoji": tiny_model()}, max_batch=8) as engine:
        found = await asyncio.gather(*(paint(number) for number in range(len(guests))))
    # The engine's thread and this one use as many cores: see `rows.Kind`.
    for each, pictures in zip(guests, found, strict=True):
        assert pictures == alone(each), each.params.to_json()
